// POST policies: the input is the policy document, or the fields of the form.
// sources: s3gw/auth/post_policy.cpp s3gw/auth/digests.cpp s3gw/auth/sigv4.cpp s3gw/auth/encode.cpp
// sources: s3gw/auth/sigv2.cpp s3gw/http/request.cpp
// packages: libsodium libcrypto
#include <sodium.h>

#include "s3gw/auth/auth.h"
#include "s3gw/auth/digests.h"
#include "tests/fake/fixed_users.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace covey;
  static const int ready = sodium_init();
  CHECK(ready >= 0);
  static const FixedUsers users;
  if (size == 0) return 0;
  std::string_view input = text_of(data + 1, size - 1);
  PostForm form;
  form.bucket = "bucket";
  form.fields = {{"key", "a/b"}, {"content-type", "text/plain"}, {"x-amz-meta-a", "b"}};
  form.fields["policy"] = data[0] & 1 ? base64_encode(input) : std::string(input);
  WallTime now{1'795'240'000'000};
  (void)check_post_policy(form, now);
  form.fields["x-amz-algorithm"] = "AWS4-HMAC-SHA256";
  form.fields["x-amz-credential"] = input.substr(0, input.find('\n'));
  form.fields["x-amz-signature"] = std::string(64, 'a');
  auto who = authenticate_post(form, users, AuthSettings{}, now);
  CHECK(!who || who->anonymous);
  return 0;
}
