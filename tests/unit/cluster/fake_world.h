// A world of Cluster objects on one simulated loop: peers with delay, cuts and crashes; metadata
// that survives a restart; gossip that knows who runs.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "node/cluster/cluster.h"
#include "store/meta/keyspace.h"
#include "tests/sim/sim_host.h"

namespace covey {

class FakeKv final : public Kv {
 public:
  explicit FakeKv(SimLoop& loop) : loop_(loop) {}
  std::map<std::string, std::string, std::less<>> rows;

  Result<std::optional<KvValue>> get(std::string_view key) override {
    auto at = rows.find(key);
    if (at == rows.end()) return std::optional<KvValue>();
    return std::optional<KvValue>(KvValue{at->second, 0});
  }
  std::unique_ptr<KvIterator> scan(std::string begin, std::string end) override {
    return std::make_unique<Iterator>(rows, begin, end);
  }
  Task<Status> write(WriteBatch batch) override {
    (void)write_unlogged(std::move(batch));
    co_await loop_.sleep(std::chrono::milliseconds(2));
    co_return Status();
  }
  Status write_unlogged(WriteBatch batch) override {
    for (auto& op : batch.ops()) {
      if (op.value)
        rows[op.key] = *op.value;
      else
        rows.erase(op.key);
    }
    return {};
  }
  Task<Status> durable(KvVersion) override { co_return Status(); }
  KvVersion visible_version() const override { return 0; }
  uint64_t durable_sequence() const override { return 0; }
  Task<Status> fold() override { co_return Status(); }
  Task<Status> snapshot(std::string) override { co_return Status(); }
  Task<void> close() override { co_return; }

 private:
  class Iterator final : public KvIterator {
   public:
    Iterator(const std::map<std::string, std::string, std::less<>>& rows, const std::string& begin,
             const std::string& end)
        : rows_(rows.lower_bound(begin), rows.lower_bound(end)), at_(rows_.begin()) {}
    bool valid() const override { return at_ != rows_.end(); }
    std::string_view key() const override { return at_->first; }
    std::string_view value() const override { return at_->second; }
    KvVersion version() const override { return 0; }
    void next() override { ++at_; }
    void seek(std::string_view key) override { at_ = rows_.lower_bound(key); }
    Status status() const override { return {}; }

   private:
    std::map<std::string, std::string, std::less<>> rows_;
    std::map<std::string, std::string, std::less<>>::iterator at_;
  };
  SimLoop& loop_;
};

class World {
 public:
  explicit World(uint64_t seed) : rng(seed) {}
  ~World() {
    while (!nodes_.empty()) stop(nodes_.begin()->first);
  }

  SimLoop loop;
  SimRng rng;
  double loss = 0;
  std::set<int> cut_off;
  uint64_t messages = 0;
  std::function<void(uint64_t)> on_message;  // before each delivery

  static NodeId id(int n) {
    NodeId id;
    id.bytes[0] = static_cast<uint8_t>(n + 1);
    return id;
  }
  FakeKv& kv(int n) {
    if (!kvs_[n]) kvs_[n] = std::make_unique<FakeKv>(loop);
    return *kvs_[n];
  }
  void put_row(int n, const std::string& name = "row") {
    kv(n).rows[std::string(1, static_cast<char>(TableId::kBuckets)) + name] = "x";
  }

