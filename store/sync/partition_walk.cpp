#include "store/sync/partition_walk.h"

#include <algorithm>

#include "store/register/walk.h"

namespace covey {

namespace {
constexpr size_t kStorePrefixBytes = 3;  // table, partition
}

std::string place_of(const RegisterKey& key) {
  std::string place(1, static_cast<char>(key.table));
  return place.append(key.key);
}

Result<RegisterKey> key_of(PartitionId partition, std::string_view place) {
  if (place.empty()) return fail(ErrorCode::kInvalid, "a row's place is empty");
  return RegisterKey{static_cast<TableId>(place[0]), partition, std::string(place.substr(1))};
}

std::string store_key_of(PartitionId partition, std::string_view place) {
  return register_store_prefix(static_cast<TableId>(place[0]), partition).append(place.substr(1));
}

Result<uint64_t> fence_generation(std::string_view value) {
  Reader r(value);
  r.u8();  // format
  uint64_t generation = r.u64();
  if (!r.done()) return fail(ErrorCode::kCorrupt, "a bucket's fence is malformed");
  return generation;
}

Rank fence_rank(uint64_t generation) {
  Rank rank;
  rank.seq = generation;
  return rank;
}

PartitionWalk::PartitionWalk(Kv& kv, const TableSet& tables, PartitionId partition,
                             std::string_view behind)
    : kv_(kv), tables_(tables), partition_(partition) {
  for (const RegisterTable* table : tables.all()) order_.push_back(table->id());
  order_.push_back(TableId::kFences);
  std::sort(order_.begin(), order_.end());
  skip_behind(behind);
}

void PartitionWalk::open(size_t table, std::string key) {
  table_ = table;
  it_.reset();
  if (table_ == order_.size()) return;
  std::string base = register_store_prefix(order_[table_], partition_);
  std::string end = behind_prefix(base);
  it_ = kv_.scan(base + key, std::move(end));
}

void PartitionWalk::skip_behind(std::string_view place) {
  if (place.empty()) {
    open(0, {});
  } else {
    auto id = static_cast<TableId>(place[0]);
    auto at =
        static_cast<size_t>(std::lower_bound(order_.begin(), order_.end(), id) - order_.begin());
    bool here = at < order_.size() && order_[at] == id;
    open(at, here ? std::string(place.substr(1)) + '\0' : std::string());
  }
  settle();
}

void PartitionWalk::next() {
  it_->next();
  settle();
}

// To the next row that counts.
void PartitionWalk::settle() {
  valid_ = false;
  while (status_ && table_ < order_.size()) {
    if (it_->valid()) {
      valid_ = read_row();
      if (valid_ || !status_) return;
      it_->next();
      continue;
    }
    status_ = it_->status();
    if (status_) open(table_ + 1, {});
  }
}

// False: the row does not count, or an error.
bool PartitionWalk::read_row() {
  place_.assign(1, static_cast<char>(order_[table_]));
  place_.append(it_->key().substr(kStorePrefixBytes));
  if (order_[table_] == TableId::kFences) {
    auto generation = fence_generation(it_->value());
    if (!generation) {
      status_ = tl::unexpected<Error>(generation.error());
      return false;
    }
    rank_ = fence_rank(*generation);
    committed_ = true, tombstone_ = false;
    return true;
  }
  auto view = view_entry(it_->value());
  if (!view) {
    status_ = tl::unexpected<Error>(view.error());
    return false;
  }
  rank_ = view->rank, committed_ = view->committed, tombstone_ = view->tombstone;
  const RegisterTable* table = tables_.find(order_[table_]);
  return tombstone_ || !dead(*table, view->row);
}

bool PartitionWalk::dead(const RegisterTable& table, std::string_view row) {
  return table.dead(row, [this](TableId other, std::string_view key) {
    std::string store_key = register_store_prefix(other, partition_).append(key);
    if (store_key == looked_up_) return found_;
    looked_up_ = store_key;
    found_.reset();
    auto stored = kv_.get(store_key);
    if (!stored || !*stored) return found_;
    auto view = view_entry((*stored)->bytes);
    if (view && !view->tombstone) found_ = std::string(view->row);
    return found_;
  });
}

}  // namespace covey
