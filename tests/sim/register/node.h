// RegisterNode: one simulated machine that runs a RegisterService on a journal, a disk and a
// network that fail as they are told to. It crashes and starts again; its disk and its layout stay.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "node/witness/witness.h"
#include "store/meta/memory_target.h"
#include "store/meta/open_kv.h"
#include "store/register/service.h"
#include "store/sync/row_sync.h"
#include "tests/sim/sim_host.h"
#include "tests/sim/sim_net.h"

namespace covey {

// From a start to a crash. What still runs in it afterwards fails by itself: nothing is destroyed
// before the end of the run.
struct RegisterIncarnation {
  Runtime runtime;
  bool crashed = false;
  std::unique_ptr<MemoryTarget> target;
  std::unique_ptr<Kv> kv;
  std::unique_ptr<SimPeers> peers;
  std::unique_ptr<Witness> witness;  // null: disks that forget are not looked for
  bool forgot = false;
  std::unique_ptr<RegisterService> service;
  std::unique_ptr<RowSync> sync;
};

class RegisterNode {
 public:
  // `table` and `net` outlive the node.
  RegisterNode(SimLoop& loop, SimRng& rng, SimNetwork& net, const RegisterTable& table,
               Member member, std::shared_ptr<const LayoutState> layout);

  // REQUIRES: down.
  Task<void> start();
  void crash();
  // Waits for what runs on every incarnation. REQUIRES: the end of the run.
  Task<void> stop_all();

  // The node durably adopts a layout; rows of partitions that it leaves are dropped before it can
  // ever return to them. A node that is down does that when it starts.
  Task<void> adopt(std::shared_ptr<const LayoutState> layout);
  uint32_t epoch() const { return topology.layout()->epoch; }

  const NodeId& id() const { return id_; }
  bool up() const { return now != nullptr; }

  // The disk as it is now, to be put back later. REQUIRES (restore): down.
  struct Backup {
    std::shared_ptr<const SimDisk::Image> disk;
    MemoryRows rows;
    uint64_t boots = 0;
  };
  Backup backup() const { return {host.disk.image(), rows_, boots_}; }
  void restore(const Backup& backup);

  bool witnessed = false;                    // a witness stands before the network
  bool gone = false;                         // it forgot, so it never starts again
  std::shared_ptr<RegisterIncarnation> now;  // nullptr while down
  SimHost host;
  SimTopology topology;

 private:
  Peers& peers_of(RegisterIncarnation& one, uint64_t recovered);
  Task<void> purge(Kv& kv);

  SimLoop& loop_;
  SimNetwork& net_;
  const RegisterTable& table_;
  NodeId id_;
  MemoryRows rows_;
  uint64_t boots_ = 0;          // stands for count_start()
  std::set<PartitionId> left_;  // rows of these are to be dropped
  std::vector<std::shared_ptr<RegisterIncarnation>> all_;
  Scope zombies_;
};

}  // namespace covey
