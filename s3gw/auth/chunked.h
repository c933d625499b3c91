// AwsChunkedDecoder: the aws-chunked framing inside a body, with its signatures and trailers. Pure:
// bytes in, data and marks out.
//   chunk   = hex-size [";chunk-signature=" 64 hex] CRLF data CRLF
//   end     = "0" [";chunk-signature=..."] CRLF *( name ":" value [LF] CRLF ) CRLF
// Source: AWS, "Signature calculations for the Authorization header: transferring a payload in
// multiple chunks".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/core/result.h"

namespace covey {

class AwsChunkedDecoder {
 public:
  // A chunk ended: `at` data bytes into the output of the feed() that returned it.
  struct ChunkEnd {
    size_t at = 0;
    std::string signature;  // empty in unsigned forms
  };

  explicit AwsChunkedDecoder(bool signatures) : signatures_(signatures) {}

  // Appends the data in `in` to `out` and the ends of chunks to `ends`. Errors: kInvalid,
  // kTooLarge.
  Status feed(std::string_view in, std::string& out, std::vector<ChunkEnd>& ends);

  // The last chunk and the trailer were complete.
  bool done() const { return state_ == State::kDone; }
  uint64_t data_bytes() const { return data_bytes_; }
  // Names lower-case, in order.
  const std::vector<std::pair<std::string, std::string>>& trailers() const { return trailers_; }

 private:
  enum class State { kSize, kData, kDataEnd, kTrailer, kDone };
  Status line(std::string_view text, std::string& out, std::vector<ChunkEnd>& ends);
  Status size_line(std::string_view text, std::string& out, std::vector<ChunkEnd>& ends);
  Status trailer_line(std::string_view text);

  bool signatures_;
  State state_ = State::kSize;
  std::string partial_;     // of a line
  bool half_line_ = false;  // the last trailer ended in LF alone: its CRLF follows
  uint64_t left_ = 0;       // of the chunk's data
  std::string signature_;
  uint64_t data_bytes_ = 0;
  size_t trailer_bytes_ = 0;
  std::vector<std::pair<std::string, std::string>> trailers_;
};

}  // namespace covey
