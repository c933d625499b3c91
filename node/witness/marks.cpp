#include "node/witness/marks.h"

#include <utility>
#include <vector>

#include "base/core/log.h"
#include "store/meta/node_rows.h"

namespace covey {
namespace {

constexpr std::string_view kPrefix = "mark/";

std::string mark_key(std::string_view node) { return node_row_key(kPrefix).append(node); }

}  // namespace

Status Marks::load() {
  std::string begin = mark_key({}), end = begin;
  ++end.back();
  auto rows = kv_.scan(begin, std::move(end));
  for (; rows->valid(); rows->next()) {
    auto node = NodeId::from_bytes(rows->key().substr(begin.size()));
    if (!node) return fail(ErrorCode::kCorrupt, "what is remembered of a node has no id");
    TRY(Mark mark, decode_mark(rows->value()));
    marks_[*node] = saved_[*node] = mark;
  }
  return rows->status();
}

Mark Marks::of(const NodeId& node) const {
  auto it = marks_.find(node);
  return it == marks_.end() ? Mark() : it->second;
}

Task<Result<Verdict>> Marks::admit(NodeId node, Claim claim) {
  if (marks_.size() >= kMarksMax && !marks_.contains(node))
    co_return fail(ErrorCode::kOverloaded, "more nodes came and went than can be remembered");
  Mark& mark = marks_[node];
  const Verdict verdict = judge(mark, claim);
  if (verdict != Verdict::kFine) co_return verdict;
  if (mark.session != claim.session) {
    mark = admitted(mark, claim);
    changed();
  }
  // A second claim may come while the first one is being written.
  auto saved = saved_.find(node);
  if (saved == saved_.end() || saved->second.session != claim.session) {
    CO_TRY_STATUS(co_await save());
  }
  co_return verdict;
}

// Everything that is not durable yet.
Task<Status> Marks::save() {
  WriteBatch batch;
  std::vector<std::pair<NodeId, Mark>> written;
  for (const auto& [node, mark] : marks_) {
    auto saved = saved_.find(node);
    if (saved != saved_.end() && saved->second == mark) continue;
    batch.put(mark_key(node.view()), encode(mark));
    written.emplace_back(node, mark);
  }
  if (batch.empty()) co_return Status();
  batch.use_reserve();  // a few bytes, and safety rests upon them
  // The batch takes the next version as soon as the write is awaited.
  const KvVersion before = kv_.visible_version();
  const KvVersion old_first = run_first_, old_last = run_last_;
  run_first_ = run_last_ == before && run_last_ != 0 ? run_first_ : before + 1;
  run_last_ = before + 1;
  Status done = co_await kv_.write(std::move(batch));
  if (!done) {
    if (run_last_ == before + 1) run_first_ = old_first, run_last_ = old_last;
    co_return done;
  }
  for (const auto& [node, mark] : written) saved_[node] = mark;
  co_return done;
}

uint64_t Marks::own_sequence() const {
  const uint64_t durable = kv_.durable_sequence();
  bool in_run = run_last_ != 0 && durable >= run_first_ && durable <= run_last_;
  return in_run ? run_first_ - 1 : durable;
}

Task<void> Marks::run(Scope& scope) {
  bool told = false, go_on = true;
  while (go_on) {
    co_await something_.wait();
    go_on = co_await scope.sleep(runtime_.clock, kMarksWithin);
    something_.reset();
    Status done = co_await save();
    if (done) {
      told = false;
      continue;
    }
    if (!std::exchange(told, true))
      log_warn("what was heard of other nodes cannot be written: {}", to_string(done.error()));
    something_.set();  // once more, after a pause
  }
}

}  // namespace covey
