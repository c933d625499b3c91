#include "store/objects/checksum.h"

#include "tests/unit/test.h"

using namespace covey;

// "123456789" is the usual check input: CRC-32 cbf43926, CRC-32C e3069283, CRC-64/NVME
// ae8b14860a799888.
TEST_CASE("a full-object checksum is that of the joined bytes") {
  // CRC-32 of "12345" and "6789", base64 of the big-endian value.
  EXPECT(combine_full_object("CRC32", {{"y/U6HA==", 5}, {"nbq/hw==", 4}}).value() == "y/Q5Jg==");
  EXPECT(combine_full_object("CRC64NVME", {{"rosUhgp5mIg=", 9}}).value() == "rosUhgp5mIg=");
  EXPECT(combine_full_object("SHA256", {{"", 0}}).is(ErrorCode::kInvalid));
  EXPECT(combine_full_object("CRC32", {{"not base64", 1}}).is(ErrorCode::kInvalid));
}

TEST_CASE("a composite checksum counts its parts") {
  auto value =
      composite_checksum("SHA256", {"ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="}).value();
  EXPECT(value.substr(value.size() - 2) == "-1");
  EXPECT(composite_checksum("MD5", {}).is(ErrorCode::kInvalid));
}
