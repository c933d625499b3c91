// AvailableRows on simulated nodes: sites that are cut off, hints, a node that stops.
#include "store/available/service.h"

#include <memory>
#include <string>
#include <vector>

#include "store/available/hint_rows.h"
#include "tests/unit/sync/sync_cluster.h"

using namespace covey;

namespace {

// Partition 0 lives on nodes 0 to 2, partition 1 on nodes 3 to 5; node 6 is a gateway only.
class AvailableCluster {
 public:
  struct One {
    NodeId id;
    std::unique_ptr<SimHost> host;
    std::optional<Runtime> runtime;
    MemoryRows rows;
    std::unique_ptr<SimTopology> topology;
    std::unique_ptr<MemoryTarget> target;
    std::unique_ptr<Kv> kv;
    std::unique_ptr<SimPeers> peers;
    std::unique_ptr<RegisterService> registers;
    std::unique_ptr<AvailableRows> available;
    Scope scope;
  };
  static constexpr size_t kNodes = 7, kGateway = 6;

  AvailableCluster() : net(loop, rng.split("net")) {
    set_log_level("off");
    state = std::make_shared<LayoutState>();
    state->epoch = 1;
    state->current.version = 1;
    state->current.copies = 3;
    state->current.assignment = {{0, 1, 2}, {3, 4, 5}};
    for (size_t i = 0; i < kNodes; ++i) {
      Member member;
      member.id.bytes[0] = static_cast<uint8_t>(i + 1);
      member.name = "n" + std::to_string(i);
      member.capacity_bytes = 1;
      state->current.members.push_back(member);
    }
    for (const Member& member : state->current.members) start(member);
  }
  ~AvailableCluster() {
    for (auto& one : nodes) one->scope.request_stop();
    for (auto& one : nodes) {
      loop.run(one->available->stop());
      loop.run(one->scope.join());
      loop.run(one->registers->stop());
      loop.run(one->peers->idle());
      loop.run(one->kv->close());
    }
    loop.run_until_idle();
  }

  void start(const Member& member) {
    auto one = std::make_unique<One>();
    one->id = member.id;
    one->host = std::make_unique<SimHost>(loop, rng, member.name);
    one->runtime.emplace(one->host->runtime());
    one->topology = std::make_unique<SimTopology>(member.id, state);
    one->target = std::make_unique<MemoryTarget>(loop, one->rows, [] { return false; });
    KvOptions options;
    options.dir = "/meta";
    options.fatal = [](const Error&) {};
    options.journal_file_bytes = 1 * kMiB;
    one->kv = loop.run(open_kv(std::move(options), *one->runtime, *one->target)).value();
    one->peers = std::make_unique<SimPeers>(net, member.id);
    one->registers = loop.run(RegisterService::open(*one->runtime, *one->kv, *one->topology,
                                                    *one->peers, {&table}))
                         .value();
    one->available = std::make_unique<AvailableRows>(*one->runtime, *one->kv, *one->registers,
                                                     *one->topology, *one->peers);
    one->peers->serve(PeerService::kAvailable, *one->available);
    one->scope.spawn(one->available->run(one->scope));
    nodes.push_back(std::move(one));
  }

  // Neither calls nor gossip go between the two.
  void cut(size_t a, size_t b) {
    net.cut_both(nodes[a]->id, nodes[b]->id);
    nodes[a]->topology->dead.insert(nodes[b]->id);
    nodes[b]->topology->dead.insert(nodes[a]->id);
  }
  void heal() {
    net.heal();
    for (auto& one : nodes) one->topology->dead.clear();
  }

  TimePoint soon() { return loop.after(std::chrono::seconds(10)); }
  static RegisterKey key(std::string name, PartitionId partition = 0) {
    return {TableId::kAvailableHeads, partition, std::string(BucketId::kSize, 'b') + name};
  }
  Result<std::string> put(size_t at, std::string name, std::string row, PartitionId partition = 0) {
    Mutation m;
    m.operation = rng.id<OperationId>();
    m.body = "P" + row;
    if (row.starts_with("+")) m.attachments.push_back({test_version(row), "b", "body of " + row});
    return loop.run(
        nodes[at]->available->mutate(key(std::move(name), partition), std::move(m), soon()));
  }
  Result<ReadResult> read(size_t at, std::string name, PartitionId partition = 0) {
    return loop.run(
        nodes[at]->available->read(key(std::move(name), partition), true, Fence{}, soon()));
  }
  bool has(size_t at, const std::string& store_key) {
    return nodes[at]->kv->get(store_key).value().has_value();
  }
  bool has_body(size_t at, const std::string& row) {
    return has(at, attachment_store_key(0, test_version(row), "b"));
  }

  SimLoop loop;
  SimRng rng{3};
  SimNetwork net;
  TextTable text;
  AvailableTable table{TableId::kAvailableHeads, text,
                       [](std::string_view row) { return test_version(row); }, nullptr};
  std::shared_ptr<LayoutState> state;
  std::vector<std::unique_ptr<One>> nodes;
};

}  // namespace

