#include "base/core/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace covey {

uint32_t crc32c(std::string_view bytes, uint32_t seed) {
  // ISA-L neither inverts the initial value nor the result, and takes an int as length.
  constexpr size_t kStepBytes = size_t{1} << 30;
  uint32_t state = ~seed;
  while (!bytes.empty()) {
    size_t step = std::min(bytes.size(), kStepBytes);
    auto* data = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));
    state = crc32_iscsi(data, static_cast<int>(step), state);
    bytes.remove_prefix(step);
  }
  return ~state;
}

}  // namespace covey
