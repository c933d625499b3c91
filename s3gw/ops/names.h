#pragma once

#include <string_view>

namespace covey {

// AWS's rules for general purpose buckets: 3–63 of a-z 0-9 . -, starting and ending with a letter
// or digit, no "..", not an IPv4 address, none of the reserved prefixes and suffixes.
bool valid_bucket_name(std::string_view name);

}  // namespace covey
