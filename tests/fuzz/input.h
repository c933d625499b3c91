// What the targets share: a checked way to say "what was taken must survive a round trip".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/core/check.h"
#include "base/core/result.h"

namespace covey {

inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// If `decode` takes the bytes, what `encode` makes of the value is taken again, and is a fixed
// point.
template <class Decode, class Encode>
void round_trip(std::string_view bytes, Decode decode, Encode encode) {
  auto value = decode(bytes);
  if (!value) return;
  std::string once = encode(*value);
  auto again = decode(once);
  CHECK(again.has_value());
  CHECK(encode(*again) == once);
}

}  // namespace covey
