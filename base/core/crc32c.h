// CRC-32C (Castagnoli), as in iSCSI and S3's x-amz-checksum-crc32c: 12-20 GB/s with the processor's
// instruction, so it may run on the loop.
#pragma once

#include <cstdint>
#include <string_view>

namespace covey {

// The checksum of `bytes`; crc32c("123456789") is 0xe3069283. `seed` is the checksum of the bytes
// that stand before these: crc32c(b, crc32c(a)) is the checksum of a and b together.
uint32_t crc32c(std::string_view bytes, uint32_t seed = 0);

}  // namespace covey
