// Cluster: which layout comes next, and how a change begins.
#include <algorithm>

#include "base/core/codec.h"
#include "base/core/log.h"
#include "node/cluster/cluster.h"

namespace covey {
namespace {

constexpr size_t kIdPrefixMin = 4;
constexpr const char* kClosedText =
    "the cluster's secret is being rotated: no new node is taken in until that is done";
// Free-running capacities (the size of the file systems) may differ a little from start to start.
constexpr uint64_t kCapacityNoise = 20;  // a 20th

bool differs(uint64_t a, uint64_t b) {
  return std::max(a, b) - std::min(a, b) > b / kCapacityNoise;
}

bool is_named(const NodeId& id, const std::string& name, const std::string& wanted) {
  return name == wanted || (wanted.size() >= kIdPrefixMin && id.hex().starts_with(wanted));
}

void depart(std::vector<NodeId>& departed, const NodeId& node) {
  departed.push_back(node);
  if (departed.size() > kDepartedMax) departed.erase(departed.begin());
}

std::vector<NodeId> ids_of(const std::vector<Member>& members) {
  std::vector<NodeId> ids;
  for (const Member& member : members) ids.push_back(member.id);
  return ids;
}

std::string plural(size_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

}  // namespace

// The live member with the lowest id acts, so that members do not outbid each other. It is a hint:
// the layout register is safe whoever proposes.
bool Cluster::leads() const {
  for (const Member& member : register_.state()->current.members)
    if (alive(member.id)) return member.id == self_;
  return false;
}

// Nobody answers for this member: gossip saw it die or leave, or has not heard of it for a while.
bool Cluster::silent(const NodeId& member) const {
  if (member == self_) return false;
  const MemberView* known = view(member);
  if (known) return known->state >= MemberState::kDead;
  return runtime_.clock.now() - started_ >= kUnknownIsSilent;
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

const Member* Cluster::named(const std::vector<Member>& members, const std::string& name) const {
  auto at = std::find_if(members.begin(), members.end(),
                         [&](const Member& member) { return member.name == name; });
  return at == members.end() ? nullptr : &*at;
}

std::string Cluster::why_waiting(const MemberView& node) const {
  auto state = register_.state();
  if (closed()) return kClosedText;
  if (state->has_departed(node.id))
    return "it was taken out or replaced; to take it in again: covey node add " + node.meta.name;
  if (state->joint()) return "a change of the layout is under way; it joins with the next one";
  const Member* same = named(state->current.members, node.meta.name);
  if (same && !silent(same->id))
    return "another member is named " + same->name +
           " already: set another `name`, or let it take that one's place by stopping it";
  if (!options_.auto_layout)
    return "auto_layout is off: covey layout plan, then covey layout apply";
  auto back = taken_back_.find(node.id);
  if (back != taken_back_.end() && runtime_.clock.now() < back->second)
    return "its joining was taken back, since it was away; it is tried again in a minute";
  return growth_waits_.empty() ? "joins as soon as the members agree" : growth_waits_;
}

std::vector<Cluster::Candidate> Cluster::candidates() const {
  std::vector<Candidate> list;
  for (MemberView& node : new_nodes()) {
    std::string waits = why_waiting(node);
    list.push_back({std::move(node), std::move(waits)});
  }
  return list;
}

// As a new member, or in the place of the silent one that has its name.
void Cluster::add_node(Draft& draft, const MemberView& node) const {
  Member member{node.id, node.meta.name, node.meta.zone,
                std::max<uint64_t>(node.meta.capacity_bytes, 1)};
  if (const Member* same = named(draft.members, member.name)) {
    if (!silent(same->id)) return;
    depart(draft.departed, same->id);
    draft.what.push_back(member.name + " takes the place of the node of that name that is gone");
    ++draft.heirs;
    draft.members[static_cast<size_t>(same - draft.members.data())] = std::move(member);
    return;
  }
  if (draft.members.size() >= kNodesMax) return;
  draft.what.push_back(member.name + " joins in zone " + member.zone);
  draft.members.push_back(std::move(member));
}

// What has come about by itself: new nodes, and members that say other things of themselves.
Cluster::Draft Cluster::news() const {
  auto state = register_.state();
  Draft draft{state->current.members, state->departed, {}, 0};
  for (Member& member : draft.members) {
    const MemberView* node = view(member.id);
    if (!node || node->state != MemberState::kAlive) continue;
    const MemberMeta& meta = node->meta;
    if (meta.name != member.name && !named(draft.members, meta.name)) {
      draft.what.push_back(member.name + " is called " + meta.name + " now");
      member.name = meta.name;
    }
    if (meta.zone != member.zone) {
      draft.what.push_back(member.name + " moves from zone " + member.zone + " to " + meta.zone);
      member.zone = meta.zone;
    }
    if (meta.capacity_bytes != 0 && differs(meta.capacity_bytes, member.capacity_bytes)) {
      draft.what.push_back(member.name + " has another capacity");
      member.capacity_bytes = meta.capacity_bytes;
    }
  }
  if (closed()) return draft;
  for (const MemberView& node : new_nodes()) {
    auto back = taken_back_.find(node.id);
    bool pause = back != taken_back_.end() && runtime_.clock.now() < back->second;
    if (!pause && !state->has_departed(node.id)) add_node(draft, node);
  }
  return draft;
}

Result<Cluster::Draft> Cluster::draft(const Wish& wish) const {
  auto state = register_.state();
  if (!state) return fail(ErrorCode::kUnavailable, join_waits_);
  if (state->joint() || changing_)
    return fail(ErrorCode::kConflict,
                "a change of the layout is under way: see covey status, and try again after it");
  if (wish.remove.empty() && wish.add.empty()) return news();
  Draft draft{state->current.members, state->departed, {}, 0};
  for (const std::string& name : wish.remove) {
    auto at = std::find_if(draft.members.begin(), draft.members.end(),
                           [&](const Member& m) { return is_named(m.id, m.name, name); });
    if (at == draft.members.end())
      return fail(ErrorCode::kNotFound, "no member is named " + name + ": see covey node list");
    draft.what.push_back(at->name + " leaves");
    depart(draft.departed, at->id);
    draft.members.erase(at);
  }
  if (closed() && !wish.add.empty()) return fail(ErrorCode::kConflict, kClosedText);
  for (const std::string& name : wish.add) {
    std::vector<MemberView> fresh = new_nodes();
    auto at = std::find_if(fresh.begin(), fresh.end(), [&](const MemberView& node) {
      return is_named(node.id, node.meta.name, name);
    });
    if (at == fresh.end())
      return fail(ErrorCode::kNotFound,
                  "no node named " + name + " is up and waits to be taken in: see covey node list");
    std::erase(draft.departed, at->id);
    size_t lines = draft.what.size();
    add_node(draft, *at);
    if (draft.what.size() == lines)
      return fail(ErrorCode::kInvalid, "another member is named " + name + " and is up");
  }
  // One that is taken in by the same change may take the place of all that leave.
  if (draft.members.empty()) return fail(ErrorCode::kInvalid, "the last node cannot be removed");
  return draft;
}

Result<LayoutState> Cluster::joint_of(const Draft& draft) const {
  LayoutState joint = *register_.state();
  joint.epoch += 1;
  joint.departed = draft.departed;
  TRY(joint.next,
      assign_layout(&joint.current, draft.members, joint.current.partitions(), joint.epoch));
  if (joint.next->members == joint.current.members)
    return fail(ErrorCode::kInvalid, "there is nothing to change: see covey node list");
  return joint;
}

// A change that could not move its data is not begun: while joint, writes need both layouts.
std::vector<std::string> Cluster::problems(const LayoutState& joint) const {
  size_t no_source = 0, no_target = 0;
  auto up = [this](const std::vector<NodeId>& nodes) {
    std::vector<NodeId> live;
    for (const NodeId& node : nodes)
      if (alive(node)) live.push_back(node);
    return is_majority(nodes, live);
  };
  for (PartitionId p = 0; p < joint.current.partitions(); ++p) {
    ReplicaSets sets = replica_sets(joint, p);
    no_source += !up(sets.current), no_target += !up(sets.next);
  }
  std::vector<std::string> list;
  if (no_source > 0)
    list.push_back(plural(no_source, "partition") +
                   " have lost their quorum: start the nodes that are down first");
  if (no_target > 0)
    list.push_back("too few of the nodes that stay are up: " + plural(no_target, "partition") +
                   " would have no quorum");
  return list;
}

Task<void> Cluster::stage_when_settled() {
  Draft draft = news();
  TimePoint now = runtime_.clock.now();
  if (draft.members != settling_) {
    settling_ = draft.members;
    const bool alone = draft.heirs == draft.what.size();
    settled_at_ = now + (alone ? kHeirSettles : kCandidatesSettle);
    next_growth_ = settled_at_;
  }
  if (draft.what.empty()) growth_waits_.clear();
  if (draft.what.empty() || now < settled_at_ || now < next_growth_) co_return;
  next_growth_ = now + kGrowthRetry;
  changing_ = true;
  Status done = co_await reach_joiners(draft);
  if (done) done = co_await begin(std::move(draft));
  changing_ = false;
  std::string waits = done ? std::string() : done.error().message;
  if (!done && waits != growth_waits_) log_info("the layout waits: {}", waits);
  growth_waits_ = std::move(waits);
}

// Gossip alone is not enough: who cannot be called cannot take part, and nobody's place is given
// away who answers.
Task<Status> Cluster::reach_joiners(Draft draft) {
  for (const Member& member : draft.members) {
    if (register_.state()->current.find(member.id)) continue;
    auto answer = co_await register_.fetch(member.id);
    if (!answer)
      co_return fail(ErrorCode::kUnavailable, "node " + member.name + " gossips, but does not " +
                                                  "answer on rpc: " + answer.error().message);
  }
  const std::vector<Member> before = register_.state()->current.members;
  for (const Member& member : before) {
    bool stays = std::any_of(draft.members.begin(), draft.members.end(),
                             [&](const Member& m) { return m.id == member.id; });
    if (stays) continue;
    auto answer = co_await register_.fetch(member.id);
    if (answer || !(answer.is(ErrorCode::kUnavailable) || answer.is(ErrorCode::kTimeout)))
      co_return fail(ErrorCode::kConflict,
                     "the place of node " + member.name + " (" + short_name(member.id) +
                         ") is not given to another one: it does not gossip, but answers on rpc");
  }
  co_return Status();
}

Task<Status> Cluster::begin(Draft draft) {
  CO_TRY(LayoutState joint, joint_of(draft));
  std::vector<std::string> why_not = problems(joint);
  if (!why_not.empty()) co_return fail(ErrorCode::kUnavailable, why_not.front());
  for (const std::string& line : draft.what) log_info("layout: {}", line);
  LayoutState base = *register_.state();
  CO_TRY_STATUS(co_await register_.propose(std::move(base), std::move(joint)));
  announce();
  co_await register_.push(everybody());
  wake_.set();
  co_return Status();
}

Task<Status> Cluster::apply(Wish wish) {
  CO_TRY(Draft wanted, draft(wish));
  changing_ = true;
  Status done = co_await begin(std::move(wanted));
  changing_ = false;
  co_return done;
}

Task<std::vector<uint64_t>> Cluster::ask_sizes() {
  std::vector<uint64_t> sizes(register_.state()->current.partitions(), 0);
  std::vector<NodeId> up;
  for (const Member& member : register_.state()->current.members)
    if (alive(member.id)) up.push_back(member.id);
  auto told = co_await register_.ask_details(std::move(up), LayoutAsk::kSizes, "");
  for (const LayoutRegister::Told& one : told) {
    Reader r(one.detail);
    for (uint64_t& size : sizes) size = std::max(size, r.varint());
  }
  co_return sizes;
}

Task<Result<Cluster::Plan>> Cluster::plan(Wish wish) {
  CO_TRY(Draft wanted, draft(wish));
  CO_TRY(LayoutState joint, joint_of(wanted));
  std::vector<uint64_t> sizes = co_await ask_sizes();
  Plan plan;
  plan.what = std::move(wanted.what);
  plan.problems = problems(joint);
  std::map<NodeId, Plan::Node> nodes;
  for (const Layout* layout : {&joint.current, &*joint.next})
    for (const Member& member : layout->members) nodes[member.id].name = member.name;
  for (const Move& move : moves_of(joint.current, *joint.next)) {
    ++plan.moves, plan.bytes += sizes[move.partition];
    ++nodes[move.to].in, nodes[move.to].in_bytes += sizes[move.partition];
  }
  for (const Move& move : moves_of(*joint.next, joint.current))
    ++nodes[move.to].out, nodes[move.to].out_bytes += sizes[move.partition];
  for (auto& [id, node] : nodes) plan.nodes.push_back(std::move(node));
  plan.next = std::move(*joint.next);
  co_return plan;
}

std::vector<NodeId> Cluster::everybody() const {
  std::set<NodeId> nodes;
  auto state = register_.state();
  for (const NodeId& id : ids_of(state->current.members)) nodes.insert(id);
  if (state->next)
    for (const NodeId& id : ids_of(state->next->members)) nodes.insert(id);
  for (const MemberView& node : new_nodes()) nodes.insert(node.id);
  // Who left the layout is to hear so, too.
  std::erase_if(nodes, [this](const NodeId& node) { return node == self_ || !alive(node); });
  return {nodes.begin(), nodes.end()};
}

}  // namespace covey
