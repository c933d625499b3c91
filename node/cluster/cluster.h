// Cluster: the live Topology, and the manager that bootstraps, joins and changes the layout.
//
// - A node without seeds and without a stored layout founds a cluster. A node with seeds never
//   does: it asks the members that gossip shows for their layout, adopts it, and is a candidate
//   from then on (it serves S3 as a gateway already).
// - The first live member (by id) stages what has come about: candidates, nodes that take the place
//   of a silent one of the same name, other zones and capacities (growth.cpp).
// - A change goes old -> joint -> new. While joint, every node works through its part (mover.h) and
//   the first live member watches over it and ends it (lead.cpp). Who leads is a hint: the layout
//   register is safe whoever proposes, and another node goes on where one stopped.
// - Two cluster ids never merge.
//
// Loop thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/async/runtime.h"
#include "gossip/ring/topology.h"
#include "node/cluster/layout_register.h"
#include "node/cluster/membership.h"
#include "node/cluster/mover.h"

namespace covey {

inline constexpr Duration kClusterStep = std::chrono::milliseconds(250);
// Candidates that come within this time of each other join in one step.
inline constexpr Duration kCandidatesSettle = std::chrono::milliseconds(1500);
// Who takes the place of a node that is gone need not wait for others.
inline constexpr Duration kHeirSettles = kClusterStep;
inline constexpr Duration kGrowthRetry = std::chrono::seconds(5);
// How long a member is waited for that is away while everything else of a change is done.
inline constexpr Duration kAwayGrace = std::chrono::seconds(60);
// A change is taken back when a node that was to come is away for so long, or when the new layout
// lacks a live quorum for so long (writes stand still then).
inline constexpr Duration kJoinerAwayMax = std::chrono::minutes(15);
inline constexpr Duration kNoQuorumMax = std::chrono::seconds(20);
// A node whose coming was taken back is not taken up again for so long.
inline constexpr Duration kTakenBackPause = std::chrono::seconds(60);
inline constexpr Duration kReportEvery = std::chrono::milliseconds(500);
inline constexpr Duration kHeardWithin = std::chrono::seconds(5);
// Alive by gossip, but never a report: away all the same.
inline constexpr Duration kSilentAfter = std::chrono::minutes(3);
// A member that nobody has heard of since this node started counts as silent then.
inline constexpr Duration kUnknownIsSilent = std::chrono::seconds(30);

struct ClusterOptions {
  MemberMeta meta;  // name, zone, version, addresses, capacity; the rest is filled in here
  bool has_seeds = false;
  bool auto_layout = true;
  uint32_t partitions = kPartitionsDefault;
  // Whether this node may vote and lead; while not, it only follows. May be empty: always.
  std::function<bool()> may_vote;
  // Called on the loop when a node's rpc address is known or has changed. May be empty.
  std::function<void(NodeId, Address)> reach;
  // While this says true no new node is taken in: the cluster's secret is being rotated. May be
  // empty.
  std::function<bool()> closed;
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

  // What moves data when the layout changes. Before start(); it outlives this object's work.
  void use(DataMover& data) { mover_.use(data); }

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

  // ---- changes that an operator asks for
  struct Wish {
    std::vector<std::string> remove;  // members to take out, by name or id
    std::vector<std::string> add;     // nodes that were taken out and may come back
  };
  struct Plan {
    std::vector<std::string> what;      // one line per member that comes, goes or changes
    std::vector<std::string> problems;  // why it cannot start now
    Layout next;
    struct Node {
      std::string name;
      uint32_t in = 0, out = 0;  // copies of partitions
      uint64_t in_bytes = 0, out_bytes = 0;
    };
    std::vector<Node> nodes;
    uint32_t moves = 0;
    uint64_t bytes = 0;
  };
  // What would move. Without a wish: what has come about (candidates, other zones or capacities).
  // Errors: kNotFound (no such node), kInvalid (nothing to change, or the last node), kConflict (a
  // change is under way), kUnavailable.
  Task<Result<Plan>> plan(Wish wish);
  // Starts it; completes when the joint layout was chosen. Errors: as plan, and kUnavailable (too
  // few nodes are up to move the data).
  Task<Status> apply(Wish wish);
  // Takes the change under way back. Errors: kInvalid (there is none), kUnavailable.
  Task<Status> revert();
  // The change under way, as its leader last told; nullptr: none, or not heard of yet.
  const ChangeView* change() const { return mover_.view(); }
  // Partitions that this node no longer keeps and has not handed over and purged yet.
  size_t leaving() const { return mover_.leaving(); }

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
  struct Draft {
    std::vector<Member> members;
    std::vector<NodeId> departed;
    std::vector<std::string> what;
    size_t heirs = 0;  // lines of `what` about nodes that take the place of one that is gone
  };
  bool leads() const;
  bool closed() const { return options_.closed && options_.closed(); }
  bool silent(const NodeId& member) const;
  std::vector<MemberView> new_nodes() const;
  std::string why_waiting(const MemberView& candidate) const;
  const Member* named(const std::vector<Member>& members, const std::string& name) const;
  Draft news() const;
  void add_node(Draft& draft, const MemberView& node) const;
  Result<Draft> draft(const Wish& wish) const;
  std::vector<std::string> problems(const LayoutState& joint) const;
  Task<void> stage_when_settled();
  Task<Status> reach_joiners(Draft draft);
  Result<LayoutState> joint_of(const Draft& draft) const;
  Task<Status> begin(Draft draft);
  std::vector<NodeId> everybody() const;
  Task<std::vector<uint64_t>> ask_sizes();

  // lead.cpp
  struct Lead {  // what the leader of a change remembers of it
    uint32_t epoch = 0;
    TimePoint began, next_report, no_quorum_since;
    bool asked_empty = false, empty = false, asked_sizes = false;
    std::vector<uint64_t> bytes;
    std::map<NodeId, NodeReport> reports;
    std::map<NodeId, TimePoint> heard, away_since;
    ChangeView view;
  };
  Task<void> lead();
  Task<void> collect_reports();
  Task<bool> old_members_empty();
  std::set<NodeId> away_members();
  ChangeVerdict judge();
  bool may_complete(const ChangeVerdict& verdict) const;
  std::string why_take_back(const ChangeVerdict& verdict);
  Task<Status> end_joint(bool complete);
  Task<Result<std::string>> report(LayoutAsk ask, std::string value);

  ClusterOptions options_;
  Runtime runtime_;
  Kv& kv_;
  NodeId self_;
  Membership& membership_;
  LayoutRegister register_;
  Mover mover_;
  mutable Gossip::Members views_;
  mutable std::unordered_map<NodeId, size_t> view_index_;
  std::unordered_map<NodeId, Address> reached_;
  std::set<NodeId> foreign_;  // told in the log already
  std::string join_waits_ =
      "looking for the cluster: none of the seeds has answered yet; check that one of them runs "
      "and "
      "that secret_file holds the same cluster secret there";
  std::string growth_waits_;
  std::vector<Member> settling_;
  TimePoint started_, settled_at_, next_growth_;
  Lead lead_;
  std::map<NodeId, TimePoint> taken_back_;  // until when
  bool changing_ = false;
  Event wake_, ready_;
  Scope scope_;
};

}  // namespace covey
