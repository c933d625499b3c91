#include "tests/sim/register/clients.h"

namespace covey {

using Kind = HistoryOp::Kind;
using std::chrono::milliseconds;

namespace {
constexpr Duration kPatience = milliseconds(2500);
constexpr int64_t kOverrunNs = 6'000'000'000;
constexpr int kPagesMax = 4 * kSimKeys;
}  // namespace

RegisterKey Clients::key_of(PartitionId p, int index) const {
  RegisterKey key;
  key.table = TableId::kHeads;
  key.partition = p;
  key.key = sim_key(index);
  return key;
}

// Mostly of the newest generation that was asked for, at times of an older one.
Fence Clients::fence_of(PartitionId p, SimRng* rng) const {
  Fence fence;
  if (!fences_) return fence;
  fence.bucket.bytes[0] = static_cast<uint8_t>(p + 1);
  fence.generation = history_.fence_asked[p];
  if (!calm_ && rng->chance(0.1) && fence.generation > 1) --fence.generation;
  return fence;
}

void Clients::check_fence(PartitionId p, const Fence& fence, uint64_t stood, bool refused) {
  if (fence.bucket.is_zero()) return;
  if (!refused && fence.generation < stood)
    complain_("an operation under a generation that was fenced out before went through");
  if (refused && fence.generation >= history_.fence_asked[p])
    complain_("an operation was refused though nobody fenced its generation out");
}

Task<void> Clients::client(SimRng rng) {
  size_t count = 6 + rng.below(10);
  for (size_t i = 0; i < count; ++i) {
    co_await loop_.sleep(milliseconds(rng.below(250)));
    RegisterNode& node = *nodes_[rng.below(nodes_.size())];
    if (!node.now) continue;
    auto at = node.now;
    auto p = static_cast<PartitionId>(rng.below(kSimPartitions));
    int index = static_cast<int>(rng.below(kSimKeys));
    uint64_t what = rng.below(16);
    if (what < 4) {
      co_await read(at, p, index, &rng);
    } else if (what < 6) {
      co_await list(at, p, 1 + rng.below(3), rng.chance(0.5), &rng);
    } else if (what < 7 && fences_) {
      co_await raise_fence(at, p);
    } else {
      HistoryOp op;
      op.kind = what < 10   ? Kind::kPut
                : what < 12 ? Kind::kCreate
                : what < 15 ? Kind::kCas
                            : Kind::kDelete;
      op.value = fresh_value();
      if (op.kind == Kind::kCas) op.expected = last_seen_[{p, index}];
      if (op.kind == Kind::kDelete) op.value = 0;
      co_await write(at, p, index, op, &rng);
    }
  }
}

Mutation Clients::mutation_of(const HistoryOp& op) const {
  switch (op.kind) {
    case Kind::kCreate: return NumberTable::create(op.value);
    case Kind::kCas: return NumberTable::compare_and_set(op.expected, op.value);
    case Kind::kDelete: return NumberTable::remove();
    default: return NumberTable::put(op.value);
  }
}

Task<bool> Clients::write(std::shared_ptr<RegisterIncarnation> at, PartitionId p, int index,
                          HistoryOp op, SimRng* rng) {
  Mutation m = mutation_of(op);
  m.operation = rng->id<OperationId>();
  m.fence = fence_of(p, rng);
  const Fence fence = m.fence;
  const uint64_t stood = history_.fence_stands[p];
  op.called_ns = loop_.now().ns;
  auto done = co_await at->service->mutate(key_of(p, index), std::move(m), loop_.after(kPatience));
  op.returned_ns = loop_.now().ns;
  if (op.returned_ns - op.called_ns > kOverrunNs) complain_("a write overran its deadline");
  op.note = done ? "ok" : to_string(done.error());
  if (!done) last_error_ = op.note;
  if (at->crashed) {
    op.unknown = true;
  } else if (done || done.is(ErrorCode::kStale)) {
    check_fence(p, fence, stood, !done);
    if (!done) {
      ++history_.stale;
      co_return false;
    }
  } else {
    op.refused = done.is(ErrorCode::kPreconditionFailed);
    op.unknown = done.is(ErrorCode::kUnknownOutcome) || done.is(ErrorCode::kIo);
    bool clean = done.is(ErrorCode::kUnavailable) || done.is(ErrorCode::kConflict) ||
                 done.is(ErrorCode::kOverloaded);
    if (clean) {
      ++history_.failed;
      co_return false;
    }
    if (!op.refused && !op.unknown) complain_("an odd error: " + op.note);
  }
  ++(op.unknown ? history_.unknown : op.refused ? history_.refused : history_.ok);
  bool good = !op.unknown && !op.refused;
  if (good) last_seen_[{p, index}] = op.value;
  history_.keys[{p, index}].push_back(std::move(op));
  co_return good;
}

Task<bool> Clients::read(std::shared_ptr<RegisterIncarnation> at, PartitionId p, int index,
                         SimRng* rng) {
  HistoryOp op;
  op.called_ns = loop_.now().ns;
  const Fence fence = fence_of(p, rng);
  const uint64_t stood = history_.fence_stands[p];
  auto read = co_await at->service->read(key_of(p, index), true, fence, loop_.after(kPatience));
  op.returned_ns = loop_.now().ns;
  if (at->crashed) co_return false;
  if (read || read.is(ErrorCode::kStale)) check_fence(p, fence, stood, !read);
  if (!read) {
    last_error_ = to_string(read.error());
    co_return false;
  }
  op.value = read->row ? std::atoi(read->row->c_str()) : 0;
  if (NumberTable::has_body(op.value) &&
      read->attachment.value_or("") != NumberTable::body_of(op.value))
    complain_("a body is missing");
  last_seen_[{p, index}] = op.value;
  ++history_.ok;
  history_.keys[{p, index}].push_back(std::move(op));
  co_return true;
}

Task<bool> Clients::list(std::shared_ptr<RegisterIncarnation> at, PartitionId p, size_t limit,
                         bool fold, SimRng* rng) {
  RangeQuery query;
  query.table = TableId::kHeads;
  query.partition = p;
  query.begin = "a";
  query.end = "z";
  query.limit = limit;
  query.fence = fence_of(p, rng);
  if (fold) query.delimiter = "/";
  std::string last;
  for (int pages = 0; pages < kPagesMax; ++pages) {
    const int64_t called = loop_.now().ns;
    const uint64_t stood = history_.fence_stands[p];
    auto page = co_await at->service->range(query, loop_.after(kPatience));
    if (at->crashed) co_return false;
    if (page || page.is(ErrorCode::kStale)) check_fence(p, query.fence, stood, !page);
    if (!page) {
      last_error_ = to_string(page.error());
      co_return false;
    }
    ++history_.pages;
    for (const RangeItem& item : page->items) {
      if (!last.empty() && item.key <= last) complain_("a listing repeats " + item.key);
      last = item.key;
    }
    if (page->items.size() > limit) complain_("a page holds more than its limit");
    if (page->truncated && page->next < query.begin) complain_("a listing goes backwards");
    saw_page(p, query, *page, called);
    if (!page->truncated) co_return true;
    query.begin = page->next;
  }
  complain_("a listing never ends");
  co_return false;
}

void Clients::saw_page(PartitionId p, const RangeQuery& query, const RangePage& page,
                       int64_t called_ns) {
  for (int index = 0; index < kSimKeys; ++index) {
    const std::string key = sim_key(index);
    const bool covered = key >= query.begin && (!page.truncated || key < page.next);
    HistoryOp op;
    op.called_ns = called_ns;
    op.returned_ns = loop_.now().ns;
    op.note = "list";
    bool seen = false, folded = false;
    for (const RangeItem& item : page.items) {
      if (item.is_prefix ? !key.starts_with(item.key) : item.key != key) continue;
      seen = true;
      folded = item.is_prefix;
      if (!folded) op.value = std::atoi(item.row.c_str());
    }
    if (folded && index != 0) continue;  // some key of the folder exists: which one is not said
    if (folded) op.kind = Kind::kExists;
    if (!seen && !covered) continue;
    history_.keys[{p, index}].push_back(std::move(op));
  }
}

Task<bool> Clients::raise_fence(std::shared_ptr<RegisterIncarnation> at, PartitionId p) {
  Fence fence;
  fence.bucket.bytes[0] = static_cast<uint8_t>(p + 1);
  fence.generation = ++history_.fence_asked[p];
  Status done = co_await at->service->fence(p, fence, loop_.after(kPatience));
  if (done && !at->crashed)
    history_.fence_stands[p] = std::max(history_.fence_stands[p], fence.generation);
  co_return done.has_value();
}

}  // namespace covey
