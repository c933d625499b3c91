#include "base/core/crc32c.h"

#include <string>

#include "tests/unit/test.h"

using covey::crc32c;

TEST_CASE("crc32c: the known answers, and in pieces") {
  EXPECT(crc32c("") == 0);
  EXPECT(crc32c("123456789") == 0xe3069283u);
  EXPECT(crc32c(std::string(32, '\0')) == 0x8a9136aau);  // RFC 3720, B.4
  EXPECT(crc32c("6789", crc32c("12345")) == 0xe3069283u);
}
