#include "tests/sim/cluster/operator.h"

#include <algorithm>

namespace covey::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration kLookEvery = 1s;
// Copies of a cluster from which a machine may be lost for good.
constexpr uint32_t kCopiesToLose = 3;

Task<void> restart_slowly(SimNode& node, SimLoop& loop) {
  co_await node.stop();
  co_await loop.sleep(100ms);
  if (node.off() && node.in_service) node.start();
}

}  // namespace

Operator::Operator(World& world, SimRng rng) : world_(world), rng_(rng) {
  for (Change change : world_.knobs.changes)
    to_lose_ |= change == Change::kRemoveDead || change == Change::kReplace;
}

Task<void> Operator::run(Scope& scope) {
  for (Change change : world_.knobs.changes) {
    auto most = static_cast<uint64_t>(world_.knobs.change_pause_max.count());
    Duration pause(static_cast<int64_t>(rng_.below(most)));
    bool go_on = co_await scope.sleep(world_.loop, pause);
    if (!go_on) break;
    begin(change);
  }
  co_await restarts_.join();
  begun_ = true;
}

void Operator::begin(Change change) {
  world_.trace.line("change: {}", change_name(change));
  switch (change) {
    case Change::kJoin: return join();
    case Change::kDrain: return drain();
    case Change::kReturn: return bring_back();
    case Change::kRemoveDead: return lose(false);
    case Change::kReplace: return lose(true);
    case Change::kRevert: to_revert_ = true; return;
    default: return revise(change);
  }
}

void Operator::join() {
  for (auto& node : world_.nodes) {
    if (node->in_service || node->life() > 0) continue;
    node->in_service = node->wanted = true;
    return node->start();
  }
}

SimNode* Operator::any(bool wanted) {
  std::vector<SimNode*> some;
  for (SimNode* node : world_.in_service())
    if (node->wanted == wanted) some.push_back(node);
  return some.empty() ? nullptr : some[rng_.below(some.size())];
}

size_t Operator::wanted() const {
  return static_cast<size_t>(std::count_if(world_.nodes.begin(), world_.nodes.end(),
                                           [](auto& node) { return node->wanted; }));
}

void Operator::drain() {
  size_t least = to_lose_ ? kCopiesToLose : 1;
  SimNode* node = any(true);
  if (!node || wanted() <= least) return;
  if (node->number == world_.knobs.victim && world_.knobs.has(Fault::kRot)) return;
  world_.trace.line("n{} is to go", node->number);
  node->wanted = false;
}

void Operator::bring_back() {
  for (auto& node : world_.nodes) {
    if (node->wanted || node->life() == 0) continue;
    world_.trace.line("n{} comes back", node->number);
    node->in_service = node->wanted = true;
    if (node->off()) node->start();
    return;
  }
}

// Of any one machine everything may be lost, when there are three copies.
bool Operator::may_lose() const {
  auto state = newest();
  return !lost_ && state && wanted() >= kCopiesToLose && state->current.copies >= kCopiesToLose &&
         (!state->joint() || state->next->copies >= kCopiesToLose) &&
         world_.nodes[world_.knobs.victim]->wanted;
}

void Operator::lose(bool replace) {
  // A node with damaged metadata has to be replaced.
  to_replace_ = replace && !lost_ && !may_lose() && world_.knobs.has(Fault::kRot);
  if (!may_lose()) return;
  lost_ = true;
  SimNode& node = *world_.nodes[world_.knobs.victim];
  node.crash(SimNode::Crash::kPower);
  if (replace) {
    node.wipe();
    return node.start();
  }
  world_.trace.line("n{} is dead", node.number);
  node.in_service = node.wanted = false;
}

void Operator::revise(Change change) {
  SimNode* node = any(true);
  if (!node) return;
  if (change == Change::kCapacity) {
    node->capacity_bytes = rng_.chance(0.5) ? node->capacity_bytes * 2 : node->capacity_bytes / 2;
    world_.trace.line("n{} has {} bytes", node->number, node->capacity_bytes);
    if (node->serving())
      node->now()->cluster().set_space(node->capacity_bytes, node->capacity_bytes / 2);
    return;
  }
  node->config.zone = "z" + std::to_string(rng_.below(world_.knobs.zones + 1));
  world_.trace.line("n{} moves to zone {}", node->number, node->config.zone);
  restarts_.spawn(restart_slowly(*node, world_.loop));
}

