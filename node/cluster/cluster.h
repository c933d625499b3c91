// Cluster: the live Topology, and the manager that bootstraps, joins and grows the layout.
//
// - A node without seeds and without a stored layout founds a cluster. A node with seeds never
//   does: it asks the members that gossip shows for their layout, adopts it, and is a candidate
//   from then on (it serves S3 as a gateway already).
// - The first live member (by id) grows the layout over its candidates, old -> joint -> new, as
//   long as the cluster is found empty, before joint and again after every old member has fenced.
// - Two cluster ids never merge.
//
// Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/async/runtime.h"
#include "gossip/ring/topology.h"
#include "node/cluster/layout_register.h"
#include "node/cluster/membership.h"

namespace covey {

inline constexpr Duration kClusterStep = std::chrono::milliseconds(250);
// Candidates that come within this time of each other join in one step.
inline constexpr Duration kCandidatesSettle = std::chrono::milliseconds(1500);
inline constexpr Duration kGrowthRetry = std::chrono::seconds(5);

struct ClusterOptions {
  MemberMeta meta;  // name, zone, version, addresses, capacity; the rest is filled in here
  bool has_seeds = false;
  bool auto_layout = true;
  uint32_t partitions = kPartitionsDefault;
  // Called on the loop when a node's rpc address is known or has changed. May be empty.
  std::function<void(NodeId, Address)> reach;
};

class Cluster final : public Topology {
 public:
  // Everything handed in outlives it. Registers PeerService::kLayout with `peers`.
  Cluster(ClusterOptions options, Runtime runtime, Kv& kv, Peers& peers, Membership& membership);
  // REQUIRES: stopped, or never started.
  ~Cluster() override = default;

  // Reads the stored layout, or founds a cluster, then keeps going in the background. Errors:
  // kCorrupt, kIo, kNoSpace.
  Task<Status> start();
  // True once this node has a layout: the storage layers may serve.
  Task<bool> wait_ready(TimePoint deadline);
  // Gossip shows something new (post here from the gossip loop).
  void gossip_changed() { wake_.set(); }
  // What `df` says, for gossip. Cheap; call it every half minute or so.
  void set_space(uint64_t capacity_bytes, uint64_t free_bytes);
  Task<void> stop();

  // Called in the same turn as, and just before, a new state becomes visible. Before start().
  void on_adopt(std::function<void(const LayoutState&)> callback) {
    register_.on_adopt(std::move(callback));
  }

  NodeId self() const override { return self_; }
  std::shared_ptr<const LayoutState> layout() const override { return register_.state(); }
  bool alive(const NodeId& node) const override;
  Duration round_trip(const NodeId& node) const override;
  bool same_zone(const NodeId& node) const override;

  // ---- for the admin API
  struct MemberStatus {
    Member member;
    bool in_current = false;
    bool in_next = false;
    std::optional<MemberView> gossip;  // nullopt: never heard of since this node started
  };
  std::vector<MemberStatus> members() const;
  struct Candidate {
    MemberView gossip;
    std::string waits;  // why it is not a member yet, for people
  };
  std::vector<Candidate> candidates() const;
  // Why this node has no layout yet, for people; empty when it has one.
  std::string waits() const;
  // Removes a member, dead or alive, from an empty cluster. Errors: kNotFound, kNotImplemented (the
  // cluster holds data), kInvalid (the last node), kUnavailable, kConflict.
  Task<Status> remove(std::string name);

 private:
  const MemberView* view(const NodeId& node) const;
  void refresh_views() const;
  Task<void> run();
  Task<void> step();
  Task<void> join();
  Task<void> pull_newer();
  void announce();
  void reach_members();
  void refuse_foreign(const MemberView& node);

  // growth.cpp
  bool leads() const;
  std::vector<MemberView> new_nodes() const;
  Task<void> grow_when_settled();
  Task<Status> grow(std::vector<MemberView> fresh);
  Task<Status> change_members(std::vector<Member> members, std::optional<NodeId> without);
  Task<Status> finish_joint();
  std::vector<NodeId> everybody() const;

  ClusterOptions options_;
  Runtime runtime_;
  Kv& kv_;
  NodeId self_;
  Membership& membership_;
  LayoutRegister register_;
  mutable Gossip::Members views_;
  mutable std::unordered_map<NodeId, size_t> view_index_;
  std::unordered_map<NodeId, Address> reached_;
  std::set<NodeId> foreign_;  // told in the log already
  std::string join_waits_ =
      "looking for the cluster: none of the seeds has answered yet; check that one of them runs "
      "and "
      "that secret_file holds the same cluster secret there";
  std::string growth_waits_;
  std::vector<NodeId> settling_;
  TimePoint settled_at_, next_growth_;
  bool changing_ = false;
  Event wake_, ready_;
  Scope scope_;
};

}  // namespace covey