  Cluster& start(int n, bool has_seeds, std::string name = {}, std::string group = "a") {
    auto node = std::make_unique<Node>(*this, n);
    node->group = group;
    ClusterOptions options;
    options.has_seeds = has_seeds;
    options.meta.name = name.empty() ? "n" + std::to_string(n) : name;
    options.meta.zone = "z" + std::to_string(n % 3);
    options.meta.capacity_bytes = 1 << 30;
    options.meta.rpc = {"10.0.0." + std::to_string(n), 3902};
    node->membership.meta = options.meta;
    node->cluster = std::make_unique<Cluster>(options, node->host.runtime(), kv(n), node->peers,
                                              node->membership);
    Cluster& cluster = *node->cluster;
    nodes_[n] = std::move(node);
    cut_off.erase(n);
    Status started = loop.run(cluster.start());
    if (!started) std::abort();
    return cluster;
  }
  // Like a crash: nothing of it is heard any more, and only its metadata stays.
  void stop(int n) {
    cut_off.insert(n);
    loop.run(nodes_.at(n)->cluster->stop());
    loop.run_for(std::chrono::seconds(10));
    nodes_.erase(n);
  }
  Cluster& at(int n) { return *nodes_.at(n)->cluster; }
  // All running nodes have adopted one and the same state with `members` members, not joint.
  bool settled(size_t members) {
    std::shared_ptr<const LayoutState> first;
    for (auto& [n, node] : nodes_) {
      auto state = node->cluster->layout();
      if (!state || state->joint() || state->current.members.size() != members) return false;
      if (first && *first != *state) return false;
      first = state;
    }
    return first != nullptr;
  }
  bool run_until_settled(size_t members) {
    return loop.run_until([&] { return settled(members); }, std::chrono::minutes(2));
  }

 private:
  struct Node;
  class FakePeers final : public Peers {
   public:
    FakePeers(World& world, int n) : world_(world), n_(n) {}
    NodeId self() const override { return id(n_); }
    Task<Result<PeerMessage>> call(NodeId to, PeerService service, PeerMessage request,
                                   TimePoint deadline) override {
      co_return co_await world_.call(n_, to.bytes[0] - 1, service, std::move(request), deadline);
    }
    void tell(NodeId, PeerService, std::string) override {}
    void serve(PeerService, PeerHandler& handler) override { handler_ = &handler; }
    PeerHandler* handler_ = nullptr;

   private:
    World& world_;
    int n_;
  };
  class FakeMembership final : public Membership {
   public:
    FakeMembership(World& world, int n) : world_(world), n_(n) {}
    MemberMeta meta;
    Gossip::Members members() const override { return world_.members_for(n_); }
    void update_meta(MemberMeta fresh) override { meta = std::move(fresh); }

   private:
    World& world_;
    int n_;
  };
  struct Node {
    Node(World& world, int n)
        : host(world.loop, world.rng, "n" + std::to_string(n)),
          peers(world, n),
          membership(world, n) {}
    std::string group;
    SimHost host;
    FakePeers peers;
    FakeMembership membership;
    std::unique_ptr<Cluster> cluster;
  };

  Task<Result<PeerMessage>> call(int from, int to, PeerService, PeerMessage request,
                                 TimePoint deadline) {
    if (from != to) co_await loop.sleep(std::chrono::milliseconds(1 + rng.below(20)));
    ++messages;
    if (on_message) on_message(messages);
    auto target = nodes_.find(to);
    bool lost = from != to && (cut_off.contains(from) || cut_off.contains(to) || rng.chance(loss));
    if (lost || target == nodes_.end() || !target->second->peers.handler_) {
      if (loop.now() < deadline) co_await loop.sleep(deadline - loop.now());
      co_return fail(ErrorCode::kTimeout, "no answer");
    }
    auto reply = co_await target->second->peers.handler_->serve(id(from), std::move(request));
    // The answer may be lost although the other side has acted.
    if (from != to && (cut_off.contains(from) || cut_off.contains(to) || rng.chance(loss))) {
      if (loop.now() < deadline) co_await loop.sleep(deadline - loop.now());
      co_return fail(ErrorCode::kTimeout, "no answer");
    }
    co_return reply;
  }

  Gossip::Members members_for(int self) const {
    auto list = std::make_shared<std::vector<MemberView>>();
    auto me = nodes_.find(self);
    for (auto& [n, node] : nodes_) {
      bool same = me == nodes_.end() || me->second->group == node->group;
      if (n != self && (!same || cut_off.contains(n) || cut_off.contains(self))) continue;
      MemberView view;
      view.id = id(n);
      view.meta = node->membership.meta;
      list->push_back(view);
    }
    return list;
  }

 public:
  void merge_groups() {
    for (auto& [n, node] : nodes_) node->group = "a";
  }

 private:
  std::map<int, std::unique_ptr<FakeKv>> kvs_;
  std::map<int, std::unique_ptr<Node>> nodes_;
};

}  // namespace covey
