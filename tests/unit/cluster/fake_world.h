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
  Task<Result<KvSnapshot>> snapshot(std::string, uint64_t) override { co_return KvSnapshot(); }
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

class FakeData;

class World {
 public:
  explicit World(uint64_t seed) : rng(seed) {}
  ~World();

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
    kv(n).rows[table_begin(TableId::kBuckets) + std::string(2, '\0') + name] = "x";
  }
  void wipe(int n) { kvs_.erase(n); }
  bool up(int n) const { return nodes_.contains(n) && !cut_off.contains(n); }
  std::vector<int> running() const {
    std::vector<int> list;
    for (auto& [n, node] : nodes_) list.push_back(n);
    return list;
  }

  // What the next start() of a node says of itself.
  std::map<int, std::pair<std::string, uint64_t>> zone_and_capacity;
  bool auto_layout = true;

  Cluster& start(int n, bool has_seeds, std::string name = {}, std::string group = "a") {
    auto node = std::make_unique<Node>(*this, n);
    node->group = group;
    ClusterOptions options;
    options.has_seeds = has_seeds;
    options.meta.name = name.empty() ? "n" + std::to_string(n) : name;
    options.meta.zone = "z" + std::to_string(n % 3);
    options.meta.capacity_bytes = 1 << 30;
    options.auto_layout = auto_layout;
    auto other = zone_and_capacity.find(n);
    if (other != zone_and_capacity.end())
      std::tie(options.meta.zone, options.meta.capacity_bytes) = other->second;
    options.meta.rpc = {"10.0.0." + std::to_string(n), 3902};
    node->membership.meta = options.meta;
    node->cluster = std::make_unique<Cluster>(options, node->host.runtime(), kv(n), node->peers,
                                              node->membership);
    Cluster& cluster = *node->cluster;
    node->data = make_data(n, cluster);
    cluster.use(*node->data);
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
  FakeData& data(int n);
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
  bool run_until_settled(size_t members, Duration within = std::chrono::minutes(2)) {
    return loop.run_until([&] { return settled(members); }, within);
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
    uint64_t connection(NodeId) const override { return 1; }
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
    std::shared_ptr<DataMover> data;
    std::unique_ptr<Cluster> cluster;
  };
  std::shared_ptr<DataMover> make_data(int n, Cluster& cluster);

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
  // No other node's gossip shows it any more; calls reach it all the same.
  void hide(int n) { nodes_.at(n)->group = "hidden"; }
  void merge_groups() {
    for (auto& [n, node] : nodes_) node->group = "a";
  }

 private:
  std::map<int, std::unique_ptr<FakeKv>> kvs_;
  std::map<int, std::unique_ptr<Node>> nodes_;
};

// Data as the layers above see it: rows and blocks of partitions, moved between the nodes' stores
// in one step each. What is written is remembered, and where it must be.
class FakeData final : public DataMover {
 public:
  FakeData(World& world, int n, Cluster& cluster) : world_(world), n_(n), cluster_(cluster) {}

  static std::string key_of(TableId table, PartitionId p, const std::string& name) {
    std::string key(1, static_cast<char>(table));
    key.push_back(static_cast<char>(p >> 8)), key.push_back(static_cast<char>(p));
    return key + name;
  }

