#include "tests/crash/check.h"

#include <fmt/core.h>

#include <algorithm>

namespace covey {
namespace {

class Check {
 public:
  Check(LocalStore& store, const Expected& expected, At crash, Seen& seen)
      : store_(store), expected_(expected), crash_(crash), seen_(seen) {}

  std::string run() {
    for (const auto& [at, sequence] : expected_.sequences)
      if (at <= crash_ && store_.kv().durable_sequence() < sequence)
        return fmt::format("sequence {} was durable, now it is {}", sequence,
                           store_.kv().durable_sequence());
    for (const auto& [name, writes] : expected_.rows) row(name, writes);
    for (const auto& [key, life] : expected_.blocks) block(key, life);
    scan();
    return trouble_;
  }

 private:
  template <class... Args>
  void wrong(fmt::format_string<Args...> format, Args&&... args) {
    if (trouble_.empty()) trouble_ = fmt::format(format, std::forward<Args>(args)...);
  }

  std::optional<std::string> get(const std::string& key) {
    auto got = store_.kv().get(key);
    if (!got) wrong("a row cannot be read: {}", to_string(got.error()));
    if (!got || !*got) return std::nullopt;
    return (*got)->bytes;
  }

  void row(const std::string& name, const std::vector<RowWrite>& writes) {
    std::optional<std::string> value = get(row_key(name)), twin = get(twin_key(name));
    uint64_t stamp = value ? stamp_of(*value) : 0;
    if (stamp) seen_[name] = stamp;
    if ((twin ? *twin : "0") != fmt::format("{}", stamp))
      return wrong("row {} has stamp {}, its twin {}", name, stamp, twin.value_or("none"));
    // The last one that was acknowledged, or one begun later.
    const RowWrite* found = nullptr;
    bool any_acknowledged = false;
    std::string allowed;
    for (const RowWrite& write : writes) {
      if (write.begun > crash_) continue;
      if (write.acknowledged <= crash_) found = nullptr, any_acknowledged = true, allowed.clear();
      allowed += fmt::format(" {}", write.stamp);
      if (write.stamp == stamp) found = &write;
    }
    if (!found && (stamp != 0 || any_acknowledged))
      return wrong("row {} has stamp {}, allowed:{}", name, stamp, allowed);
    if (!stamp) return;
    if (*value != row_value(name, *found)) return wrong("row {} has other bytes", name);
    for (const BlockKey& key : found->blocks) readable(key, expected_.blocks.at(key).size);
  }

  void readable(const BlockKey& key, uint32_t size) {
    auto got = store_.loop().run(store_.segments().get(key, 0, size));
    if (!got)
      return wrong("block {}.{} of {} bytes is lost: {}", key.id.version.hex(), key.id.index, size,
                   to_string(got.error()));
    if (got->bytes.view() != block_bytes(key, size) || got->block_bytes != size)
      wrong("block {}.{} has other bytes", key.id.version.hex(), key.id.index);
  }

  void block(const BlockKey& key, const BlockLife& life) {
    SegmentStore& segments = store_.segments();
    if (life.drop_acknowledged <= crash_) {
      if (!segments.refused(key.id.version) || segments.has(key))
        wrong("block {}.{} came back", key.id.version.hex(), key.id.index);
      return;
    }
    if (life.put_acknowledged > crash_ || life.drop_begun <= crash_) return;
    readable(key, life.size);
    if (!get(debt_key(key)))
      wrong("block {}.{} is there without the debt that was written with it", key.id.version.hex(),
            key.id.index);
  }

  // The order and number of the rows, as a listing sees them.
  void scan() {
    size_t rows = 0;
    std::string begin = row_key(""), end = begin;
    ++end.back();
    auto it = store_.kv().scan(begin, end);
    for (; it->valid(); it->next()) {
      auto known = seen_.find(std::string(it->key().substr(1)));
      if (known == seen_.end()) return wrong("a scan shows {}", it->key().substr(0, 40));
      if (known->second != stamp_of(it->value())) return wrong("a scan shows another value");
      ++rows;
    }
    if (!it->status()) wrong("a scan fails: {}", to_string(it->status().error()));
    if (rows != seen_.size()) wrong("a scan shows {} rows of {}", rows, seen_.size());
  }

  LocalStore& store_;
  const Expected& expected_;
  At crash_;
  Seen& seen_;
  std::string trouble_;
};

}  // namespace

std::string check_store(LocalStore& store, const Expected& expected, At crash, Seen& seen) {
  std::string trouble = Check(store, expected, crash, seen).run();
  if (trouble.empty() && store.fatal()) trouble = "the disk failed: " + to_string(*store.fatal());
  return trouble;
}

void settle(Expected& expected, LocalStore& store, const Seen& seen, At now) {
  for (auto& [name, writes] : expected.rows) {
    auto there = seen.find(name);
    uint64_t stamp = there == seen.end() ? 0 : there->second;
    RowWrite settled;
    for (const RowWrite& write : writes)
      if (write.stamp == stamp) settled = write;
    settled.stamp = stamp;
    settled.begun = settled.acknowledged = now;
    writes.push_back(std::move(settled));
  }
  for (auto& [key, life] : expected.blocks) {
    // A writer who sends it again is told that it is on the disk.
    if (life.put_acknowledged == kNever && store.segments().has(key)) life.put_acknowledged = now;
    if (life.drop_begun == kNever || life.drop_acknowledged != kNever) continue;
    if (store.segments().refused(key.id.version)) life.drop_acknowledged = now;
  }
}

}  // namespace covey
