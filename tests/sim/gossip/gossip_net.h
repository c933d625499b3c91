// A network of Swim cores in simulated time: seeded delay, loss and partitions.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>

#include "gossip/swim/swim.h"

namespace covey {

class SeededRng : public Rng {
 public:
  explicit SeededRng(uint64_t seed) : engine_(seed) {}
  uint64_t next() override { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

class GossipNet {
 public:
  explicit GossipNet(uint64_t seed) : rng_(seed) {}

  double loss = 0;
  std::function<bool(int from, int to)> cut = [](int, int) { return false; };

  static NodeId id(int n) {
    NodeId id;
    id.bytes[0] = static_cast<uint8_t>(n + 1);
    return id;
  }
  static Address address(int n) { return {"10.0.0." + std::to_string(n + 1), 3901}; }

  // Whose address node `n` has: its own, or since start_as() another one's.
  int home(int n) const { return homes_.contains(n) ? homes_.at(n) : n; }
  // Starts node `n` under the name of node `name`, at the address of node `home`.
  void start_as(int n, int name, int home) {
    names_[n] = name, homes_[n] = home;
    start(n);
  }
  // Starts node `n`; everybody's seed is node 0 and node 1.
  void start(int n, uint64_t incarnation = 1, SwimConfig config = {}) {
    SwimOptions options;
    options.config = config;
    options.self = id(n);
    options.incarnation = incarnation;
    options.meta.name = "n" + std::to_string(names_.contains(n) ? names_[n] : n);
    options.meta.zone = "z" + std::to_string(n % 3);
    options.meta.gossip.port = options.meta.rpc.port = 3901;
    for (int seed : {0, 1})
      if (seed != n) options.seeds.push_back(address(seed));
    nodes_[n].swim.reset();
    nodes_[n].rng = std::make_unique<SeededRng>(rng_.next());
    nodes_[n].swim = std::make_unique<Swim>(options, *nodes_[n].rng);
    nodes_[n].next_tick = now_ + Duration(rng_.below(100'000'000));
  }
  void stop(int n) { nodes_.erase(n); }
  void leave(int n) { apply(n, nodes_.at(n).swim->leave(now_)); }
  Swim& at(int n) { return *nodes_.at(n).swim; }
  TimePoint now() const { return now_; }

  void run(Duration d) {
    const TimePoint end = now_ + d;
    for (;;) {
      auto next_node = nodes_.end();
      for (auto it = nodes_.begin(); it != nodes_.end(); ++it)
        if (next_node == nodes_.end() || it->second.next_tick < next_node->second.next_tick)
          next_node = it;
      TimePoint at = next_node == nodes_.end() ? end + Duration(1) : next_node->second.next_tick;
      bool message_first = !wire_.empty() && wire_.begin()->first < at;
      if (message_first) at = wire_.begin()->first;
      if (at > end) break;
      now_ = at;
      if (message_first) {
        Flight flight = wire_.begin()->second;
        wire_.erase(wire_.begin());
        auto to = nodes_.find(flight.to);
        if (to != nodes_.end())
          apply(flight.to, to->second.swim->receive(now_, id(flight.from),
                                                    address(home(flight.from)), flight.plain));
      } else {
        next_node->second.next_tick = now_ + Swim::kTick;
        apply(next_node->first, next_node->second.swim->tick(now_));
      }
    }
    now_ = end;
  }

  MemberState state(int at, int of) {
    for (const MemberView& view : nodes_.at(at).swim->members())
      if (view.id == id(of)) return view.state;
    return MemberState::kLeft;
  }
  // Every running node sees exactly `count` alive members.
  bool converged(size_t count) {
    for (auto& [n, node] : nodes_) {
      size_t alive = 0;
      for (const MemberView& view : node.swim->members())
        alive += view.state == MemberState::kAlive;
      if (alive != count) return false;
    }
    return true;
  }
  uint64_t deaths = 0;  // transitions to dead, over all observers

 private:
  struct Node {
    std::unique_ptr<SeededRng> rng;
    std::unique_ptr<Swim> swim;
    TimePoint next_tick;
    std::map<NodeId, MemberState> seen;
  };
  struct Flight {
    int from, to;
    std::string plain;
  };

  void apply(int n, SwimEffects effects) {
    for (auto& datagram : effects.send) {
      if (datagram.plain.size() > kGossipDatagramBytesMax) std::abort();
      int to = -1;
      for (const auto& [other, node] : nodes_)
        if (datagram.to == address(home(other))) to = other;
      if (to < 0 || cut(n, to) || rng_.chance(loss)) continue;
      Duration delay(1'000'000 + static_cast<int64_t>(rng_.below(30'000'000)));
      wire_.emplace(now_ + delay, Flight{n, to, std::move(datagram.plain)});
    }
    if (!effects.changed) return;
    Node& node = nodes_.at(n);
    for (const MemberView& view : node.swim->members()) {
      MemberState& was = node.seen[view.id];
      if (view.state == MemberState::kDead && was != MemberState::kDead) ++deaths;
      was = view.state;
    }
  }

  SeededRng rng_;
  TimePoint now_{1};
  std::map<int, Node> nodes_;
  std::map<int, int> names_, homes_;
  std::multimap<TimePoint, Flight> wire_;
};

}  // namespace covey