  Task<Status> catch_up_rows(PartitionId p, TimePoint) override {
    co_await think();
    co_return pull(TableId::kBuckets, p);
  }
  Task<Status> catch_up_blocks(PartitionId p, TimePoint) override {
    co_await think();
    co_return pull(TableId::kBlockIndex, p);
  }
  Task<Status> settle(PartitionId p, TimePoint) override {
    co_await think();
    ReplicaSets sets = replica_sets(*cluster_.layout(), p);
    if (!sets.quorum(same_epoch(sets.all())))
      co_return fail(ErrorCode::kUnavailable, "no quorum in both layouts");
    for (const NodeId& to : same_epoch(sets.next))
      for (const NodeId& from : same_epoch(sets.all())) copy(TableId::kBuckets, p, from, to);
    ++settled;
    co_return Status();
  }
  Task<Status> catch_up_control(TimePoint) override {
    co_await think();
    co_return Status();
  }
  Task<Status> purge_rows(PartitionId p) override {
    co_return co_await drop_partition_rows(world_.kv(n_), p);
  }
  // As the real one: a block goes only when all who hold the partition now have it.
  Task<Status> purge_blocks(PartitionId p, TimePoint) override {
    co_await think();
    std::vector<NodeId> holders = replica_sets(*cluster_.layout(), p).all();
    if (same_epoch(holders).size() < holders.size())
      co_return fail(ErrorCode::kUnavailable, "a replica is away");
    for (const NodeId& to : holders) copy(TableId::kBlockIndex, p, World::id(n_), to);
    auto& rows = world_.kv(n_).rows;
    rows.erase(rows.lower_bound(key_of(TableId::kBlockIndex, p, "")),
               rows.lower_bound(key_of(TableId::kBlockIndex, p + 1, "")));
    co_return Status();
  }
  Task<Result<std::vector<uint64_t>>> sizes() override {
    std::vector<uint64_t> sizes(cluster_.layout()->current.partitions(), 1000);
    co_return sizes;
  }

  // A write through this node: on whoever of the replicas takes it under this node's layout. True:
  // acknowledged.
  bool write(TableId table, PartitionId p, const std::string& name) {
    ReplicaSets sets = replica_sets(*cluster_.layout(), p);
    std::vector<NodeId> took;
    for (const NodeId& node : same_epoch(sets.all())) {
      if (world_.rng.chance(0.2)) continue;
      world_.kv(number(node)).rows[key_of(table, p, name)] = "x";
      took.push_back(node);
    }
    return sets.quorum(took);
  }
  static int number(const NodeId& id) { return id.bytes[0] - 1; }
  inline static uint64_t settled = 0;

 private:
  Task<void> think() {
    co_await world_.loop.sleep(std::chrono::milliseconds(1 + world_.rng.below(60)));
  }
  // Those who answer under this node's epoch.
  std::vector<NodeId> same_epoch(const std::vector<NodeId>& nodes) {
    std::vector<NodeId> list;
    for (const NodeId& node : nodes) {
      int k = number(node);
      if (!world_.up(k) || !world_.up(n_) || !world_.at(k).layout()) continue;
      if (world_.at(k).layout()->epoch == cluster_.layout()->epoch) list.push_back(node);
    }
    return list;
  }
  Status pull(TableId table, PartitionId p) {
    ReplicaSets sets = replica_sets(*cluster_.layout(), p);
    std::vector<NodeId> from = same_epoch(sets.current);
    if (!is_majority(sets.current, from))
      return fail(ErrorCode::kUnavailable, "no quorum of the old layout");
    for (const NodeId& node : from) copy(table, p, node, World::id(n_));
    return {};
  }
  void copy(TableId table, PartitionId p, const NodeId& from, const NodeId& to) {
    if (from == to) return;
    auto& rows = world_.kv(number(from)).rows;
    auto end = rows.lower_bound(key_of(table, p + 1, ""));
    for (auto at = rows.lower_bound(key_of(table, p, "")); at != end; ++at)
      world_.kv(number(to)).rows[at->first] = at->second;
  }

  World& world_;
  int n_;
  Cluster& cluster_;
};

inline World::~World() {
  while (!nodes_.empty()) stop(nodes_.begin()->first);
}
inline std::shared_ptr<DataMover> World::make_data(int n, Cluster& cluster) {
  return std::make_shared<FakeData>(*this, n, cluster);
}
inline FakeData& World::data(int n) { return static_cast<FakeData&>(*nodes_.at(n)->data); }

}  // namespace covey
