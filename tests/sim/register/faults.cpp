// What befalls the nodes and links of a run.
#include "tests/sim/register/cluster.h"

namespace covey {

using std::chrono::milliseconds;

Task<void> RegisterCluster::break_things(SimRng rng) {
  size_t rounds = 4 + rng.below(10);
  for (size_t i = 0; i < rounds; ++i) {
    co_await loop_.sleep(milliseconds(20 + rng.below(700)));
    uint64_t what = rng.below(8);
    RegisterNode& node = *nodes_[rng.below(nodes_.size())];
    if (what == 0 || (what == 1 && !node.up())) {
      note(node.up() ? "crash" : "start");
      if (node.up()) {
        node.crash();
      } else {
        co_await node.start();
      }
      continue;
    }
    one_fault(rng);
  }
}

void RegisterCluster::one_fault(SimRng& rng) {
  RegisterNode& node = *nodes_[rng.below(nodes_.size())];
  RegisterNode& other = *nodes_[rng.below(nodes_.size())];
  switch (rng.below(6)) {
    case 0:
      note("one-way cut");
      if (&node != &other) net_.cut(node.id(), other.id());
      break;
    case 1:
      note("isolated");
      for (auto& each : nodes_)
        if (each.get() != &node) net_.cut_both(node.id(), each->id());
      break;
    case 2: note("healed"), net_.heal(); break;
    case 3: note("a wrong rumour"), node.topology.dead.insert(other.id()); break;
    case 4: note("rumours end"), node.topology.dead.clear(); break;
    default:
      // Restarts in the middle of what it writes: syncs under way are lost.
      note("crash amid writes");
      node.host.disk.faults.sync_latency = milliseconds(rng.below(20));
      node.crash();
      break;
  }
}

}  // namespace covey
