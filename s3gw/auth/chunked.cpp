#include "s3gw/auth/chunked.h"

#include <algorithm>

#include "base/core/limits.h"

namespace covey {
namespace {

constexpr size_t kLineBytesMax = 4 * kKiB;
constexpr size_t kTrailerBytesMax = 16 * kKiB;
constexpr uint64_t kChunkBytesMax = kPutBytesMax;
constexpr std::string_view kSignature = ";chunk-signature=";

tl::unexpected<Error> bad(std::string what) {
  return fail(ErrorCode::kInvalid, "The aws-chunked body is malformed: " + std::move(what),
              "InvalidRequest");
}

}  // namespace

Status AwsChunkedDecoder::feed(std::string_view in, std::string& out, std::vector<ChunkEnd>& ends) {
  while (!in.empty()) {
    if (state_ == State::kDone) return bad("bytes after the last chunk");
    if (state_ == State::kData) {
      size_t take = static_cast<size_t>(std::min<uint64_t>(left_, in.size()));
      out.append(in.substr(0, take));
      in.remove_prefix(take);
      left_ -= take;
      data_bytes_ += take;
      if (left_ == 0) {
        ends.push_back({out.size(), std::move(signature_)});
        signature_.clear();
        state_ = State::kDataEnd;
      }
      continue;
    }
    size_t end = in.find('\n');
    size_t take = end == std::string_view::npos ? in.size() : end + 1;
    if (partial_.size() + take > kLineBytesMax) return bad("a line is too long");
    partial_.append(in.substr(0, take));
    in.remove_prefix(take);
    if (end == std::string_view::npos) break;
    std::string text = std::move(partial_);
    partial_.clear();
    text.pop_back();
    bool crlf = text.ends_with('\r');
    if (crlf) text.pop_back();
    // Some clients send the line that they signed, with its LF, and CRLF after it.
    bool half_line = std::exchange(half_line_, !crlf);
    if (!crlf && (state_ != State::kTrailer || text.empty())) {
      return bad("a line does not end in CRLF");
    }
    if (crlf && half_line && text.empty()) continue;
    TRY_STATUS(line(text, out, ends));
  }
  return {};
}

Status AwsChunkedDecoder::line(std::string_view text, std::string& out,
                               std::vector<ChunkEnd>& ends) {
  if (state_ == State::kSize) return size_line(text, out, ends);
  if (state_ == State::kTrailer) return trailer_line(text);
  if (!text.empty()) return bad("a chunk is longer than it says");
  state_ = State::kSize;
  return {};
}

Status AwsChunkedDecoder::size_line(std::string_view text, std::string& out,
                                    std::vector<ChunkEnd>& ends) {
  size_t digits = text.find_first_not_of("0123456789abcdefABCDEF");
  std::string_view size = text.substr(0, digits);
  std::string_view extension =
      digits == std::string_view::npos ? std::string_view() : text.substr(digits);
  if (size.empty() || size.size() > 15) return bad("a chunk has no size");
  left_ = 0;
  for (char c : size)
    left_ = left_ * 16 + static_cast<uint64_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  if (left_ > kChunkBytesMax)
    return fail(ErrorCode::kEntityTooLarge, "a chunk is larger than 5 GiB", "EntityTooLarge");
  if (signatures_) {
    bool good = extension.size() == kSignature.size() + 64 &&
                extension.compare(0, kSignature.size(), kSignature) == 0;
    if (!good) return bad("a chunk has no signature");
    signature_ = std::string(extension.substr(kSignature.size()));
  } else if (!extension.empty() && extension[0] != ';') {
    return bad("a chunk's size is followed by something else");
  }
  if (left_ > 0) {
    state_ = State::kData;
    return {};
  }
  ends.push_back({out.size(), std::move(signature_)});
  signature_.clear();
  state_ = State::kTrailer;
  return {};
}

Status AwsChunkedDecoder::trailer_line(std::string_view text) {
  if (text.empty()) {
    state_ = State::kDone;
    return {};
  }
  if ((trailer_bytes_ += text.size()) > kTrailerBytesMax) return bad("the trailer is too long");
  size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) return bad("a trailer has no ':'");
  std::string name(text.substr(0, colon)), value(text.substr(colon + 1));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  size_t first = value.find_first_not_of(" \t"), last = value.find_last_not_of(" \t");
  value = first == std::string::npos ? "" : value.substr(first, last - first + 1);
  trailers_.emplace_back(std::move(name), std::move(value));
  return {};
}

}  // namespace covey
