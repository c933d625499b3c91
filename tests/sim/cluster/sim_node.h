// SimNode: one machine of a simulated cluster with everything a node runs below HTTP, wired as
// node/server.cpp does it. The machine outlives its processes ("incarnations"), and a node: once it
// was wiped, the next process is another one.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "gossip/swim/driver.h"
#include "node/cluster/cluster.h"
#include "node/cluster/ready_gate.h"
#include "node/config/config.h"
#include "node/storage.h"
#include "store/meta/memory_target.h"
#include "store/meta/open_kv.h"
#include "tests/sim/cluster/sim_datagrams.h"
#include "tests/sim/cluster/trace.h"
#include "tests/sim/sim_host.h"
#include "tests/sim/sim_net.h"

namespace covey::sim {

class SimNode;

// One process: from its start to its crash. Afterwards it is a zombie: cut off from the network and
// the disk, running until its coroutines have given up.
class Incarnation final : public PeerHandler {
 public:
  explicit Incarnation(SimNode& node);

  Task<Status> boot();
  // After a crash, or to end in good order.
  Task<void> wind_up(bool in_order);

  bool serving() const { return serving_ && !dead_; }
  bool dead() const { return dead_; }
  // The machine lost power, or the process was killed, since this one began.
  bool disk_gone() const;
  void die();
  bool booting = true;
  bool winding_up() const { return winding_up_; }
  const NodeId& id() const { return id_; }
  size_t number() const { return machine_of(id_); }
  Clock& clock() { return runtime_.clock; }
  ObjectStore& objects() { return storage_->objects(); }
  Storage& storage() { return *storage_; }
  Cluster& cluster() const { return *cluster_; }
  Kv& kv() { return *kv_; }
  SimPeers& peers() { return *peers_; }
  // What it holds in memory, beside the limits. REQUIRES: serving().
  Levels levels() { return storage_->levels(); }

  // kAdmin: answers the pings that stand in for lost gossip.
  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override;

 private:
  Task<Status> open_metadata();
  Task<void> pace_fold();
  void disk_failed(const Error& error);
  void start_gossip();
  Task<Status> open_cluster();
  Task<void> serve_when_ready();
  Task<void> answer_fallback(NodeId node, uint32_t sequence);
  MemberMeta meta() const;

  SimNode& node_;
  const NodeId id_;
  Runtime runtime_;
  bool dead_ = false, serving_ = false, winding_up_ = false, cluster_started_ = false;
  uint64_t boot_ = 0, disk_crashes_ = 0;
  std::unique_ptr<MemoryTarget> target_;
  std::unique_ptr<Kv> kv_;
  std::unique_ptr<SimPeers> peers_;
  std::unique_ptr<SimDatagrams> datagrams_;
  std::unique_ptr<Gossip> gossip_;
  std::unique_ptr<GossipMembership> membership_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<ReadyGate> register_gate_, control_gate_, block_gate_;
  Scope scope_;
};

class SimNode {
 public:
  struct Place {
    size_t number = 0;    // of `machines`
    size_t machines = 0;  // those that there may ever be
    size_t zones = 0;
    uint32_t partitions = 0;
  };
  SimNode(SimNetwork& net, SimWires& wires, SimRng& rng, Trace& trace, Place place);

  // Switches the machine on. REQUIRES: it is off.
  void start();
  // Everything on its disk is gone, its identity too. REQUIRES: it is off.
  void wipe();
  enum class Crash { kPower, kPowerDroppingAll, kProcess };
  void crash(Crash how);
  // Ends the process as SIGTERM does.
  Task<void> stop();
  // How many nodes there have been on this machine; 0: it was never switched on.
  size_t life() const { return life_; }
  bool off() const { return now_ == nullptr; }
  bool serving() const { return now_ && now_->serving(); }
  // nullptr while off.
  const std::shared_ptr<Incarnation>& now() const { return now_; }
  // All that ever ran here has ended. Before destruction.
  Task<void> end();

  // Why the last start failed; what crashed by itself. The world decides whether it was expected.
  std::function<void(const std::string&)> on_trouble = [](const std::string&) {};
  // A node here has adopted a layout.
  std::function<void(const LayoutState&)> on_layout = [](const LayoutState&) {};

  SimNetwork& net;
  SimWires& wires;
  SimHost host;
  Trace& trace;
  NodeId id;
  const size_t number;
  const Place place;
  bool in_service = false;  // it runs, or whoever mends things starts it
  bool wanted = false;      // as a member
  uint64_t capacity_bytes;
  Duration fold_pace{0}, resync_every{0}, reclaim_pause{0};
  uint64_t journal_file_bytes = 0;
  Config config;
  ClusterSecret secret;
  MemoryRows rows;  // what LMDB holds
  uint64_t power_cuts = 0, kills = 0;
  // Of processes that have ended: copies of blocks found bad, and those fetched in their place.
  uint64_t bad_copies = 0, fetched_copies = 0;

 private:
  friend class Incarnation;
  Task<void> run(std::shared_ptr<Incarnation> one);
  Task<void> bury(std::shared_ptr<Incarnation> one);

  uint8_t rank_;
  size_t life_ = 0;
  std::shared_ptr<Incarnation> now_;
  std::vector<std::shared_ptr<Incarnation>> all_;
  Scope scope_;
};

}  // namespace covey::sim
