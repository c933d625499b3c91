// What a replica whose own promise cannot be read says to itself: another one may be the holder.
#pragma once

#include <string_view>

namespace covey {

inline constexpr std::string_view kDamagedPromise = "damaged-promise";  // Error::detail

}  // namespace covey
