#pragma once
#include <string>
#include <utility>
#include <vector>
#include "base/core/result.h"
namespace covey {
Result<std::string> composite_checksum(const std::string& algorithm,
                                       const std::vector<std::string>& values);
Result<std::string> combine_full_object(const std::string& algorithm,
                                        const std::vector<std::pair<std::string, uint64_t>>& parts);
}  // namespace covey
