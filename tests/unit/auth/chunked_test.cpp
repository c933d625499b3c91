#include "s3gw/auth/chunked.h"

#include "tests/unit/test.h"

using namespace covey;

namespace {

struct Decoded {
  bool ok = false, done = false;
  std::string data;
  size_t chunks = 0, trailers = 0;
};

Decoded decode(std::string_view text, size_t step = 1) {
  AwsChunkedDecoder decoder(false);
  std::vector<AwsChunkedDecoder::ChunkEnd> ends;
  Decoded out;
  for (; !text.empty(); text.remove_prefix(std::min(step, text.size()))) {
    if (!decoder.feed(text.substr(0, step), out.data, ends)) return out;
  }
  out.ok = true;
  out.done = decoder.done();
  out.chunks = ends.size();
  out.trailers = decoder.trailers().size();
  return out;
}

}  // namespace

TEST_CASE("chunks and trailers, cut anywhere") {
  for (size_t step = 1; step < 40; ++step) {
    Decoded got = decode("3\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-One: 1 \r\ntwo:2\r\n\r\n", step);
    EXPECT(got.done);
    EXPECT(got.data == "abc0123456789");
    EXPECT(got.chunks == 3);
    EXPECT(got.trailers == 2);
  }
}

TEST_CASE("a trailer may end in LF and CRLF") {
  EXPECT(decode("0\r\na:1\n\r\n\r\n").done);
  EXPECT(decode("0\r\na:1\nb:2\n\r\n\r\n").trailers == 2);
  EXPECT_FALSE(decode("0\r\na:1\n\r\n").done);
}

TEST_CASE("what is not aws-chunked is refused") {
  for (std::string_view bad :
       {"\r\n", "x\r\n", "-1\r\n", " 3\r\nabc\r\n", "3 \r\nabc\r\n", "0x3\r\nabc\r\n", "3\nabc\r\n",
        "3\r\nabcd\r\n", "3\r\nabc\n0\r\n\r\n", "1234567890123456\r\n", "0\r\nno colon\r\n\r\n",
        "0\r\n:x\r\n\r\n", "0\r\n\n", "0\r\n\r\nmore", "fffffffffffffff\r\n"}) {
    CAPTURE(bad);
    EXPECT_FALSE(decode(bad).ok);
  }
  EXPECT_FALSE(decode("0\r\n" + std::string(5000, 'a')).ok);
  std::string many = "0\r\n";
  for (int i = 0; i < 10000; ++i) many += "a:b\r\n";
  EXPECT_FALSE(decode(many).ok);
  EXPECT_FALSE(decode("3\r\nabc\r\n").done);
  EXPECT_FALSE(decode("3\r\nabc\r\n0\r\n").done);
}
