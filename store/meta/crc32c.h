// CRC32C of several pieces, by ISA-L (which picks the CPU's instructions and has a portable path).
#pragma once

#include <isa-l/crc.h>

#include <cstdint>
#include <string_view>

namespace covey {

inline constexpr uint32_t kCrc32cStart = 0xffffffffu;

// Continue from kCrc32cStart or from the result for the bytes before. REQUIRES: below 2 GiB.
inline uint32_t crc32c_extend(uint32_t crc, std::string_view bytes) {
  auto* data = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));
  return bytes.empty() ? crc : crc32_iscsi(data, static_cast<int>(bytes.size()), crc);
}

}  // namespace covey