TEST_CASE("a node that was stopped acknowledges nothing, and hands nothing out") {
  AvailableCluster c;
  REQUIRE(c.put(0, "a", "one").has_value());
  c.loop.run(c.nodes[0]->available->stop());
  EXPECT(c.put(0, "a", "two").is(ErrorCode::kUnavailable));
  EXPECT(c.read(0, "a").is(ErrorCode::kUnavailable));
  EXPECT(c.read(1, "a")->row == "one");
  EXPECT(c.put(1, "a", "three").has_value());
}

TEST_CASE("a write that a stop overtakes is not acknowledged for want of others") {
  AvailableCluster c;
  c.net.cut_both(c.nodes[0]->id, c.nodes[1]->id);  // gossip has not heard of it
  c.net.cut_both(c.nodes[0]->id, c.nodes[2]->id);
  std::optional<Result<std::string>> done;
  Scope scope;
  auto write = [](AvailableCluster& at, std::optional<Result<std::string>>& out) -> Task<void> {
    Mutation m;
    m.body = "Pone";
    out = co_await at.nodes[0]->available->mutate(AvailableCluster::key("a"), std::move(m),
                                                  at.soon());
  };
  scope.spawn(write(c, done));
  c.loop.run_for(std::chrono::milliseconds(500));
  c.loop.run(c.nodes[0]->available->stop());
  c.loop.run(scope.join());
  REQUIRE(done.has_value());
  EXPECT(done->is(ErrorCode::kUnavailable));
}

TEST_CASE("what a hint no longer names leaves nothing behind, what it names is handed over") {
  AvailableCluster c;
  for (size_t i = 0; i < 3; ++i) c.cut(AvailableCluster::kGateway, i);
  REQUIRE(c.put(AvailableCluster::kGateway, "a", "+one").has_value());
  EXPECT(c.has_body(AvailableCluster::kGateway, "+one"));
  REQUIRE(c.put(AvailableCluster::kGateway, "a", "+two").has_value());
  EXPECT_FALSE(c.has_body(AvailableCluster::kGateway, "+one"));
  EXPECT(c.has_body(AvailableCluster::kGateway, "+two"));
  c.heal();
  c.loop.run_for(std::chrono::seconds(10));
  EXPECT_FALSE(c.has(AvailableCluster::kGateway, hint_key(AvailableCluster::key("a"))));
  EXPECT_FALSE(c.has_body(AvailableCluster::kGateway, "+two"));
  for (size_t i = 0; i < 3; ++i) EXPECT(c.has_body(i, "+two"));
  auto got = c.read(1, "a");
  REQUIRE(got.has_value());
  EXPECT(got->row == "+two");
  EXPECT(got->attachment == "body of +two");
}

TEST_CASE("hints for replicas that are away for long do not keep the others waiting") {
  AvailableCluster c;
  for (size_t i = 0; i < 6; ++i) c.cut(AvailableCluster::kGateway, i);
  for (int i = 0; i < 600; ++i)
    REQUIRE(c.put(AvailableCluster::kGateway, "k" + std::to_string(i), "row").has_value());
  REQUIRE(c.put(AvailableCluster::kGateway, "z", "last", 1).has_value());
  c.heal();
  for (size_t i = 0; i < 3; ++i) c.cut(AvailableCluster::kGateway, i);
  c.loop.run_for(std::chrono::seconds(20));
  EXPECT(c.read(3, "z", 1)->row == "last");
  EXPECT_FALSE(c.has(AvailableCluster::kGateway, hint_key(AvailableCluster::key("z", 1))));
  EXPECT(c.nodes[AvailableCluster::kGateway]->available->progress().hints == 600);
}

TEST_CASE("a write that arrives twice is done once, whatever was written in between") {
  AvailableCluster c;
  AvailableRequest request;
  request.verb = AvailableVerb::kMutate;
  request.key = AvailableCluster::key("a");
  request.body = "Pone";
  request.operation = c.rng.id<OperationId>();
  request.budget_ms = 1000;
  auto send = [&] {
    PeerMessage message;
    message.head = encode_available_request(request);
    return c.loop.run(c.nodes[0]->available->serve(c.nodes[6]->id, std::move(message)));
  };
  REQUIRE(send().has_value());
  REQUIRE(c.put(0, "a", "two").has_value());
  EXPECT(send().has_value());
  EXPECT(c.read(1, "a")->row == "two");
}

TEST_CASE("a write that its replica may do later is not done by another one as well") {
  AvailableCluster c;
  // It takes calls; its answers do not come back.
  for (size_t i = 0; i < 3; ++i) c.net.cut(c.nodes[i]->id, c.nodes[AvailableCluster::kGateway]->id);
  EXPECT(c.put(AvailableCluster::kGateway, "a", "one").is(ErrorCode::kUnavailable));
  EXPECT_FALSE(c.has(AvailableCluster::kGateway, hint_key(AvailableCluster::key("a"))));
}
