// A run in which one disk goes back to an old backup. Three nodes with a witness before the
// network: the node is found out and never votes again, or nobody relied on what it forgot. Nothing
// else fails for good, so every key stays linearizable and every node that is left serves.
#include "tests/sim/register/cluster.h"

namespace covey {

using std::chrono::milliseconds;
using std::chrono::seconds;

bool RegisterCluster::run_rollback() {
  Scope starts;
  for (auto& node : nodes_) starts.spawn(node->start());
  loop_.run(starts.join());
  loop_.run_for(seconds(1));
  Scope clients, faults;
  const size_t count = 3 + rng_.below(4);
  SimRng after = rng_.split("after");
  for (int phase = 0; phase < 2; ++phase) {
    for (size_t i = 0; i < count; ++i) clients.spawn(clients_->client(rng_.split("client")));
    if (phase == 0) faults.spawn(go_back(rng_.split("faults")));
    if (phase == 1) faults.spawn(disturb(after, 6));
    auto ended = [&] { return clients.running() == 0 && faults.running() == 0; };
    if (!loop_.run_until(ended, std::chrono::hours(1))) complain("the run never ended");
  }
  good_ = heal_and_check() && good_;
  return end_and_judge();
}

// One node at a time is down or cut off; what is written meanwhile misses it.
Task<void> RegisterCluster::disturb(SimRng& rng, size_t rounds) {
  for (size_t i = 0; i < rounds; ++i) {
    RegisterNode& node = *nodes_[rng.below(nodes_.size())];
    bool crashes = node.up() && rng.chance(0.5);
    note(crashes ? "one crashes" : "one is cut off");
    if (crashes) node.crash();
    for (auto& other : nodes_)
      if (!crashes && other.get() != &node) net_.cut_both(node.id(), other->id());
    co_await loop_.sleep(milliseconds(50 + rng.below(600)));
    net_.heal();
    if (!node.up() && !node.gone) co_await node.start();
    co_await loop_.sleep(milliseconds(20 + rng.below(300)));
  }
}

Task<void> RegisterCluster::go_back(SimRng rng) {
  RegisterNode& node = *nodes_[rng.below(nodes_.size())];
  co_await loop_.sleep(milliseconds(rng.below(400)));
  RegisterNode::Backup backup = node.backup();
  note("a backup is made");
  co_await disturb(rng, 1 + rng.below(3));
  // The others live and remember: one fault at a time.
  co_await loop_.sleep(milliseconds(500));
  if (node.up()) node.crash();
  node.restore(backup);
  note("its disk goes back");
  co_await node.start();
  auto one = node.now;
  TimePoint until = loop_.now() + seconds(30);
  while (!one->forgot && !one->witness->cleared() && loop_.now() < until)
    co_await loop_.sleep(milliseconds(100));
  if (!one->forgot && !one->witness->cleared()) complain("nobody says whether the disk forgot");
  note(one->forgot ? "it is found out" : "nobody misses anything");
  if (!one->forgot) co_return;
  ++history_.forgot;
  node.crash();
  node.gone = true;
  for (auto& other : nodes_)
    if (other.get() != &node) other->topology.dead.insert(node.id());
}

}  // namespace covey
