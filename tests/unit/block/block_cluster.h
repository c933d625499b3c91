// Nodes with a block service each on the simulated network.
#pragma once

#include <deque>

#include "store/block/block_service.h"
#include "tests/sim/sim_net.h"
#include "tests/unit/block/block_node.h"

namespace covey {

inline constexpr PartitionId kHome = 3;

struct BlockMember {
  BlockMember(SimLoop& loop, SimRng& seed, SimNetwork& network, NodeId self, std::string name,
              std::shared_ptr<const LayoutState> layout)
      : node(loop, seed, name),
        memory(loop, loop, 256 * kMiB),
        net(network),
        id(self),
        topology(self, std::move(layout)) {}

  void start() {
    peers.push_back(std::make_unique<SimPeers>(net, id));
    REQUIRE(node.start());
    scope = std::make_unique<Scope>();
    service = std::make_unique<BlockService>(node.host.runtime(), *scope, memory, *node.kv,
                                             *peers.back(), topology, *node.store);
    for (const BlockKey& block : node.recovered) service->recovered(block);
    scope->spawn(service->run());
  }
  void stop() {
    peers.back()->down();
    scope->request_stop();
    node.host.loop.run(scope->join());
    node.host.loop.run(peers.back()->idle());
    node.stop();
    service.reset();
  }

  BlockNode node;
  MemoryBudget memory;
  SimNetwork& net;
  NodeId id;
  SimTopology topology;
  std::vector<std::unique_ptr<SimPeers>> peers;  // of every incarnation
  std::unique_ptr<Scope> scope;
  std::unique_ptr<BlockService> service;
};

struct BlockCluster {
  // Members a, b, c, ... of which the first three are the replicas of everything.
  explicit BlockCluster(uint64_t number, size_t count = 3)
      : seed(number), net(loop, seed.split("net")) {
    for (size_t i = 0; i < count; ++i) {
      Member member;
      member.id.bytes[0] = static_cast<uint8_t>(i + 1);
      member.name = std::string(1, static_cast<char>('a' + i)), member.capacity_bytes = kGiB;
      members.push_back(member);
    }
    auto layout = std::make_shared<LayoutState>();
    layout->current = layout_of({0, 1, 2}, 1);
    for (const Member& m : members) nodes.emplace_back(loop, seed, net, m.id, m.name, layout);
    for (BlockMember& m : nodes) m.start();
  }
  ~BlockCluster() {
    for (BlockMember& m : nodes)
      if (m.service) m.stop();
  }

  // Every partition on these members, each first for some.
  Layout layout_of(std::vector<uint16_t> replicas, uint64_t version) const {
    Layout layout;
    layout.version = version, layout.copies = static_cast<uint32_t>(replicas.size());
    layout.members = members;
    for (size_t p = 0; p < 8; ++p) {
      layout.assignment.push_back(replicas);
      std::rotate(replicas.begin(), replicas.begin() + 1, replicas.end());
    }
    return layout;
  }
  std::shared_ptr<const LayoutState> state(uint32_t epoch, std::vector<uint16_t> current,
                                           std::vector<uint16_t> next = {}) const {
    auto state = std::make_shared<LayoutState>();
    state->epoch = epoch;
    state->current = layout_of(std::move(current), 1 + epoch / 2);
    if (!next.empty()) state->next = layout_of(std::move(next), 2 + epoch / 2);
    return state;
  }

  Status put(size_t at, const BlockId& id, size_t size = 20000) {
    BlockOwner owner = BlockNode::owner(id);
    Blob bytes = Blob::own(BlockNode::payload(id, size));
    return loop.run(
        nodes[at].service->put(kHome, id, owner, bytes, loop.after(std::chrono::seconds(5))));
  }
  Result<Blob> get(size_t at, const BlockId& id, uint32_t size = 20000) {
    return loop.run(
        nodes[at].service->get(kHome, id, 0, size, loop.after(std::chrono::seconds(5))));
  }
  bool holds(size_t at, const BlockId& id) { return nodes[at].node.store->has({kHome, id}); }

  SimLoop loop;
  std::vector<Member> members;
  SimRng seed;
  SimNetwork net;
  std::deque<BlockMember> nodes;
};

}  // namespace covey
