#include <algorithm>
#include <utility>

#include "store/meta/kv.h"

namespace covey {

void WriteBatch::put(std::string key, std::string value) {
  ops_.push_back({std::move(key), std::move(value)});
}

void WriteBatch::erase(std::string key) { ops_.push_back({std::move(key), std::nullopt}); }

size_t WriteBatch::bytes() const {
  size_t sum = 0;
  for (const Op& op : ops_) sum += op.key.size() + (op.value ? op.value->size() : 0);
  return sum;
}

WriteBatch::Share WriteBatch::reserve_share() const {
  bool erases = std::all_of(ops_.begin(), ops_.end(), [](const Op& op) { return !op.value; });
  return erases ? Share::kAll : share_;
}

}  // namespace covey
