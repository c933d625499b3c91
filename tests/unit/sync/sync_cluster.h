// Simulated nodes with registers and row sync, that crash, return, and change their layout.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/core/log.h"
#include "store/meta/memory_target.h"
#include "store/meta/open_kv.h"
#include "store/sync/row_sync.h"
#include "tests/sim/sim_host.h"
#include "tests/sim/sim_net.h"
#include "tests/unit/test.h"

namespace covey {

inline constexpr PartitionId kTestPartitions = 2;

inline VersionId test_version(std::string_view text) {
  VersionId id;
  std::memcpy(id.bytes.data(), text.data(), std::min<size_t>(text.size(), VersionId::kSize));
  return id;
}

// A row is its text; a body is P and the text, or D. Rows that begin with "+" have an inline
// attachment, rows that begin with "m" a manifest of two chunks, rows of "?" are dead.
class TextTable final : public RegisterTable {
 public:
  TableId id() const override { return TableId::kHeads; }
  bool blind(const Mutation&) const override { return true; }
  Result<Write> apply(const std::optional<std::string>&, const Mutation& m) const override {
    Write write;
    write.tombstone = m.body[0] == 'D';
    if (!write.tombstone) write.row = m.body.substr(1);
    return write;
  }
  std::optional<std::pair<VersionId, std::string>> inline_attachment(
      std::string_view row) const override {
    if (row.empty() || row[0] != '+') return std::nullopt;
    return std::pair(test_version(row), std::string("b"));
  }
  std::vector<std::pair<VersionId, std::string>> attachments(std::string_view row) const override {
    if (row.starts_with("+")) return {{test_version(row), "b"}};
    if (row.starts_with("m")) return {{test_version(row), "m0"}, {test_version(row), "m1"}};
    return {};
  }
  bool dead(std::string_view row, const RowLookup&) const override { return row == "?"; }
  void on_replace(const RegisterKey&, std::string_view, const std::optional<std::string>&,
                  WriteBatch&) const override {}
};

struct SyncNode {
  struct Incarnation {
    Runtime runtime;
    std::unique_ptr<MemoryTarget> target;
    std::unique_ptr<Kv> kv;
    std::unique_ptr<SimPeers> peers;
    std::unique_ptr<RegisterService> service;
    std::unique_ptr<RowSync> sync;
  };
  NodeId id;
  std::unique_ptr<SimHost> host;
  MemoryRows rows;
  std::unique_ptr<SimTopology> topology;
  std::shared_ptr<Incarnation> now;  // nullptr while down
};

class SyncCluster {
 public:
  // `members` nodes; the layout's replicas are the first `copies` of them.
  explicit SyncCluster(size_t members = 3, uint64_t seed = 1, size_t copies = 3)
      : rng(seed), net(loop, rng.split("net")) {
    set_log_level("off");
    for (size_t i = 0; i < members; ++i) {
      auto node = std::make_unique<SyncNode>();
      node->id.bytes[0] = static_cast<uint8_t>(i + 1);
      nodes.push_back(std::move(node));
    }
    std::vector<size_t> first;
    for (size_t i = 0; i < copies; ++i) first.push_back(i);
    state = std::make_shared<LayoutState>();
    state->epoch = 1;
    state->current = layout(1, first);
    for (auto& node : nodes) {
      node->host = std::make_unique<SimHost>(loop, rng, "n" + std::to_string(node->id.bytes[0]));
      node->topology = std::make_unique<SimTopology>(node->id, state);
      start(*node);
    }
  }
  ~SyncCluster() {
    for (auto& one : all) {
      one->sync->stop();
      loop.run(one->service->stop());
      loop.run(one->peers->idle());
      loop.run(one->kv->close());
    }
    loop.run(zombies.join());
    loop.run_until_idle();
  }

  Layout layout(uint64_t version, std::vector<size_t> replicas) {
    Layout made;
    made.version = version;
    made.copies = static_cast<uint32_t>(replicas.size());
    for (auto& node : nodes) {
      Member member;
      member.id = node->id;
      member.name = "n" + std::to_string(node->id.bytes[0]);
      member.capacity_bytes = 1;
      made.members.push_back(member);
    }
    std::vector<uint16_t> order(replicas.begin(), replicas.end());
    made.assignment.assign(kTestPartitions, order);
    return made;
  }

