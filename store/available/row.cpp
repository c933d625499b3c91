#include "store/available/row.h"

#include <xxhash.h>

#include <algorithm>

#include "base/core/codec.h"

namespace covey {
namespace {

constexpr uint8_t kFormat = 1;
constexpr uint8_t kTombstone = 1;

bool above(const Sibling& a, const Sibling& b) {
  if (a.stamp != b.stamp) return b.stamp < a.stamp;
  return b.dot < a.dot;
}

bool same_dot_twice(const std::vector<Sibling>& siblings) {
  std::vector<Dot> dots;
  for (const Sibling& one : siblings) dots.push_back(one.dot);
  std::sort(dots.begin(), dots.end());
  return std::adjacent_find(dots.begin(), dots.end()) != dots.end();
}

}  // namespace

bool AvailableRow::saw(const Dot& dot) const {
  auto seen = context.find(dot.actor);
  return seen != context.end() && seen->second >= dot.counter;
}

const std::string* AvailableRow::current() const {
  const Sibling* top = winner();
  return top && !top->tombstone ? &top->row : nullptr;
}

void AvailableRow::join(const AvailableRow& other) {
  auto has = [](const AvailableRow& row, const Dot& dot) {
    return std::any_of(row.siblings.begin(), row.siblings.end(),
                       [&dot](const Sibling& one) { return one.dot == dot; });
  };
  std::vector<Sibling> joined;
  for (const Sibling& one : siblings)
    if (has(other, one.dot) || !other.saw(one.dot)) joined.push_back(one);
  for (const Sibling& one : other.siblings)
    if (!saw(one.dot)) joined.push_back(one);
  std::sort(joined.begin(), joined.end(), above);
  siblings = std::move(joined);
  for (const auto& [actor, counter] : other.context) {
    uint64_t& mine = context[actor];
    mine = std::max(mine, counter);
  }
}

Dot AvailableRow::next_dot(uint64_t actor, int64_t wall_ms) {
  uint64_t& mine = context[actor];
  mine = std::max(mine + 1, static_cast<uint64_t>(std::max<int64_t>(wall_ms, 1)));
  return {actor, mine};
}

void AvailableRow::write(Sibling sibling, const std::function<bool(const Sibling&)>& replaced) {
  remove(replaced);
  siblings.push_back(std::move(sibling));
  std::sort(siblings.begin(), siblings.end(), above);
}

void AvailableRow::remove(const std::function<bool(const Sibling&)>& removed) {
  std::erase_if(siblings, removed);
}

Rank AvailableRow::rank() const {
  Rank rank;
  std::string text;
  Writer w(text);
  for (const auto& [actor, counter] : context) {
    rank.ballot.counter += counter;
    w.u64(actor), w.u64(counter);
  }
  rank.ballot.node = XXH3_64bits(text.data(), text.size());
  return rank;
}

std::string encode_available(const AvailableRow& row) {
  std::string bytes;
  Writer w(bytes);
  w.u8(kFormat);
  w.varint(row.context.size());
  for (const auto& [actor, counter] : row.context) w.u64(actor), w.varint(counter);
  w.varint(row.siblings.size());
  for (const Sibling& one : row.siblings) {
    w.u8(one.tombstone ? kTombstone : 0);
    w.u64(one.dot.actor), w.varint(one.dot.counter);
    w.varint(static_cast<uint64_t>(one.stamp.wall_ms)), w.varint(one.stamp.counter);
    w.raw(one.stamp.node.view());
    w.raw(one.version.view());
    w.bytes(one.row);
  }
  return bytes;
}

Result<AvailableRow> decode_available(std::string_view bytes) {
  Reader r(bytes);
  auto bad = [] { return fail(ErrorCode::kCorrupt, "a row of an available bucket is malformed"); };
  if (r.u8() != kFormat) return bad();
  AvailableRow row;
  // As many as there are bytes for: a join may have more than any single write keeps.
  uint64_t actors = r.varint();
  for (uint64_t i = 0; i < actors && r.ok(); ++i) {
    uint64_t actor = r.u64();
    if (!row.context.empty() && actor <= row.context.rbegin()->first) return bad();
    row.context.emplace_hint(row.context.end(), actor, r.varint());
  }
  uint64_t count = r.varint();
  for (uint64_t i = 0; i < count && r.ok(); ++i) {
    Sibling one;
    uint8_t flags = r.u8();
    one.tombstone = (flags & kTombstone) != 0;
    if ((flags & ~kTombstone) != 0) return bad();
    one.dot.actor = r.u64();
    one.dot.counter = r.varint();
    one.stamp.wall_ms = static_cast<int64_t>(r.varint());
    one.stamp.counter = static_cast<uint32_t>(r.varint());
    auto node = NodeId::from_bytes(r.raw(NodeId::kSize));
    auto version = VersionId::from_bytes(r.raw(VersionId::kSize));
    if (!node || !version) return bad();
    one.stamp.node = *node, one.version = *version;
    one.row = r.bytes();
    // What a join would never leave behind: an event that the row has not seen, or out of order.
    if (!row.saw(one.dot)) return bad();
    if (!row.siblings.empty() && !above(row.siblings.back(), one)) return bad();
    row.siblings.push_back(std::move(one));
  }
  if (!r.done() || same_dot_twice(row.siblings)) return bad();
  return row;
}

}  // namespace covey
