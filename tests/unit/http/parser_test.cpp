#include "s3gw/http/parser.h"

#include "tests/unit/test.h"

#include <algorithm>

#include "base/core/limits.h"

using namespace covey;

namespace {

struct Body : HttpParser::BodySink {
  void on_body(std::string_view piece) override { bytes.append(piece); }
  std::string bytes;
};

struct Outcome {
  HttpParser::State state;
  int status = 0;
  std::string body;
  size_t left = 0;  // bytes after the first message
};

// The whole input, handed over in pieces of `step` bytes.
Outcome parse(std::string_view input, size_t step) {
  HttpParser parser;
  Body body;
  while (!input.empty()) {
    std::string_view piece = input.substr(0, step);
    size_t used = parser.feed(piece, body);
    input.remove_prefix(used);
    if (parser.state() == HttpParser::State::kFailed)
      return {parser.state(), parser.refuse_status(), body.bytes, input.size()};
    if (parser.state() == HttpParser::State::kDone) break;
    if (used == 0 && !piece.empty()) break;
  }
  return {parser.state(), 0, body.bytes, input.size()};
}

Outcome parse_all_ways(std::string_view input) {
  Outcome whole = parse(input, input.size());
  for (size_t step : {size_t{1}, size_t{2}, size_t{3}, size_t{7}}) {
    if (input.size() > 20000 && step < 7) continue;
    Outcome split = parse(input, step);
    CAPTURE(step);
    CAPTURE(input.substr(0, 200));
    EXPECT(split.state == whole.state);
    EXPECT(split.status == whole.status);
    if (whole.state != HttpParser::State::kFailed) EXPECT(split.body == whole.body);
  }
  return whole;
}

std::string get(std::string_view headers) {
  return "GET /b/k HTTP/1.1\r\nHost: a\r\n" + std::string(headers) + "\r\n";
}
std::string chunked(std::string_view body) {
  return "PUT /b/k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(body);
}

}  // namespace

TEST_CASE("well-formed messages, however they are cut") {
  using S = HttpParser::State;
  EXPECT(parse_all_ways(get("")).state == S::kDone);
  EXPECT(parse_all_ways("\r\n" + get("")).state == S::kDone);
  EXPECT(parse_all_ways("\r\n\r\n\r\n\r\n\r\n\r\n" + get("")).state == S::kDone);
  EXPECT(parse_all_ways("GET / HTTP/1.0\r\n\r\n").state == S::kDone);
  Outcome two = parse(get("") + get(""), 1 << 20);
  EXPECT(two.left == get("").size());
  Outcome put = parse_all_ways("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET");
  EXPECT(put.body == "hello");
  EXPECT(put.left == 3);
  Outcome pieces = parse_all_ways(chunked("5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nA: b\r\n\r\nGET"));
  EXPECT(pieces.state == S::kDone);
  EXPECT(pieces.body == "hello world");
  EXPECT(pieces.left == 3);
  EXPECT(parse_all_ways(chunked("A\r\n0123456789\r\n0\r\n\r\n")).body == "0123456789");
  EXPECT(parse_all_ways(chunked("5\r\nhel")).state == S::kBody);
}

TEST_CASE("the request as a handler sees it") {
  HttpParser parser;
  Body body;
  std::string input =
      "PUT /b/a%20b?x=1 HTTP/1.1\r\nHOST: a\r\nX-Two:  one \t\r\nx-two: two\r\nEmpty:\r\n"
      "Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n";
  EXPECT(parser.feed(input, body) == input.size());
  REQUIRE(parser.state() == HttpParser::State::kBody);
  HttpRequest& request = parser.request();
  EXPECT(request.method == "PUT");
  EXPECT(request.target == "/b/a%20b?x=1");
  EXPECT(request.header("host") == "a");
  EXPECT(request.header("x-two") == "one");
  EXPECT(request.joined("x-two") == "one,two");
  EXPECT(request.header("empty") == "");
  EXPECT_FALSE(request.header("absent"));
  EXPECT(request.content_length == 3);
  EXPECT(parser.expects_continue());
  EXPECT(parser.keep_alive());
}

