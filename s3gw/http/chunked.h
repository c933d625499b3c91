// ChunkedDecoder: removes the chunked transfer coding (RFC 9112 section 7.1), strictly. llhttp's
// own decoder, as Debian builds it, skips what stands between a chunk's content and the next size,
// which lets two servers see two different requests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace covey {

inline constexpr size_t kHttpChunkLineBytesMax = 1024;     // the size and extensions of one chunk
inline constexpr size_t kHttpTrailerBytesMax = 16 * 1024;  // all trailers of one body

class ChunkedDecoder {
 public:
  struct Piece {
    size_t used = 0;           // input bytes dealt with, the content included
    std::string_view content;  // part of the input; may be empty
  };
  // Takes bytes from the front of `input` up to the end of the first piece of content, or all of
  // it. Lines may come in parts. REQUIRES: neither done() nor failed().
  Piece next(std::string_view input);

  bool done() const { return at_ == At::kDone; }
  bool failed() const { return why_ != nullptr; }
  const char* why() const { return why_; }

 private:
  enum class At {
    kSizeStart,  // the first digit of a size
    kSize,       // its other digits
    kExtension,  // between the size and its CR
    kSizeLf,
    kContent,
    kContentCr,
    kContentLf,
    kTrailerStart,  // the first byte of a trailer line or of the last, empty one
    kTrailer,
    kTrailerLf,
    kLastLf,
    kDone,
  };
  void framing(char c);
  void size_digit(char c);
  bool count(size_t limit);

  At at_ = At::kSizeStart;
  uint64_t left_ = 0;      // of the chunk's content
  size_t line_bytes_ = 0;  // of the size line, or of all trailers
  const char* why_ = nullptr;
};

}  // namespace covey