std::shared_ptr<const LayoutState> Operator::newest() const {
  std::shared_ptr<const LayoutState> newest;
  for (SimNode* node : world_.in_service()) {
    if (!node->serving()) continue;
    auto state = node->now()->cluster().layout();
    if (!newest || state->epoch > newest->epoch) newest = std::move(state);
  }
  return newest;
}

Task<void> Operator::keep(Scope& scope) {
  for (bool go_on = true; go_on;) {
    go_on = co_await scope.sleep(world_.loop, kLookEvery);
    auto state = newest();
    if (!go_on || !state) continue;
    if (to_replace_) lose(true);
    see_to_machines(*state);
    if (state->joint()) {
      // A damaged node holds up the change that leaves too few copies to replace it.
      const bool stuck = to_replace_ && state->next->copies < kCopiesToLose;
      if (std::exchange(to_revert_, false) || stuck) co_await take_back();
      continue;
    }
    Cluster::Wish wish;
    for (const Member& member : state->current.members) {
      const SimNode& node = *world_.nodes[machine_of(member.id)];
      bool replaced = node.wanted && node.id != member.id;  // its heir takes its place by itself
      if (!node.wanted && !replaced) wish.remove.push_back(member.id.hex());
    }
    for (SimNode* node : world_.in_service())
      if (node->wanted && state->has_departed(node->id)) wish.add.push_back(node->id.hex());
    if (!wish.remove.empty() || !wish.add.empty() || rng_.chance(0.1))
      co_await ask(std::move(wish));
  }
}

// A node that was drained is switched off when it has handed everything over; one that was thought
// to be dead may come back with all it had.
void Operator::see_to_machines(const LayoutState& state) {
  for (auto& node : world_.nodes) {
    bool member = state.current.find(node->id) || (state.next && state.next->find(node->id));
    if (node->wanted || member || node->life() == 0 || !rng_.chance(0.1)) continue;
    if (!node->in_service && node->off()) {
      world_.trace.line("n{} was not dead", node->number);
      node->in_service = true;
      node->start();
    } else if (node->serving() && node->now()->cluster().leaving() == 0 &&
               node->now()->cluster().layout()->epoch == state.epoch) {
      world_.trace.line("n{} is switched off", node->number);
      node->in_service = false;
      node->crash(SimNode::Crash::kPower);
    }
  }
}

Task<void> Operator::ask(Cluster::Wish wish) {
  std::shared_ptr<Incarnation> at = world_.pick(rng_);
  if (!at) co_return;
  std::string what;
  for (const std::string& name : wish.remove) what += " -" + name.substr(0, 4);
  for (const std::string& name : wish.add) what += " +" + name.substr(0, 4);
  Status done = co_await at->cluster().apply(std::move(wish));
  world_.trace.line("n{} is asked for{}: {}", at->number(), what,
                    done ? "done" : to_string(done.error()));
}

Task<void> Operator::take_back() {
  std::shared_ptr<Incarnation> at = world_.pick(rng_);
  if (!at) co_return;
  Status done = co_await at->cluster().revert();
  world_.trace.line("n{} takes the change back: {}", at->number(),
                    done ? "done" : to_string(done.error()));
}

bool Operator::conforms() const { return why_not().empty(); }

std::string Operator::why_not() const {
  auto state = newest();
  if (!begun_ || to_replace_) return "not every change has begun";
  if (!state) return "nobody serves";
  if (state->joint()) return "the layout is joint";
  size_t members = 0;
  for (SimNode* node : world_.in_service()) {
    if (!node->serving()) return "a node does not serve";
    std::string name = "n" + std::to_string(node->number);
    Cluster& cluster = node->now()->cluster();
    if (cluster.layout()->epoch != state->epoch) return name + " has not heard of the layout";
    if (cluster.leaving() > 0) return name + " has not handed everything over";
    const Member* member = state->current.find(node->id);
    if (node->wanted != (member != nullptr)) return name + (member ? " stays" : " is no member");
    if (!member) continue;
    ++members;
    if (member->zone != node->config.zone) return name + " is in another zone";
    if (member->capacity_bytes != node->capacity_bytes) return name + " has another capacity";
  }
  if (members != state->current.members.size()) return "a node that is gone is a member";
  return {};
}

}  // namespace covey::sim
