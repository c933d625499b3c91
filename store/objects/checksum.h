// Checksums of multipart objects, from those of their parts.
// Source: AWS, "Checking object integrity for data uploads in Amazon S3": composite and full-object
// checksums.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/core/result.h"

namespace covey {

// The checksum of the parts' checksums, one after the other, and "-N". `values` are base64.
// Algorithms: CRC32, CRC32C, CRC64NVME, SHA1, SHA256. kInvalid for another one or a value that does
// not decode.
Result<std::string> composite_checksum(const std::string& algorithm,
                                       const std::vector<std::string>& values);

// The checksum of all bytes, from (base64 checksum, size in bytes) of each part in order: CRC
// algorithms only.
Result<std::string> combine_full_object(const std::string& algorithm,
                                        const std::vector<std::pair<std::string, uint64_t>>& parts);

}  // namespace covey
