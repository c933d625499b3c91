// Layout changes during a run: old -> joint -> new, as register.md has them.
#include <algorithm>

#include "tests/sim/register/cluster.h"

namespace covey {

using std::chrono::milliseconds;

namespace {
constexpr int kChangesMax = 3;
}  // namespace

std::vector<std::vector<uint16_t>> RegisterCluster::draw_assignment(SimRng& rng, size_t nodes,
                                                                    size_t copies) {
  std::vector<std::vector<uint16_t>> assignment;
  for (PartitionId p = 0; p < kSimPartitions; ++p) {
    std::vector<uint16_t> order;
    while (order.size() < copies) {
      auto one = static_cast<uint16_t>(rng.below(nodes));
      if (std::find(order.begin(), order.end(), one) == order.end()) order.push_back(one);
    }
    assignment.push_back(std::move(order));
  }
  return assignment;
}

std::shared_ptr<LayoutState> RegisterCluster::first_layout(size_t nodes) {
  auto layout = std::make_shared<LayoutState>();
  layout->epoch = 1;
  layout->current.version = 1;
  size_t copies = rng_.chance(0.1) ? 1 : std::min<size_t>(nodes, 3);
  if (options_.rollback) copies = nodes;
  layout->current.copies = static_cast<uint32_t>(copies);
  for (size_t i = 0; i < nodes; ++i) {
    Member member;
    member.id.bytes[0] = static_cast<uint8_t>(i + 1);
    member.name = "n" + std::to_string(i);
    member.capacity_bytes = 1;
    layout->current.members.push_back(member);
  }
  layout->current.assignment = draw_assignment(rng_, nodes, copies);
  return layout;
}

RegisterNode* RegisterCluster::some_node(SimRng& rng) {
  RegisterNode* node = nodes_[rng.below(nodes_.size())].get();
  return node->up() ? node : nullptr;
}

Task<void> RegisterCluster::change_layouts(SimRng rng) {
  size_t count = 1 + rng.below(kChangesMax);
  for (size_t i = 0; i < count; ++i) {
    co_await loop_.sleep(milliseconds(rng.below(1500)));
    co_await change_layout(rng);
    ++history_.layouts;
  }
  co_await adopting_.join();
}

Task<void> RegisterCluster::change_layout(SimRng& rng) {
  auto joint = std::make_shared<LayoutState>(*layout_);
  ++joint->epoch;
  joint->next = joint->current;
  ++joint->next->version;
  size_t copies = rng.chance(0.1) ? 1 : std::min<size_t>(nodes_.size(), 3);
  joint->next->copies = static_cast<uint32_t>(copies);
  joint->next->assignment = draw_assignment(rng, nodes_.size(), copies);
  note("joint");
  co_await spread(joint, rng);
  if (in_step_runs_) {
    co_await settle_by_comparing(rng);
  } else {
    co_await settle_all(rng);
  }
  note("settled");
  auto fresh = std::make_shared<LayoutState>(*joint);
  ++fresh->epoch;
  fresh->current = std::move(*fresh->next);
  fresh->next.reset();
  co_await spread(fresh, rng);
  note("new");
}

Task<void> RegisterCluster::adopt_later(RegisterNode& node,
                                        std::shared_ptr<const LayoutState> layout, Duration after) {
  co_await loop_.sleep(after);
  co_await node.adopt(std::move(layout));
}

bool RegisterCluster::adopted(const LayoutState& layout) const {
  std::vector<NodeId> yes;
  for (const auto& node : nodes_)
    if (node->epoch() >= layout.epoch) yes.push_back(node->id());
  for (PartitionId p = 0; p < kSimPartitions; ++p)
    if (!replica_sets(layout, p).quorum(yes)) return false;
  return true;
}

Task<void> RegisterCluster::spread(std::shared_ptr<const LayoutState> layout, SimRng& rng) {
  layout_ = layout;
  // A few learn of it late, perhaps after the next one.
  for (auto& node : nodes_) {
    Duration after = milliseconds(rng.chance(0.3) ? rng.below(1500) : rng.below(60));
    adopting_.spawn(adopt_later(*node, layout, after));
  }
  while (!adopted(*layout)) co_await loop_.sleep(milliseconds(20));
}

Task<void> RegisterCluster::settle_all(SimRng& rng) {
  for (PartitionId p = 0; p < kSimPartitions; ++p) {
    // What is fenced out stays so in the new set.
    const uint64_t stands = history_.fence_stands[p];
    Fence fence;
    fence.bucket.bytes[0] = static_cast<uint8_t>(p + 1);
    fence.generation = stands;
    bool fenced = false;
    while (!fenced) {
      co_await loop_.sleep(milliseconds(10));
      RegisterNode* node = some_node(rng);
      if (!node || node->epoch() != layout_->epoch) continue;
      auto at = node->now;
      Status done = co_await at->service->fence(p, fence, loop_.after(milliseconds(800)));
      fenced = done.has_value() && !at->crashed;
    }
    for (int index = 0; index < kSimKeys; ++index) {
      bool settled = false;
      while (!settled) settled = co_await settle(p, index, rng);
    }
  }
}

Task<bool> RegisterCluster::settle(PartitionId p, int index, SimRng& rng) {
  co_await loop_.sleep(milliseconds(5));
  RegisterNode* node = some_node(rng);
  if (!node || node->epoch() != layout_->epoch) co_return false;
  auto at = node->now;
  Request request;
  request.verb = Verb::kSettle;
  request.epoch = layout_->epoch;
  request.key.table = table_.id();
  request.key.partition = p;
  request.key.key = sim_key(index);
  request.budget_ms = 800;
  PeerMessage message;
  message.head = encode_request(request);
  auto answer = co_await at->service->serve(node->id(), std::move(message));
  if (!answer || at->crashed) co_return false;
  auto reply = decode_reply(answer->head);
  co_return reply && reply->answer == Answer::kYes;
}

}  // namespace covey
