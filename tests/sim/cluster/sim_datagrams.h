// SimDatagrams: gossip's UDP over the simulated network.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "base/async/net.h"
#include "tests/sim/sim_net.h"

namespace covey::sim {

// The machines' addresses: node n of a simulation is 10.0.0.n+1.
inline Address gossip_address(size_t number) {
  return {"10.0.0." + std::to_string(number + 1), 3901};
}
// The id of the `life`-th node on machine `number`. `rank` comes first: the lowest id leads.
inline NodeId node_id(uint8_t rank, size_t number, size_t life) {
  NodeId id;
  id.bytes[0] = rank;
  id.bytes[1] = static_cast<uint8_t>(number + 1);
  id.bytes[2] = static_cast<uint8_t>(life);
  return id;
}
inline size_t machine_of(const NodeId& id) { return id.bytes[1] - 1u; }

// The wires: who listens at the moment. One per simulation, beside the SimNetwork.
class SimDatagrams;
class SimWires {
 public:
  explicit SimWires(SimNetwork& net) : net_(net) {}

 private:
  friend class SimDatagrams;
  SimNetwork& net_;
  std::map<Address, SimDatagrams*> open_;
};

class SimDatagrams final : public Datagrams {
 public:
  SimDatagrams(SimWires& wires, NodeId self)
      : wires_(wires), self_(self), address_(gossip_address(machine_of(self))) {
    wires_.open_[address_] = this;
  }
  ~SimDatagrams() override { down(); }
  void down() {
    down_ = true;
    auto it = wires_.open_.find(address_);
    if (it != wires_.open_.end() && it->second == this) wires_.open_.erase(it);
  }

  void send(const Address& to, std::string_view bytes) override {
    if (down_) return;
    auto peer = wires_.open_.find(to);
    if (peer == wires_.open_.end()) return;
    SimWires& wires = wires_;
    NodeId from = self_, there = peer->second->self_;
    Address sender = address_;
    wires_.net_.deliver(from, there, [&wires, from, there, sender, to, text = std::string(bytes)] {
      // Sealed with real randomness: only the size is part of the history.
      wires.net_.arrived(from, there, 0, std::string_view());
      auto it = wires.open_.find(to);
      if (it != wires.open_.end() && it->second->receiver_) it->second->receiver_(sender, text);
    });
  }
  void on_receive(std::function<void(const Address&, std::string_view)> receiver) override {
    receiver_ = std::move(receiver);
  }

 private:
  SimWires& wires_;
  NodeId self_;
  Address address_;
  bool down_ = false;
  std::function<void(const Address&, std::string_view)> receiver_;
};

}  // namespace covey::sim
