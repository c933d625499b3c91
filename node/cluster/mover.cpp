#include "node/cluster/mover.h"

#include <algorithm>

#include "base/core/log.h"
#include "base/core/seeded_bug.h"

namespace covey {
namespace {

constexpr Duration kIdle = std::chrono::milliseconds(500);

const char* name_of(uint8_t kind) {
  constexpr const char* kNames[] = {"control tables", "rows", "settling", "blocks", "purge"};
  return kNames[kind];
}

bool flag(const std::vector<uint8_t>& flags, PartitionId partition, uint8_t which) {
  return partition < flags.size() && (flags[partition] & which) != 0;
}

}  // namespace

Task<Status> Mover::enter(std::vector<PartitionId> partitions) {
  entering_.insert(partitions.begin(), partitions.end());
  for (PartitionId p : partitions) {
    // A purge under way must not meet rows of the new tenure.
    while (running_.contains({Kind::kPurge, p}))
      co_await runtime_.clock.sleep(std::chrono::milliseconds(20));
    Status purged;
    if (data_)
      purged = co_await data_->purge_rows(p);
    else
      purged = co_await drop_partition_rows(kv_, p);
    CO_TRY_STATUS(std::move(purged));
  }
  co_return Status();
}

Status Mover::adopted(const LayoutState& state) {
  state_ = std::make_shared<const LayoutState>(state);
  epoch_ = state.epoch;
  joint_ = state.joint();
  adopted_at_ = runtime_.clock.now();
  control_ = false;
  flags_.assign(state.current.partitions(), 0);
  to_pull_.clear(), to_settle_.clear(), retries_.clear(), error_.clear(), entering_.clear();
  TRY(leaving_, load_leaving(kv_));
  if (joint_) {
    TRY(std::string kept, load_progress(kv_, epoch_));
    if (kept.size() == flags_.size()) flags_.assign(kept.begin(), kept.end());
    kept_ = flags_;
    const NodeId self = topology_.self();
    for (PartitionId p = 0; p < state.current.partitions(); ++p) {
      ReplicaSets sets = replica_sets(state, p);
      if (!sets.changes()) continue;
      if (has_node(sets.next, self)) to_pull_.push_back(p);
      if (has_node(sets.all(), self)) to_settle_.push_back(p);
    }
  }
  return {};  // wakes nobody: the state is not visible yet
}

void Mover::hear(const ChangeView& view) {
  if (view.epoch != epoch_ || !joint_) return;
  view_ = view;
  wake_.set();
}

NodeReport Mover::report() const {
  NodeReport report;
  report.epoch = epoch_;
  report.control = control_;
  report.partitions = flags_;
  report.error = error_;
  return report;
}

void Mover::start(Scope& scope) {
  for (size_t i = 0; i < kMovesAtOnce; ++i) scope.spawn(work(scope));
}

Task<void> Mover::work(Scope& scope) {
  while (!scope.stop_requested()) {
    Job job;
    if (!data_ || !state_ || !take(job)) {
      wake_.reset();
      (void)co_await wake_.wait_until(runtime_.clock, runtime_.clock.after(kIdle));
      continue;
    }
    const uint32_t epoch = epoch_;
    running_.insert(job);
    Status done = co_await execute(job);
    if (done) done = co_await finish(job, epoch);
    running_.erase(job);
    if (!done && epoch == epoch_ && !scope.stop_requested()) failed(job, done.error());
  }
}

bool Mover::ready(const Job& job) const {
  if (running_.contains(job)) return false;
  auto retry = retries_.find(job);
  return retry == retries_.end() || retry->second.at <= runtime_.clock.now();
}

// Settled by whoever comes first among the live replicas; the others wait longer each.
bool Mover::mine_to_settle(PartitionId partition) const {
  Duration patience{0};
  for (const NodeId& node : replica_sets(*state_, partition).all()) {
    if (node == topology_.self()) return runtime_.clock.now() - adopted_at_ >= patience;
    if (topology_.alive(node)) patience += kSettlePatience;
  }
  return false;
}

// Rows first, since every partition's settling waits for them; blocks, the bulk, last.
bool Mover::take(Job& job) {
  auto visible = topology_.layout();
  if (!visible || visible->epoch != epoch_) return false;
  if (joint_) {
    job = {Kind::kControl, 0};
    if (!control_ && ready(job) && state_->next->find(topology_.self())) return true;
    for (PartitionId p : to_pull_) {
      job = {Kind::kRows, p};
      if (!flag(flags_, p, kRowsHere) && ready(job)) return true;
    }
    for (PartitionId p : to_settle_) {
      job = {Kind::kSettle, p};
      bool due = view() && flag(view_.partitions, p, kRowsThere);
      if (due && !flag(view_.partitions, p, kSettled) && !flag(flags_, p, kSettled) && ready(job) &&
          mine_to_settle(p))
        return true;
    }
    for (PartitionId p : to_pull_) {
      job = {Kind::kBlocks, p};
      bool due = flag(flags_, p, kRowsHere) &&
                 (flag(flags_, p, kSettled) || (view() && flag(view_.partitions, p, kSettled)));
      if (due && !flag(flags_, p, kBlocksHere) && ready(job)) return true;
    }
    return false;
  }
  const Duration grace = SEEDED_BUG("layout-purge-at-once") ? Duration(0) : kPurgeAfter;
  if (runtime_.clock.now() - adopted_at_ < grace) return false;
  for (PartitionId p : leaving_) {
    job = {Kind::kPurge, p};
    if (!entering_.contains(p) && ready(job)) return true;
  }
  return false;
}

Task<Status> Mover::execute(Job job) {
  const TimePoint rows_by = runtime_.clock.after(kRowsWithin);
  const TimePoint blocks_by = runtime_.clock.after(kBlocksWithin);
  switch (job.kind) {
    case Kind::kControl: co_return co_await data_->catch_up_control(rows_by);
    case Kind::kRows: co_return co_await data_->catch_up_rows(job.partition, rows_by);
    case Kind::kSettle: co_return co_await data_->settle(job.partition, rows_by);
    case Kind::kBlocks: co_return co_await data_->catch_up_blocks(job.partition, blocks_by);
    case Kind::kPurge: break;
  }
  CO_TRY_STATUS(co_await data_->purge_blocks(job.partition, blocks_by));
  // It may be on its way back; then its rows will be live ones.
  if (entering_.contains(job.partition) || !leaving_.contains(job.partition)) co_return Status();
  co_return co_await data_->purge_rows(job.partition);
}

Task<Status> Mover::finish(Job job, uint32_t epoch) {
  if (epoch != epoch_) co_return Status();
  retries_.erase(job);
  if (retries_.empty()) error_.clear();
  if (job.kind == Kind::kControl) {
    control_ = true;
    co_return Status();
  }
  if (job.kind == Kind::kPurge) {
    leaving_.erase(job.partition);
    if (leaving_.empty()) log_info("everything that this node no longer keeps is purged");
    co_return co_await store_leaving(kv_, leaving_);
  }
  uint8_t what = job.kind == Kind::kRows     ? kRowsHere
                 : job.kind == Kind::kSettle ? kSettled
                                             : kBlocksHere;
  kept_[job.partition] |= what;
  std::string bytes(kept_.begin(), kept_.end());
  CO_TRY_STATUS(co_await store_progress(kv_, epoch, std::move(bytes)));
  if (epoch != epoch_) co_return Status();
  flags_[job.partition] |= what;
  wake_.set();
  co_return Status();
}

void Mover::failed(const Job& job, const Error& error) {
  Retry& retry = retries_[job];
  if (error.code == ErrorCode::kTimeout) {  // it got on, and there is more
    retry.pause = Duration(0);
    retry.at = runtime_.clock.now();
    return;
  }
  retry.pause = std::clamp<Duration>(retry.pause * 2, kMoveRetryMin, kMoveRetryMax);
  retry.at = runtime_.clock.after(retry.pause);
  std::string what = name_of(static_cast<uint8_t>(job.kind));
  error_ = what + " of partition " + std::to_string(job.partition) + ": " + to_string(error);
  log_debug("{}; again in {} ms", error_,
            std::chrono::duration_cast<std::chrono::milliseconds>(retry.pause).count());
}

}  // namespace covey
