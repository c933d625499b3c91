#include "store/sync/resync.h"

#include <algorithm>

#include "base/core/log.h"
#include "store/sync/purge.h"

namespace covey {

namespace {

constexpr Duration kStep = std::chrono::seconds(5);
// Of blocks at a time, so that a node that is stopped need not wait long. They go on where they
// were.
constexpr Duration kAlsoStep = std::chrono::seconds(8);
constexpr size_t kFewDue = 4;  // partitions that need no comparing of digests first

}  // namespace

Resync::Resync(Runtime runtime, Kv& kv, RowSync& rows, RegisterService& registers,
               ControlStore& control, const Topology& topology, ResyncSettings settings)
    : runtime_(runtime),
      kv_(kv),
      rows_(rows),
      registers_(registers),
      control_(control),
      topology_(topology),
      settings_(settings) {}

Resync::Progress Resync::progress() const {
  Progress progress;
  progress.partitions = states_.size();
  progress.to_purge = left_.size();
  for (const auto& [partition, state] : states_) {
    progress.behind += state.behind ? 1 : 0;
    progress.rows_left += state.left;
    if (state.behind && progress.why.empty()) progress.why = state.why;
  }
  return progress;
}

std::optional<TimePoint> Resync::compared(PartitionId partition) const {
  auto at = states_.find(partition);
  if (at == states_.end() || at->second.compared == TimePoint()) return std::nullopt;
  return at->second.compared;
}

bool Resync::replica_of(PartitionId partition) const {
  std::shared_ptr<const LayoutState> layout = topology_.layout();
  if (!layout || partition >= layout->current.partitions()) return false;
  std::vector<NodeId> all = replica_sets(*layout, partition).all();
  return std::find(all.begin(), all.end(), topology_.self()) != all.end();
}

Task<void> Resync::run(Scope& scope) {
  bool more = true;
  while (more) {
    follow_layout();
    follow_peers();
    co_await bring_missed();
    co_await compare_roots();
    if (scope.stop_requested()) break;
    while (running_ < settings_.at_once && next_due()) {
      ++running_;
      work_.spawn(worker());
    }
    const bool settled = runtime_.clock.now() - adopted_ >= settings_.purge_after;
    if (settled && running_ == 0 && !left_.empty()) co_await purge_left();
    more = co_await scope.sleep(runtime_.clock, settings_.tick);
  }
  rows_.stop();
  work_.request_stop();
  co_await work_.join();
}

// ---- what is to be done

void Resync::follow_layout() {
  std::shared_ptr<const LayoutState> layout = topology_.layout();
  if (!layout || layout->epoch == epoch_) return;
  epoch_ = layout->epoch;
  adopted_ = runtime_.clock.now();
  for (PartitionId p = 0; p < layout->current.partitions(); ++p) {
    if (replica_of(p)) {
      left_.erase(p);
      // A replica of the next layout begins to copy; those of both need not, but compare.
      State& state = states_[p];
      state.due = state.also = true;
      continue;
    }
    states_.erase(p);
    if (holds_any(p)) left_.insert(p);
  }
}

// Blocks without rows: a crash may take back that a bad copy was set aside.
bool Resync::holds_any(PartitionId partition) const {
  auto empty = partition_is_empty(kv_, partition);
  return !empty || !*empty || (also_holds && also_holds(partition));
}

// A peer that comes back may know what this node missed, whichever of both was away.
void Resync::follow_peers() {
  std::shared_ptr<const LayoutState> layout = topology_.layout();
  std::set<NodeId> now;
  for (const Layout* one : {&layout->current, layout->next ? &*layout->next : nullptr}) {
    if (!one) continue;
    for (const Member& member : one->members)
      if (member.id != topology_.self() && topology_.alive(member.id)) now.insert(member.id);
  }
  std::vector<NodeId> back;
  for (const NodeId& node : now)
    if (!alive_.contains(node)) back.push_back(node);
  alive_ = std::move(now);
  for (const NodeId& node : back) {
    for (auto& [partition, state] : states_) {
      std::vector<NodeId> all = replica_sets(*layout, partition).all();
      if (std::find(all.begin(), all.end(), node) == all.end()) continue;
      state.due = state.behind = state.also = true;
      ++state.disturbed;
      state.not_before = TimePoint{};
    }
    work_.spawn(sync_control(node));
  }
  TimePoint at = runtime_.clock.now();
  for (auto& [partition, state] : states_)
    if (at - state.compared >= settings_.every) state.due = true;
}

Task<void> Resync::sync_control(NodeId node) {
  Status synced = co_await control_.sync_with(node);
  if (!synced)
    log_debug("control tables: {} did not answer: {}", short_name(node), to_string(synced.error()));
}

// Rows that others said are committed, and that never came.
Task<void> Resync::bring_missed() {
  Acceptor::Missed fresh = registers_.acceptor().take_missed();
  for (PartitionId partition : fresh.overflow) {
    auto state = states_.find(partition);
    if (state != states_.end()) state->second.due = true;
  }
  // What came in the last round had its time.
  std::vector<CommitNotice> ripe;
  if (runtime_.clock.now() - missed_since_ >= settings_.missed_after) {
    ripe = std::exchange(missed_, {});
    missed_since_ = runtime_.clock.now();
  }
  if (missed_.size() + fresh.rows.size() <= kMissedMax)
    missed_.insert(missed_.end(), fresh.rows.begin(), fresh.rows.end());
  std::map<PartitionId, std::vector<CommitNotice>> lacking;
  for (CommitNotice& row : ripe) {
    auto lacks = registers_.acceptor().lacks(row);
    if (lacks && *lacks && replica_of(row.key.partition))
      lacking[row.key.partition].push_back(std::move(row));
  }
  for (auto& [partition, rows] : lacking) {
    auto left = co_await rows_.bring(partition, std::move(rows), runtime_.clock.after(kStep));
    if (left && *left == 0) continue;
    auto state = states_.find(partition);
    if (state != states_.end()) state->second.due = true;
  }
}

// Most partitions are the same after a short absence: one message per peer shows which.
Task<void> Resync::compare_roots() {
  std::vector<PartitionId> due;
  for (const auto& [partition, state] : states_)
    if (state.due && state.behind && !state.running && due.size() < kRootsMax)
      due.push_back(partition);
  if (due.size() <= kFewDue) co_return;
  std::map<PartitionId, std::vector<NodeId>> same;
  for (PartitionId partition : due) same[partition].push_back(topology_.self());
  std::set<NodeId> ask = alive_;
  for (const NodeId& node : ask) {
    std::vector<PartitionId> shared;
    for (PartitionId partition : due) {
      std::vector<NodeId> all = replica_sets(*topology_.layout(), partition).all();
      if (std::find(all.begin(), all.end(), node) != all.end()) shared.push_back(partition);
    }
    if (shared.empty()) continue;
    auto equal = co_await rows_.same_roots(node, shared, runtime_.clock.after(kStep));
    if (!equal) continue;
    for (size_t i = 0; i < shared.size(); ++i)
      if ((*equal)[i]) same[shared[i]].push_back(node);
  }
  std::shared_ptr<const LayoutState> layout = topology_.layout();
  if (layout->epoch != epoch_) co_return;
  for (const auto& [partition, nodes] : same) {
    auto state = states_.find(partition);
    if (state == states_.end()) continue;
    ReplicaSets sets = replica_sets(*layout, partition);
    if (!sets.quorum(nodes)) continue;
    state->second.behind = false;
    state->second.left = 0;
    // Its attachments and blocks are looked at in the course of things.
    if (nodes.size() == sets.all().size() && !state->second.also) state->second.due = false;
  }
}

// ---- doing it

std::optional<PartitionId> Resync::next_due() const {
  TimePoint now = runtime_.clock.now();
  for (bool urgent : {true, false})
    for (const auto& [partition, state] : states_)
      if (state.due && !state.running && state.behind == urgent && now >= state.not_before)
        return partition;
  return std::nullopt;
}

Task<void> Resync::worker() {
  while (!work_.stop_requested()) {
    std::optional<PartitionId> partition = next_due();
    if (!partition) break;
    states_[*partition].running = true;
    co_await work(*partition);
  }
  --running_;
}

Task<void> Resync::work(PartitionId partition) {
  TimePoint deadline = runtime_.clock.after(settings_.work);
  // Whatever makes it due from here on is looked at in the next turn.
  states_[partition].due = false;
  const uint64_t disturbed = states_[partition].disturbed;
  auto report = co_await rows_.catch_up(partition, deadline);
  bool caught_up = report && report->caught_up();
  bool pulled = report && report->rows_pulled > 0;
  bool complete = report && report->complete();
  if (!report) log_debug("partition {} is not caught up: {}", partition, to_string(report.error()));
  auto at = states_.find(partition);
  if (at != states_.end() && caught_up) {
    if (at->second.disturbed == disturbed) at->second.behind = false;
    at->second.also = at->second.also || pulled;
  }
  if (at != states_.end() && report) at->second.left = report->left;
  if (at != states_.end()) {
    at->second.why = report ? report->why : to_string(report.error());
    if (caught_up) at->second.why.clear();
  }
  const bool blocks = caught_up && at != states_.end() && at->second.also && also_catch_up;
  if (blocks) {
    Status brought = fail(ErrorCode::kTimeout);
    while (brought.is(ErrorCode::kTimeout) && runtime_.clock.now() < deadline &&
           !work_.stop_requested())
      brought = co_await also_catch_up(partition, runtime_.clock.after(kAlsoStep));
    at = states_.find(partition);
    const bool undisturbed = at != states_.end() && at->second.disturbed == disturbed;
    if (brought && undisturbed) at->second.also = false;
    if (!brought)
      log_debug("blocks of partition {} are not caught up: {}", partition,
                to_string(brought.error()));
    caught_up = caught_up && brought;
  } else if (caught_up && at != states_.end()) {
    at->second.also = false;
  }
  if (complete) (void)co_await rows_.collect_tombstones(partition, deadline);
  at = states_.find(partition);
  if (at == states_.end()) co_return;
  State& state = at->second;
  state.running = false;
  if (!caught_up) state.due = true;
  if (!caught_up) state.not_before = runtime_.clock.after(settings_.retry);
  if (caught_up) state.compared = runtime_.clock.now();
}

Task<void> Resync::purge_left() {
  std::set<PartitionId> left = left_;
  for (PartitionId partition : left) {
    if (replica_of(partition)) continue;
    Status gone;
    if (also_purge) gone = co_await also_purge(partition, runtime_.clock.after(kAlsoStep));
    if (!gone) {
      log_debug("partition {} is not let go of yet: {}", partition, to_string(gone.error()));
      continue;
    }
    std::function<bool()> go_on = [this, partition] { return !replica_of(partition); };
    gone = co_await purge_partition(kv_, partition, std::move(go_on));
    registers_.purged(partition);
    if (gone) left_.erase(partition);
    if (work_.stop_requested()) co_return;
  }
}

}  // namespace covey
