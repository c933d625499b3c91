// aws-chunked bodies, cut anywhere: the same data however they are cut.
// sources: s3gw/auth/chunked.cpp
#include <algorithm>

#include "s3gw/auth/chunked.h"
#include "tests/fuzz/input.h"

namespace {
struct Seen {
  bool ok = true, done = false;
  std::string data;
};
Seen decode(std::string_view input, size_t step, bool signatures) {
  covey::AwsChunkedDecoder decoder(signatures);
  std::vector<covey::AwsChunkedDecoder::ChunkEnd> ends;
  Seen seen;
  while (!input.empty() && seen.ok) {
    std::string out;
    seen.ok = decoder.feed(input.substr(0, step), out, ends).has_value();
    for (const auto& end : ends) CHECK(end.at <= out.size());
    ends.clear();
    seen.data += out;
    input.remove_prefix(std::min(step, input.size()));
  }
  seen.done = decoder.done();
  if (seen.ok) CHECK(decoder.data_bytes() == seen.data.size());
  return seen;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  std::string_view input = covey::text_of(data + 1, size - 1);
  bool signatures = data[0] & 1;
  Seen cut = decode(input, 1 + data[0] % 32, signatures);
  Seen whole = decode(input, input.size(), signatures);
  CHECK(cut.ok == whole.ok);
  if (cut.ok) CHECK(cut.done == whole.done && cut.data == whole.data);
  return 0;
}