  void start(SyncNode& node) {
    auto one = std::make_shared<SyncNode::Incarnation>(
        SyncNode::Incarnation{node.host->runtime(), {}, {}, {}, {}, {}});
    SimDisk* disk = &node.host->disk;
    uint64_t crashes = disk->crashes();
    one->target = std::make_unique<MemoryTarget>(
        loop, node.rows, [disk, crashes] { return disk->crashes() != crashes; });
    KvOptions options;
    options.dir = "/meta";
    options.fatal = [](const Error&) {};
    options.journal_file_bytes = 1 * kMiB;
    auto kv = loop.run(open_kv(std::move(options), one->runtime, *one->target));
    CHECK(kv.has_value());
    one->kv = std::move(*kv);
    one->peers = std::make_unique<SimPeers>(net, node.id);
    auto service = loop.run(
        RegisterService::open(one->runtime, *one->kv, *node.topology, *one->peers, {&table}));
    CHECK(service.has_value());
    one->service = std::move(*service);
    one->sync = std::make_unique<RowSync>(one->runtime, *one->kv, *one->service, *node.topology,
                                          *one->peers);
    one->peers->serve(PeerService::kRegister, *one->service);
    one->peers->serve(PeerService::kSync, *one->sync);
    node.now = one;
    all.push_back(one);
  }
  void start(size_t i) {
    start(*nodes[i]);
    for (auto& node : nodes) node->topology->dead.erase(nodes[i]->id);
  }
  // Power off. Gossip tells the others.
  void crash(size_t i) {
    SyncNode& node = *nodes[i];
    node.now->peers->down();
    node.host->disk.crash();
    node.now->sync->stop();
    zombies.spawn(node.now->service->stop());
    node.now = nullptr;
    for (auto& other : nodes)
      if (other->id != node.id) other->topology->dead.insert(node.id);
  }
  void adopt(size_t i, LayoutState fresh) {
    nodes[i]->topology->adopt(std::make_shared<LayoutState>(std::move(fresh)));
    nodes[i]->now->service->on_epoch_change();
  }

  TimePoint soon(int seconds = 10) { return loop.after(std::chrono::seconds(seconds)); }
  static RegisterKey key(std::string name, PartitionId partition = 0) {
    return {TableId::kHeads, partition, std::move(name)};
  }
  Result<std::string> mutate(size_t at, std::string name, std::string body) {
    Mutation m;
    m.operation = rng.id<OperationId>();
    m.body = std::move(body);
    std::string row = m.body.substr(1);
    if (m.body[0] == 'P' && row.starts_with("+"))
      m.attachments.push_back({test_version(row), "b", "body of " + row});
    return loop.run(nodes[at]->now->service->mutate(key(std::move(name)), std::move(m), soon()));
  }
  void put(size_t at, std::string name, std::string row) {
    CHECK(mutate(at, std::move(name), "P" + row).has_value());
  }
  void remove(size_t at, std::string name) { CHECK(mutate(at, std::move(name), "D").has_value()); }
  std::optional<std::string> read(size_t at, std::string name) {
    auto got = loop.run(nodes[at]->now->service->read(key(std::move(name)), true, Fence{}, soon()));
    CHECK(got.has_value());
    return got->row;
  }
  RowSyncReport catch_up(size_t at) {
    auto report = loop.run(nodes[at]->now->sync->catch_up(0, soon(60)));
    CHECK(report.has_value());
    return *report;
  }
  // The rows a node itself has.
  std::map<std::string, RowMark> marks(size_t at) {
    std::map<std::string, RowMark> found;
    PartitionWalk walk(*nodes[at]->now->kv, nodes[at]->now->service->tables(), 0, {});
    for (; walk.valid(); walk.next()) found[std::string(walk.place())] = walk.mark();
    CHECK(walk.status().has_value());
    return found;
  }
  bool has_attachment(size_t at, const std::string& row, const std::string& suffix) {
    auto stored = nodes[at]->now->kv->get(attachment_store_key(0, test_version(row), suffix));
    return stored && stored->has_value();
  }

  SimLoop loop;
  SimRng rng;
  SimNetwork net;
  TextTable table;
  std::shared_ptr<LayoutState> state;
  std::vector<std::unique_ptr<SyncNode>> nodes;
  std::vector<std::shared_ptr<SyncNode::Incarnation>> all;
  Scope zombies;
};

}  // namespace covey
