// Cluster: how the layout changes. Growth goes old -> joint -> new, and only while the cluster
// holds no register row.
//
// Why empty after joint is enough: a member that has adopted the joint epoch refuses every message
// of a lower one. If a majority of the old members had no row when they adopted it, no row was ever
// chosen before, and every row chosen since is on a majority of the new set as well.
#include <algorithm>

#include "base/core/log.h"
#include "node/cluster/cluster.h"

namespace covey {
namespace {

constexpr const char* kHoldsData =
    "growth of a cluster that holds data comes with the next release";

}  // namespace

// The live member with the lowest id acts, so that members do not outbid each other. It is a hint:
// the layout register is safe whoever proposes.
bool Cluster::leads() const {
  for (const Member& member : register_.state()->current.members)
    if (alive(member.id)) return member.id == self_;
  return false;
}

std::vector<MemberView> Cluster::new_nodes() const {
  std::vector<MemberView> fresh;
  auto state = register_.state();
  if (!state) return fresh;
  refresh_views();
  for (const MemberView& node : *views_) {
    if (node.state != MemberState::kAlive || node.meta.cluster != state->cluster) continue;
    if (state->current.find(node.id) || (state->next && state->next->find(node.id))) continue;
    fresh.push_back(node);
  }
  return fresh;
}

std::vector<Cluster::Candidate> Cluster::candidates() const {
  std::vector<Candidate> list;
  auto state = register_.state();
  if (!state) return list;
  for (MemberView& node : new_nodes()) {
    std::string waits = "joins as soon as the members agree";
    for (const Member& member : state->current.members)
      if (member.name == node.meta.name)
        waits = "another member is named " + member.name + " already: set another `name`";
    Result<bool> empty = registers_empty(kv_);
    if (empty && !*empty) waits = kHoldsData;
    if (!growth_waits_.empty()) waits = growth_waits_;
    if (!options_.auto_layout) waits = "auto_layout is off";
    list.push_back({std::move(node), std::move(waits)});
  }
  return list;
}

Task<void> Cluster::grow_when_settled() {
  std::vector<MemberView> fresh = new_nodes();
  std::vector<NodeId> ids;
  for (const MemberView& node : fresh) ids.push_back(node.id);
  TimePoint now = runtime_.clock.now();
  if (ids != settling_) {
    settling_ = ids;
    settled_at_ = now + kCandidatesSettle;
    next_growth_ = settled_at_;
  }
  if (fresh.empty()) growth_waits_.clear();
  if (fresh.empty() || now < settled_at_ || now < next_growth_) co_return;
  next_growth_ = now + kGrowthRetry;
  changing_ = true;
  Status done = co_await grow(std::move(fresh));
  changing_ = false;
  std::string waits = done ? std::string() : done.error().message;
  if (!done && waits != growth_waits_) log_info("new nodes wait: {}", waits);
  growth_waits_ = std::move(waits);
}

Task<Status> Cluster::grow(std::vector<MemberView> fresh) {
  std::vector<Member> members = register_.state()->current.members;
  size_t before = members.size();
  for (const MemberView& node : fresh) {
    bool taken = std::any_of(members.begin(), members.end(),
                             [&](const Member& member) { return member.name == node.meta.name; });
    if (taken) continue;  // grow_when_settled() says so, once
    if (members.size() < kNodesMax)
      members.push_back({node.id, node.meta.name, node.meta.zone,
                         std::max<uint64_t>(node.meta.capacity_bytes, 1)});
  }
  if (members.size() == before)
    co_return fail(ErrorCode::kInvalid, "node " + fresh.front().meta.name +
                                            " has the name of a member: set another `name` on it");
  co_return co_await change_members(std::move(members), std::nullopt);
}

// `without`: a member that need not answer, since it is to be removed.
Task<Status> Cluster::change_members(std::vector<Member> members, std::optional<NodeId> without) {
  LayoutState base = *register_.state();
  std::vector<NodeId> old_nodes;
  for (const Member& member : base.current.members)
    if (!without || member.id != *without) old_nodes.push_back(member.id);
  // First without touching anything: a cluster with data never becomes joint in vain.
  CO_TRY(bool empty_here, registers_empty(kv_));
  if (!empty_here) co_return fail(ErrorCode::kNotImplemented, kHoldsData);
  LayoutRegister::Emptiness found = co_await register_.ask_empty(old_nodes);
  if (!found.filled.empty()) co_return fail(ErrorCode::kNotImplemented, kHoldsData);
  if (!found.silent.empty())
    co_return fail(ErrorCode::kUnavailable,
                   "member " + short_name(found.silent.front()) +
                       " does not answer, so nobody knows whether the cluster is empty");

  LayoutState joint = base;
  joint.epoch = base.epoch + 1;
  CO_TRY(joint.next, assign_layout(&base.current, std::move(members), base.current.partitions()));
  const std::vector<Member> wanted = joint.next->members;
  CO_TRY_STATUS(co_await register_.propose(std::move(base), std::move(joint)));
  announce();
  Status done;
  for (int i = 0; i < kLayoutAttemptsMax && register_.state()->joint(); ++i)
    done = co_await finish_joint();  // the leader may be quicker: fine
  if (register_.state()->joint()) co_return done;
  if (register_.state()->current.members != wanted)
    co_return fail(ErrorCode::kNotImplemented, kHoldsData);
  co_return Status();
}

// Joint -> new if the old members were empty when they fenced; back to old otherwise (what was
// written while joint is on a majority of both).
Task<Status> Cluster::finish_joint() {
  LayoutState base = *register_.state();
  if (!base.joint()) co_return Status();
  co_await register_.push(everybody());
  std::vector<NodeId> old_nodes;
  for (const Member& member : base.current.members) old_nodes.push_back(member.id);
  LayoutRegister::Emptiness found = co_await register_.ask_empty(old_nodes);
  LayoutState last = base;
  last.epoch = base.epoch + 1;
  last.next.reset();
  ReplicaSets old_set{old_nodes, {}};
  if (!found.filled.empty()) {
    log_warn("objects arrived while the layout was changing: the change is taken back; {}",
             kHoldsData);
    growth_waits_ = kHoldsData;
    last.current.version = base.next->version + 1;
  } else if (old_set.quorum(found.empty)) {
    last.current = *base.next;
  } else {
    co_return fail(ErrorCode::kUnavailable,
                   "too few members of the old layout answer to complete the change");
  }
  CO_TRY_STATUS(co_await register_.propose(std::move(base), std::move(last)));
  announce();
  co_await register_.push(everybody());
  co_return Status();
}

std::vector<NodeId> Cluster::everybody() const {
  std::set<NodeId> nodes;
  auto state = register_.state();
  for (const Member& member : state->current.members) nodes.insert(member.id);
  if (state->next)
    for (const Member& member : state->next->members) nodes.insert(member.id);
  for (const MemberView& node : new_nodes()) nodes.insert(node.id);
  nodes.erase(self_);
  return {nodes.begin(), nodes.end()};
}

Task<Status> Cluster::remove(std::string name) {
  auto state = register_.state();
  if (!state) co_return fail(ErrorCode::kUnavailable, join_waits_);
  if (state->joint() || changing_)
    co_return fail(ErrorCode::kConflict, "the layout is changing: try again in a moment");
  std::vector<Member> members = state->current.members;
  auto at = std::find_if(members.begin(), members.end(),
                         [&](const Member& member) { return member.name == name; });
  if (at == members.end())
    co_return fail(ErrorCode::kNotFound, "no member is named " + name + ": see covey node list");
  if (members.size() == 1) co_return fail(ErrorCode::kInvalid, "the last node cannot be removed");
  NodeId gone = at->id;
  members.erase(at);
  changing_ = true;
  Status done = co_await change_members(std::move(members), gone);
  changing_ = false;
  if (done.is(ErrorCode::kNotImplemented))
    co_return fail(ErrorCode::kNotImplemented,
                   "removal of a node from a cluster that holds data comes with the next release; "
                   "the data stays safe as long as a majority of each partition's copies is up");
  co_return done;
}

}  // namespace covey