TEST_CASE("what others read in another way is refused") {
  const std::string nul("a\0b", 3);
  const std::vector<std::string> bad = {
      // Two lengths.
      get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
      get("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
      get("Content-Length: 5\r\nContent-Length: 6\r\n"),
      get("Content-Length: 5, 6\r\n"),
      get("Content-Length: +5\r\n"),
      get("Content-Length: -5\r\n"),
      get("Content-Length: 0x5\r\n"),
      get("Content-Length: 5 5\r\n"),
      get("Content-Length:\r\n"),
      get("Content-Length: 99999999999999999999999\r\n"),
      // Codings that some servers take for chunked.
      get("Transfer-Encoding: xchunked\r\n"),
      get("Transfer-Encoding: chunked, identity\r\n"),
      get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
      get("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
      get("Transfer-Encoding : chunked\r\n"),
      get("Transfer-Encoding: \x0b"
          "chunked\r\n"),
      "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      // Lines.
      "GET / HTTP/1.1\nHost: a\n\n",
      "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
      get("X: a\r\n b\r\n"),
      get("X: a\r\n\tb\r\n"),
      get("X: " + nul + "\r\n"),
      get("X: a\x7f\r\n"),
      get(" X: a\r\n"),
      get("X a\r\n"),
      get(": a\r\n"),
      get("X\x01: a\r\n"),
      get("X (a): b\r\n"),
      // Hosts.
      "GET / HTTP/1.1\r\n\r\n",
      get("Host: b\r\n"),
      // Request lines.
      "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
      "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
      "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
      "GET / ICE/1.0\r\nHost: a\r\n\r\n",
      "GET /\r\n\r\n",
      "get / HTTP/1.1\r\nHost: a\r\n\r\n",
      "BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
      "\x16\x03\x01\x02\x01\xfc\x03\r\n\r\n",
  };
  for (const std::string& input : bad) {
    Outcome out = parse_all_ways(input);
    CAPTURE(input);
    EXPECT(out.state == HttpParser::State::kFailed);
    EXPECT((out.status == 400 || out.status == 501 || out.status == 505));
  }
}

TEST_CASE("bad chunk framing is refused") {
  const std::vector<std::string> bad = {
      "5\nhello\r\n0\r\n\r\n",
      "5\rhello\r\n0\r\n\r\n",
      "5\r\nhello0\r\n\r\n",
      "5\r\nhelloXX0\r\n\r\n",
      "5\r\nhello\n0\r\n\r\n",
      "5\r\nhello\r0\r\n\r\n",
      "0x5\r\nhello\r\n0\r\n\r\n",
      "-5\r\nhello\r\n0\r\n\r\n",
      "+5\r\nhello\r\n0\r\n\r\n",
      "5 5\r\nhello\r\n0\r\n\r\n",
      "\r\nhello\r\n0\r\n\r\n",
      ";x\r\nhello\r\n0\r\n\r\n",
      "g\r\nhello\r\n0\r\n\r\n",
      "fffffffffffffffff\r\nhello",
      "5;a\nb\r\nhello\r\n0\r\n\r\n",
      "5;" + std::string(100'000, 'x') + "\r\nhello\r\n0\r\n\r\n",
      "0\r\n" + std::string(100'000, 'x') + ": y\r\n\r\n",
      "0\r\nA: b\nC: d\r\n\r\n",
      "0\r\nA: b\rC: d\r\n\r\n",
      "0\r\n\nGET / HTTP/1.1\r\n\r\n",
  };
  for (const std::string& body : bad) {
    Outcome out = parse_all_ways(chunked(body));
    CAPTURE(body.substr(0, 100));
    EXPECT(out.state == HttpParser::State::kFailed);
    EXPECT(out.status == 400);
  }
}

TEST_CASE("limits have their statuses") {
  std::string long_target =
      "GET /" + std::string(kHttpUrlBytesMax, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT(parse_all_ways(long_target).status == 414);
  EXPECT(parse("GET /" + std::string(200'000, 'a'), 1000).status == 414);
  EXPECT(parse_all_ways(get("X: " + std::string(kHttpHeaderBytesMax, 'a') + "\r\n")).status == 431);
  std::string many;
  for (size_t i = 0; i < kHttpHeadersMax + 1; ++i) many += "X: a\r\n";
  EXPECT(parse_all_ways(get(many)).status == 431);
  EXPECT(parse(get("X: " + std::string(1'000'000, 'a')), 4096).status == 431);
}
