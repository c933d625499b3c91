// One replica's walk over a range of register rows: the keys it meets, folded by a delimiter, with
// a digest of (key, rank) by which two replicas compare what they met.
#pragma once

#include "store/meta/kv.h"
#include "store/register/messages.h"

namespace covey {

inline constexpr size_t kWalkVisitsMax = 8192;        // then the page is cut
inline constexpr size_t kWalkRowBytesMax = 2 * kMiB;  // likewise

struct Walk {
  std::vector<Visit> visits;  // empty unless asked for
  uint64_t digest = 0;
  size_t live = 0;   // items: live rows outside prefixes, and prefixes
  bool cut = false;  // ended at a limit; what follows `last` was not looked at
  std::string last;  // the last key visited
  KvVersion after = 0;
};

// Visits [key.key, end) until limit live items were met or the key after `stop` would be.
// Behind the first live key of a common prefix it goes on behind that prefix.
Result<Walk> walk_range(Kv& kv, const Request& query);

// The length of the common prefix that `key` folds into, 0 if into none.
size_t folded_prefix(std::string_view key, std::string_view delimiter, size_t from);
// The smallest key above every key that starts with `prefix`; empty: there is none.
std::string behind_prefix(std::string prefix);

}  // namespace covey
