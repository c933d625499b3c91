// SimNetwork: proto/peers.h between simulated nodes, with messages that are lost, late, doubled and
// overtaken, links that break (one way, too), and nodes that go down.
//
// A node that goes down is cut off at once; what ran on it keeps running against a dead network
// until it gives up, as coroutines are never destroyed from outside. Keep the SimPeers of a dead
// incarnation until the end of the run.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gossip/ring/topology.h"
#include "proto/peers.h"
#include "tests/sim/sim_loop.h"
#include "tests/sim/sim_rng.h"

namespace covey {

struct SimNetworkFaults {
  double loss = 0;       // of each message
  double duplicate = 0;  // likewise
  Duration delay_min = std::chrono::microseconds(100);
  Duration delay_max = std::chrono::milliseconds(2);
  double straggle = 0;  // messages that take up to straggle_max instead
  Duration straggle_max = std::chrono::milliseconds(900);
};

class SimPeers;

class SimNetwork {
 public:
  SimNetwork(SimLoop& loop, SimRng rng) : loop_(loop), rng_(rng) {}

  SimNetworkFaults faults;
  // A scenario decides over single messages: how long each copy takes (none: it is lost); nullopt
  // leaves it to the faults. A reply is asked about from its sender to its receiver.
  using Script = std::function<std::optional<std::vector<Duration>>(
      const NodeId& from, const NodeId& to, bool reply, const std::string& head)>;
  Script script;

  // What `from` sends no longer reaches `to`.
  void cut(const NodeId& from, const NodeId& to) {
    if (cut_.insert({from, to}).second) worsened_ = loop_.now();
  }
  void cut_both(const NodeId& a, const NodeId& b) { cut(a, b), cut(b, a); }
  void heal() { cut_.clear(), clogged_.clear(), other_release_.clear(), ++improvements_; }
  // Whether the two can talk to each other.
  bool linked(const NodeId& a, const NodeId& b) const {
    return up(a) && up(b) && !cut_.contains({a, b}) && !cut_.contains({b, a}) && same_release(a, b);
  }
  // `node` runs a release of another protocol: its peers' calls are refused, and they refuse its
  // (proto/protocol.h), while datagrams pass.
  void run_other_release(const NodeId& node) {
    if (other_release_.insert(node).second) worsened_ = loop_.now();
  }
  bool same_release(const NodeId& a, const NodeId& b) const {
    return other_release_.contains(a) == other_release_.contains(b);
  }
  // Rises whenever somebody may be reached again who could not be.
  uint64_t improvements() const { return improvements_; }
  // When somebody could last no longer be reached who could be before.
  TimePoint worsened() const { return worsened_; }
  // What `from` sends to `to` from now on arrives after `until`, in any order.
  void clog(const NodeId& from, const NodeId& to, TimePoint until) { clogged_[{from, to}] = until; }
  // Hears of each message as it arrives (PeerService 0: a datagram).
  void on_arrival(std::function<void(const NodeId& from, const NodeId& to, uint8_t service,
                                     std::string_view head)>
                      observer) {
    observer_ = std::move(observer);
  }
  void arrived(const NodeId& from, const NodeId& to, uint8_t service, std::string_view head) {
    if (observer_) observer_(from, to, service, head);
  }
  bool up(const NodeId& node) const { return nodes_.contains(node); }
  SimLoop& loop() { return loop_; }
  // nullptr while it is down.
  SimPeers* find(const NodeId& node) const {
    auto it = nodes_.find(node);
    return it == nodes_.end() ? nullptr : it->second;
  }

  // The same for one message, that a script may decide over.
  void deliver(const NodeId& from, const NodeId& to, bool reply, const std::string& head,
               std::function<void()> arrive) {
    std::optional<std::vector<Duration>> copies;
    if (script) copies = script(from, to, reply, head);
    if (!copies) return deliver(from, to, std::move(arrive));
    for (Duration delay : *copies) loop_.schedule(loop_.after(delay), arrive);
  }

  // Runs `arrive` zero, one or two times, later.
  void deliver(const NodeId& from, const NodeId& to, std::function<void()> arrive) {
    int copies = 1 + (rng_.chance(faults.duplicate) ? 1 : 0);
    for (int i = 0; i < copies; ++i) {
      if (cut_.contains({from, to}) || rng_.chance(faults.loss)) continue;
      Duration max = rng_.chance(faults.straggle) ? faults.straggle_max : faults.delay_max;
      auto spread = static_cast<uint64_t>((max - faults.delay_min).count()) + 1;
      Duration delay = faults.delay_min + Duration(static_cast<int64_t>(rng_.below(spread)));
      TimePoint at = loop_.after(delay);
      if (auto clog = clogged_.find({from, to});
          clog != clogged_.end() && clog->second > loop_.now())
        at = clog->second + delay;
      loop_.schedule(at, arrive);
    }
  }

