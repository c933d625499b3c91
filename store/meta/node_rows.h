// Keys of the table kNode, and the names of those rows that count something up: a store that lost
// some of its past must go on above what it may have used.
#pragma once

#include <string>
#include <string_view>

#include "store/meta/keyspace.h"

namespace covey {

inline constexpr std::string_view kRegisterBootRow = "register-boot";  // u32
inline constexpr std::string_view kStartsRow = "starts";               // u64
inline constexpr std::string_view kPeersRow = "peers";

inline std::string node_row_key(std::string_view name) {
  return table_begin(TableId::kNode).append(name);
}

}  // namespace covey
