// A replica's own rows of one partition in the order of their place (merkle.h), across all register
// tables and the buckets' fences. A fence is a row whose rank is its generation.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/meta/kv.h"
#include "store/register/acceptor.h"
#include "store/sync/merkle.h"

namespace covey {

std::string place_of(const RegisterKey& key);
// Errors: kInvalid (too short to be a place).
Result<RegisterKey> key_of(PartitionId partition, std::string_view place);
inline bool is_fence(std::string_view place) {
  return !place.empty() && static_cast<TableId>(place[0]) == TableId::kFences;
}
std::string store_key_of(PartitionId partition, std::string_view place);
Result<uint64_t> fence_generation(std::string_view value);
Rank fence_rank(uint64_t generation);

// Short-lived, as the iterator in it: never kept across a co_await.
class PartitionWalk {
 public:
  // Starts at the first row behind `behind` (empty: at the first).
  PartitionWalk(Kv& kv, const TableSet& tables, PartitionId partition, std::string_view behind);

  // False at the end or after an error; then status() says which.
  bool valid() const { return valid_; }
  Status status() const { return status_; }
  std::string_view place() const { return place_; }
  const Rank& rank() const { return rank_; }
  bool committed() const { return committed_; }
  bool tombstone() const { return tombstone_; }
  std::string_view value() const { return it_->value(); }
  RowMark mark() const { return {place_, rank_, committed_, tombstone_}; }
  uint64_t hash() const { return hash_row(place_, rank_, committed_); }
  void next();
  // To the first row behind `place`.
  void skip_behind(std::string_view place);

 private:
  void open(size_t table, std::string key);
  void settle();
  bool read_row();
  bool dead(const RegisterTable& table, std::string_view row);

  Kv& kv_;
  const TableSet& tables_;
  PartitionId partition_;
  std::vector<TableId> order_;
  size_t table_ = 0;
  std::unique_ptr<KvIterator> it_;
  bool valid_ = false;
  Status status_;
  std::string place_;
  Rank rank_;
  bool committed_ = false, tombstone_ = false;
  // The last look-up of another row: the parts of one upload ask for the same.
  std::string looked_up_;
  std::optional<std::string> found_;
};

}  // namespace covey