 private:
  friend class SimPeers;
  SimLoop& loop_;
  SimRng rng_;
  uint64_t improvements_ = 0;
  TimePoint worsened_;
  std::set<std::pair<NodeId, NodeId>> cut_;
  std::set<NodeId> other_release_;
  std::map<std::pair<NodeId, NodeId>, TimePoint> clogged_;
  std::function<void(const NodeId&, const NodeId&, uint8_t, std::string_view)> observer_;
  std::map<NodeId, SimPeers*> nodes_;
};

class SimPeers final : public Peers {
 public:
  // Joins the network in place of an earlier incarnation.
  SimPeers(SimNetwork& net, NodeId self) : SimPeers(net, self, net.loop()) { up(); }
  // By the node's own clock; joins with up().
  SimPeers(SimNetwork& net, NodeId self, Clock& clock) : net_(net), clock_(clock), self_(self) {}
  void up() {
    if (!dead_) net_.nodes_[self_] = this, number_ = ++net_.improvements_;
  }
  // REQUIRES: idle().
  ~SimPeers() override { down(); }

  // Power off: nothing is sent or answered any more.
  void down() {
    dead_ = true;
    auto it = net_.nodes_.find(self_);
    if (it == net_.nodes_.end() || it->second != this) return;
    net_.nodes_.erase(it);
    net_.worsened_ = net_.loop().now();
  }
  Task<void> idle() { return scope_.join(); }
  size_t serving() const { return scope_.running(); }

  NodeId self() const override { return self_; }
  void serve(PeerService service, PeerHandler& handler) override { handlers_[service] = &handler; }

  Task<Result<PeerMessage>> call(NodeId to, PeerService service, PeerMessage request,
                                 TimePoint deadline) override {
    if (dead_ || !net_.up(to) || !net_.same_release(self_, to)) {
      co_await net_.loop().sleep(net_.faults.delay_min);
      co_return fail(ErrorCode::kUnavailable, "the peer is not connected");
    }
    if (to == self_) co_return co_await handlers_.at(service)->serve(self_, std::move(request));
    auto call = std::make_shared<Call>();
    SimNetwork& net = net_;
    NodeId from = self_;
    SimPeers* caller = this;
    net_.deliver(from, to, false, request.head, [&net, from, to, service, request, call, caller] {
      net.arrived(from, to, static_cast<uint8_t>(service), request.head);
      SimPeers* peer = net.find(to);
      if (peer) peer->scope_.spawn(peer->answer(from, service, request, call, caller));
    });
    co_await call->done.wait_until(clock_, deadline);
    if (!call->reply) co_return fail(ErrorCode::kTimeout, "the peer did not answer in time");
    co_return std::move(*call->reply);
  }

  uint64_t connection(NodeId to) const override {
    const SimPeers* peer = dead_ || !net_.same_release(self_, to) ? nullptr : net_.find(to);
    return peer ? peer->number_ : 0;
  }

  void tell(NodeId to, PeerService service, std::string head) override {
    if (dead_ || !net_.same_release(self_, to)) return;
    SimNetwork& net = net_;
    NodeId from = self_;
    net_.deliver(from, to, false, head, [&net, from, to, service, head] {
      net.arrived(from, to, static_cast<uint8_t>(service), head);
      SimPeers* peer = net.find(to);
      PeerMessage message;
      message.head = head;
      if (peer)
        peer->scope_.spawn(peer->answer(from, service, std::move(message), nullptr, nullptr));
    });
  }

 private:
  friend class SimNetwork;
  struct Call {
    Event done;
    std::optional<Result<PeerMessage>> reply;
  };

  Task<void> answer(NodeId from, PeerService service, PeerMessage request,
                    std::shared_ptr<Call> call, SimPeers* caller) {
    auto handler = handlers_.find(service);
    if (handler == handlers_.end()) co_return;
    auto reply = co_await handler->second->serve(from, std::move(request));
    if (dead_ || !call) co_return;
    std::string head = reply ? reply->head : std::string();
    net_.deliver(self_, from, true, head, [call, reply, caller] {
      if (caller->dead_ || call->reply) return;
      call->reply.emplace(reply);
      call->done.set();
    });
  }

  SimNetwork& net_;
  Clock& clock_;
  NodeId self_;
  bool dead_ = false;
  uint64_t number_ = 0;  // of this process
  std::map<PeerService, PeerHandler*> handlers_;
  Scope scope_;
};

// A node's view of the cluster: the layout it was given, and hints that a test sets.
class SimTopology final : public Topology {
 public:
  SimTopology(NodeId self, std::shared_ptr<const LayoutState> layout)
      : self_(self), layout_(std::move(layout)) {}
  NodeId self() const override { return self_; }
  std::shared_ptr<const LayoutState> layout() const override { return layout_; }
  bool alive(const NodeId& node) const override { return node == self_ || !dead.contains(node); }
  Duration round_trip(const NodeId& node) const override {
    return node == self_ ? Duration(0) : std::chrono::milliseconds(1);
  }
  bool same_zone(const NodeId&) const override { return true; }
  void adopt(std::shared_ptr<const LayoutState> layout) { layout_ = std::move(layout); }

  std::set<NodeId> dead;  // what gossip believes

 private:
  NodeId self_;
  std::shared_ptr<const LayoutState> layout_;
};

}  // namespace covey
