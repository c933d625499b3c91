#include "s3gw/http/chunked.h"

#include <algorithm>

#include "base/core/check.h"

namespace covey {

namespace {

constexpr uint64_t kChunkBytesMax = uint64_t{1} << 60;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_text(char c) {
  auto u = static_cast<unsigned char>(c);
  return c == '\t' || (u >= 0x20 && u != 0x7f);
}

}  // namespace

ChunkedDecoder::Piece ChunkedDecoder::next(std::string_view input) {
  CHECK(!done() && !failed());
  Piece piece;
  while (piece.used < input.size() && !done() && !failed()) {
    if (at_ != At::kContent) {
      framing(input[piece.used++]);
      continue;
    }
    piece.content = input.substr(
        piece.used, static_cast<size_t>(std::min<uint64_t>(left_, input.size() - piece.used)));
    piece.used += piece.content.size();
    left_ -= piece.content.size();
    if (left_ == 0) at_ = At::kContentCr;
    break;
  }
  return piece;
}

bool ChunkedDecoder::count(size_t limit) {
  if (++line_bytes_ > limit) why_ = "a chunk's extensions or the trailers are too long";
  return why_ == nullptr;
}

void ChunkedDecoder::size_digit(char c) {
  int digit = hex_value(c);
  if (digit >= 0 && left_ < kChunkBytesMax / 16) {
    left_ = left_ * 16 + static_cast<uint64_t>(digit);
    at_ = At::kSize;
  } else if (at_ == At::kSize && c == '\r') {
    at_ = At::kSizeLf;
  } else if (at_ == At::kSize && c == ';') {
    at_ = At::kExtension;
  } else {
    why_ = "a bad chunk size";
  }
}

void ChunkedDecoder::framing(char c) {
  auto expect = [&](char wanted, At then) {
    if (c == wanted) {
      at_ = then;
    } else {
      why_ = "bad chunk framing";
    }
  };
  switch (at_) {
    case At::kSizeStart:
    case At::kSize:
      if (count(kHttpChunkLineBytesMax)) size_digit(c);
      break;
    case At::kExtension:
      if (!count(kHttpChunkLineBytesMax) || is_text(c)) break;
      expect('\r', At::kSizeLf);
      break;
    case At::kSizeLf:
      line_bytes_ = 0;
      expect('\n', left_ > 0 ? At::kContent : At::kTrailerStart);
      break;
    case At::kContentCr: expect('\r', At::kContentLf); break;
    case At::kContentLf: expect('\n', At::kSizeStart); break;
    case At::kTrailerStart:
      if (c == '\r') {
        at_ = At::kLastLf;
      } else if (is_text(c) && c != ' ' && c != '\t') {
        if (count(kHttpTrailerBytesMax)) at_ = At::kTrailer;
      } else {
        why_ = "a bad trailer";
      }
      break;
    case At::kTrailer:
      if (!count(kHttpTrailerBytesMax) || is_text(c)) break;
      expect('\r', At::kTrailerLf);
      break;
    case At::kTrailerLf: expect('\n', At::kTrailerStart); break;
    case At::kLastLf: expect('\n', At::kDone); break;
    case At::kContent:
    case At::kDone: CHECK(false);
  }
}

}  // namespace covey
