// Anti-entropy during a run: replicas compare partitions and pull, and collect tombstones, at any
// time and cut short at any point; layouts are settled by comparing.
#include <algorithm>
#include <map>
#include <optional>

#include "store/sync/partition_walk.h"
#include "tests/sim/register/cluster.h"

namespace covey {

using std::chrono::milliseconds;

namespace {
constexpr int kConvergeRounds = 20;
}  // namespace

Task<void> RegisterCluster::keep_in_step(SimRng rng) {
  while (!in_step_.stop_requested()) {
    co_await loop_.sleep(milliseconds(5 + rng.below(250)));
    RegisterNode* node = some_node(rng);
    if (!node) continue;
    auto p = static_cast<PartitionId>(rng.below(kSimPartitions));
    in_step_.spawn(one_step(node->now, p, rng.chance(0.5), milliseconds(20 + rng.below(2000))));
  }
}

Task<void> RegisterCluster::one_step(std::shared_ptr<RegisterIncarnation> at, PartitionId p,
                                     bool collect, Duration within) {
  auto report = co_await at->sync->catch_up(p, loop_.after(within));
  if (!report) co_return;
  history_.pulled += report->rows_pulled;
  if (!collect) co_return;
  auto dropped = co_await at->sync->collect_tombstones(p, loop_.after(within));
  if (dropped) history_.collected += *dropped;
}

Task<void> RegisterCluster::settle_by_comparing(SimRng& rng) {
  for (PartitionId p = 0; p < kSimPartitions; ++p) {
    bool settled = false;
    while (!settled) {
      co_await loop_.sleep(milliseconds(10));
      RegisterNode* node = some_node(rng);
      if (!node || node->epoch() != layout_->epoch) continue;
      auto at = node->now;
      // New replicas need not have caught up: what they lack is written again.
      if (rng.chance(0.5)) (void)co_await at->sync->catch_up(p, loop_.after(milliseconds(800)));
      auto report = co_await at->sync->settle(p, loop_.after(milliseconds(1500)));
      settled = report && report->done && report->epoch == layout_->epoch && !at->crashed;
    }
  }
}

// Once nothing disturbs them, all replicas of a partition have the same live rows.
bool RegisterCluster::converge() {
  for (int round = 0; round < kConvergeRounds; ++round) {
    for (auto& node : nodes_)
      for (PartitionId p = 0; p < kSimPartitions; ++p)
        (void)loop_.run(node->now->sync->catch_up(p, loop_.after(std::chrono::seconds(20))));
    bool same = true;
    for (PartitionId p = 0; p < kSimPartitions; ++p) same = same && replicas_agree(p);
    if (same) return true;
    loop_.run_for(std::chrono::seconds(1));
  }
  complain("replicas that compare do not agree in the end");
  return false;
}

bool RegisterCluster::replicas_agree(PartitionId p) {
  std::optional<std::map<std::string, Rank>> first;
  for (auto& node : nodes_) {
    std::vector<NodeId> all = replica_sets(*node->topology.layout(), p).all();
    if (std::find(all.begin(), all.end(), node->id()) == all.end()) continue;
    std::map<std::string, Rank> rows;
    PartitionWalk walk(*node->now->kv, node->now->service->tables(), p, {});
    for (; walk.valid(); walk.next())
      if (!walk.tombstone()) rows[std::string(walk.place())] = walk.rank();
    if (!first) first = rows;
    if (*first != rows) return false;
  }
  return true;
}

}  // namespace covey
