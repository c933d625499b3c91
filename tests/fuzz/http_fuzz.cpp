// Any bytes, cut anywhere, through HttpParser: it must not crash, must not use more than it was
// given, and must see the same requests and bodies however the bytes were cut (else two servers
// in a row could see two different requests).
// sources: s3gw/http/parser.cpp s3gw/http/request.cpp s3gw/http/chunked.cpp /usr/share/llhttp/*.c
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/core/check.h"
#include "s3gw/http/parser.h"

namespace {

using covey::HttpParser;

struct Body : HttpParser::BodySink {
  void on_body(std::string_view piece) override { seen.append(piece); }
  std::string seen;  // heads and bodies, one after the other
};

std::string requests_of(std::string_view input, size_t step) {
  HttpParser parser;
  Body out;
  while (!input.empty()) {
    HttpParser::State before = parser.state();
    std::string_view piece = input.substr(0, step);
    size_t used = parser.feed(piece, out);
    CHECK(used <= piece.size());
    if (parser.state() == HttpParser::State::kFailed) return out.seen;
    if (before == HttpParser::State::kHead && parser.state() != before) {
      covey::HttpRequest& request = parser.request();
      CHECK(!(request.chunked && request.content_length >= 0));
      out.seen += "[" + request.method + " " + request.target + "]";
    }
    CHECK(used > 0 || parser.state() != before);
    input.remove_prefix(used);
    if (parser.state() == HttpParser::State::kDone) parser.reset();
  }
  return out.seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  size_t step = 1 + data[0] % 32;
  CHECK(requests_of(input, step) == requests_of(input, std::max<size_t>(input.size(), 1)));
  return 0;
}
