// Authentication of any request head: method, target and headers are lines of the input. Nobody
// gets in.
//
// packages: libsodium libcrypto libisal
// sources: s3gw/auth/authenticate.cpp s3gw/auth/encode.cpp s3gw/auth/sigv2.cpp s3gw/auth/sigv4.cpp
// sources: s3gw/auth/digests.cpp s3gw/http/request.cpp
#include <sodium.h>

#include "s3gw/auth/auth.h"
#include "s3gw/auth/sigv4.h"
#include "tests/fake/fixed_users.h"
#include "tests/fuzz/input.h"

namespace {
std::string_view line(std::string_view& input) {
  size_t end = input.find('\n');
  std::string_view out = input.substr(0, end);
  input.remove_prefix(end == std::string_view::npos ? input.size() : end + 1);
  return out;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace covey;
  static const int ready = sodium_init();
  CHECK(ready >= 0);
  static const FixedUsers users = [] {
    FixedUsers one;
    one.add("A", "secret", "id", "name");
    return one;
  }();
  std::string_view input = text_of(data, size);
  (void)parse_query(input);
  if (auto decoded = percent_decode(input)) {
    auto again = percent_decode(aws_uri_encode(*decoded, false));
    CHECK(again && *again == *decoded);
  }
  (void)sigv4::parse_stamp(input), (void)sigv4::stamp_of_http_date(input);
  (void)sigv4::parse_iso8601(input), (void)sigv4::parse_credential(input);
  HttpRequest request;
  request.method = line(input);
  request.target = line(input);
  while (!input.empty()) {
    std::string_view header = line(input);
    size_t colon = header.find(':');
    if (colon == std::string_view::npos) continue;
    request.headers.emplace_back(header.substr(0, colon), header.substr(colon + 1));
  }
  auto who = authenticate(request, users, AuthSettings{}, WallTime{1'795'240'000'000});
  CHECK(!who || who->identity.anonymous);
  return 0;
}
