// Witnesses on simulated machines: crashes keep what was synced, backups that are put back do not.
#include "node/witness/witness.h"

#include <map>
#include <memory>
#include <vector>

#include "base/core/log.h"
#include "store/meta/memory_target.h"
#include "store/meta/open_kv.h"
#include "tests/sim/sim_host.h"
#include "tests/sim/sim_net.h"
#include "tests/unit/test.h"

using namespace covey;
using namespace std::chrono_literals;

namespace {

NodeId node_id(int n) {
  NodeId id;
  id.bytes[0] = static_cast<uint8_t>(n + 1);
  return id;
}

// What a service does: it keeps what it is told and says so once that is durable.
struct Keeper final : PeerHandler {
  explicit Keeper(Kv& the_kv) : kv(the_kv) {}
  Task<Result<PeerMessage>> serve(NodeId, PeerMessage request) override {
    WriteBatch batch;
    batch.put("row", request.head);
    CO_TRY_STATUS(co_await kv.write(std::move(batch)));
    request.head = "kept";
    co_return request;
  }
  Kv& kv;
};

struct Process {
  std::unique_ptr<MemoryTarget> target;
  std::unique_ptr<Kv> kv;
  std::unique_ptr<SimPeers> peers;
  std::unique_ptr<Witness> witness;
  std::unique_ptr<Keeper> keeper;
  std::string forgot, superseded;
};

struct Machine {
  Machine(SimLoop& loop, SimRng& rng, int the_number, std::shared_ptr<const LayoutState> layout)
      : number(the_number),
        host(loop, rng, "n" + std::to_string(the_number)),
        topology(node_id(the_number), std::move(layout)) {
    host.disk.faults.sync_latency = 2ms;
  }
  struct Backup {
    std::shared_ptr<const SimDisk::Image> disk;
    MemoryRows rows;
    uint64_t boots;
  };
  int number;
  SimHost host;
  SimTopology topology;
  MemoryRows rows;
  uint64_t boots = 0;  // stands for count_start()
  std::shared_ptr<Process> now;
  std::vector<std::shared_ptr<Process>> all;
};

struct Cluster {
  explicit Cluster(int nodes, uint64_t seed = 1) : rng(seed), net(loop, rng.split("net")) {
    set_log_level("off");
    std::vector<Member> members;
    for (int n = 0; n < nodes; ++n)
      members.push_back({node_id(n), "n" + std::to_string(n), "z" + std::to_string(n), 1 << 20});
    LayoutState state;
    state.epoch = 1;
    state.current = *assign_layout(nullptr, members, 8);
    auto layout = std::make_shared<const LayoutState>(std::move(state));
    for (int n = 0; n < nodes; ++n)
      machines.push_back(std::make_unique<Machine>(loop, rng, n, layout));
  }
  ~Cluster() {
    for (size_t n = 0; n < machines.size(); ++n) crash(static_cast<int>(n));
    loop.run_for(20s);
    for (auto& machine : machines)
      for (auto& process : machine->all) {
        loop.run(process->witness->stop());
        loop.run(process->peers->idle());
        loop.run(process->kv->close());
      }
    loop.run_until_idle();
  }

  void start(int n, bool fresh = false) {
    Machine& machine = *machines[static_cast<size_t>(n)];
    auto process = std::make_shared<Process>();
    machine.all.push_back(process);
    machine.now = process;
    SimDisk* disk = &machine.host.disk;
    uint64_t crashes = disk->crashes();
    process->target = std::make_unique<MemoryTarget>(
        loop, machine.rows, [disk, crashes] { return disk->crashes() != crashes; });
    KvOptions options;
    options.dir = "/meta";
    options.journal_file_bytes = 64 * kKiB;
    options.fatal = [](const Error&) {};
    auto kv = loop.run(open_kv(std::move(options), machine.host.runtime(), *process->target));
    REQUIRE(kv);
    process->kv = std::move(*kv);
    process->peers = std::make_unique<SimPeers>(net, node_id(machine.number), machine.host.clock);
    Witness::Start start{++machine.boots, process->kv->durable_sequence(), fresh};
    process->witness =
        std::make_unique<Witness>(machine.host.runtime(), *process->kv, *process->peers, start);
    REQUIRE(process->witness->load());
    process->keeper = std::make_unique<Keeper>(*process->kv);
    process->witness->serve(PeerService::kRegister, *process->keeper);
    Process* raw = process.get();
    process->witness->on_forgot = [raw](const std::string& why) { raw->forgot = why; };
    process->witness->on_superseded = [raw](const std::string& why) { raw->superseded = why; };
    process->peers->up();
    process->witness->start(machine.topology);
  }
  // Power is lost; what was synced stays.
  void crash(int n) {
    Machine& machine = *machines[static_cast<size_t>(n)];
    if (!machine.now) return;
    machine.now->peers->down();
    machine.now->witness->request_stop();
    machine.host.disk.crash_dropping_all();
    machine.now = nullptr;
  }
  Machine::Backup backup(int n) {
    Machine& machine = *machines[static_cast<size_t>(n)];
    return {machine.host.disk.image(), machine.rows, machine.boots};
  }
  void restore(int n, const Machine::Backup& backup) {
    Machine& machine = *machines[static_cast<size_t>(n)];
    CHECK(!machine.now);
    machine.host.disk.restore(*backup.disk);
    machine.rows = backup.rows;
    machine.boots = backup.boots;
  }
  // One more box whose disk says it is node `number`.
  int add_machine(int number) {
    machines.push_back(
        std::make_unique<Machine>(loop, rng, number, machines[0]->topology.layout()));
    return static_cast<int>(machines.size()) - 1;
  }
  Process& at(int n) { return *machines[static_cast<size_t>(n)]->now; }
  bool cleared(int n) { return at(n).witness->cleared(); }
  void start_all() {
    for (size_t n = 0; n < machines.size(); ++n) start(static_cast<int>(n));
    auto ready = [&] {
      for (size_t n = 0; n < machines.size(); ++n)
        if (!cleared(static_cast<int>(n))) return false;
      return true;
    };
    REQUIRE(loop.run_until(ready, 60s));
  }
  // `from` has `to` keep something. True: it says it did.
  bool keep(int from, int to) {
    PeerMessage message;
    message.head = "row " + std::to_string(++rows);
    auto answer = loop.run(at(from).witness->call(node_id(to), PeerService::kRegister,
                                                  std::move(message), loop.after(2s)));
    return answer && answer->head == "kept";
  }

  SimLoop loop;
  SimRng rng;
  SimNetwork net;
  std::vector<std::unique_ptr<Machine>> machines;
  int rows = 0;
};

}  // namespace

TEST_CASE("nodes that lost power all at once clear one another") {
  Cluster cluster(3);
  cluster.start_all();
  for (int i = 0; i < 20; ++i) EXPECT(cluster.keep(i % 3, (i + 1) % 3));
  for (int round = 0; round < 5; ++round) {
    for (int n = 0; n < 3; ++n) cluster.crash(n);
    cluster.start_all();
    EXPECT(cluster.keep(0, 1));
  }
}

TEST_CASE("a majority suffices, less does not, and one node needs nobody") {
  Cluster cluster(3);
  cluster.start_all();
  for (int n = 0; n < 3; ++n) cluster.crash(n);
  cluster.start(0);
  cluster.loop.run_for(60s);
  EXPECT_FALSE(cluster.cleared(0));
  EXPECT(cluster.at(0).witness->waits().find("majority") != std::string::npos);
  cluster.machines[0]->topology.dead.insert(node_id(2));
  cluster.start(1);
  EXPECT(cluster.loop.run_until([&] { return cluster.cleared(0) && cluster.cleared(1); }, 15s));
  Cluster single(1);
  single.start_all();
}

TEST_CASE("a new id has promised nothing, so it need not wait") {
  Cluster cluster(3);
  cluster.start(0, true);
  EXPECT(cluster.cleared(0));
  cluster.start(1, true);
  EXPECT(cluster.keep(0, 1));
}

TEST_CASE("a hundred kills amid writes are no amnesia") {
  Cluster cluster(3, 5);
  cluster.start_all();
  for (int i = 0; i < 100; ++i) {
    int victim = i % 3, other = (i + 1) % 3;
    EXPECT(cluster.keep(other, victim));
    // A write on the way when the power fails.
    PeerMessage message;
    message.head = "unsure";
    Scope scope;
    auto call = [](Witness& witness, NodeId to, PeerMessage m, TimePoint until) -> Task<void> {
      (void)co_await witness.call(to, PeerService::kRegister, std::move(m), until);
    };
    scope.spawn(call(*cluster.at(other).witness, node_id(victim), std::move(message),
                     cluster.loop.after(1s)));
    cluster.loop.run_for(Duration(cluster.rng.below(4'000'000)));
    cluster.crash(victim);
    cluster.loop.run(scope.join());
    cluster.start(victim);
    REQUIRE(cluster.loop.run_until([&] { return cluster.cleared(victim); }, 60s));
  }
}

TEST_CASE("a disk that went back is noticed, even by one acknowledged write") {
  for (bool restarted_since : {false, true}) {
    CAPTURE(restarted_since);
    Cluster cluster(3);
    cluster.start_all();
    EXPECT(cluster.keep(0, 1));
    Machine::Backup old = cluster.backup(1);
    if (restarted_since) {
      cluster.crash(1);
      cluster.start(1);
      REQUIRE(cluster.loop.run_until([&] { return cluster.cleared(1); }, 60s));
    } else {
      EXPECT(cluster.keep(0, 1));
    }
    cluster.crash(1);
    cluster.restore(1, old);
    cluster.start(1);
    REQUIRE(cluster.loop.run_until([&] { return !cluster.at(1).forgot.empty(); }, 60s));
    EXPECT_FALSE(cluster.cleared(1));
    EXPECT_FALSE(cluster.keep(0, 1));  // it answers nobody
    EXPECT_FALSE(cluster.keep(1, 0));  // and nobody answers it
    EXPECT(cluster.keep(0, 2));
  }
}

TEST_CASE("what others remember survives their own power cut") {
  Cluster cluster(3);
  cluster.start_all();
  Machine::Backup old = cluster.backup(1);
  EXPECT(cluster.keep(0, 1));
  cluster.loop.run_for(3s);  // longer than kMarksWithin, and the third node was told
  for (int n = 0; n < 3; ++n) cluster.crash(n);
  cluster.restore(1, old);
  // The one that relied on it stays away: the other one was told.
  cluster.start(1);
  cluster.start(2);
  cluster.loop.run_for(60s);
  EXPECT_FALSE(cluster.cleared(1));
  EXPECT(cluster.at(1).witness->waits().find("forgot") != std::string::npos);
  EXPECT(cluster.at(1).forgot.empty());  // too few are there to take over from it
  cluster.start(0);
  EXPECT(cluster.loop.run_until([&] { return !cluster.at(1).forgot.empty(); }, 60s));
  EXPECT((cluster.cleared(0) && cluster.cleared(2)));
}

TEST_CASE("a node that was away when it mattered learns of it when it is back") {
  Cluster cluster(3);
  cluster.start_all();
  cluster.crash(2);
  Machine::Backup old = cluster.backup(1);
  EXPECT(cluster.keep(0, 1));
  cluster.loop.run_for(2 * kMarksWithin);
  cluster.crash(0);
  cluster.crash(1);
  cluster.restore(1, old);
  cluster.machines[1]->topology.dead.insert(node_id(0));
  cluster.machines[2]->topology.dead.insert(node_id(0));
  cluster.start(1);
  cluster.start(2);
  // Two faults at once: nobody there knows better (the ADR says so).
  REQUIRE(cluster.loop.run_until([&] { return cluster.cleared(1); }, 60s));
  cluster.start(0);
  EXPECT_FALSE(cluster.keep(0, 1));
  EXPECT(cluster.loop.run_until([&] { return !cluster.cleared(1); }, 60s));
  EXPECT(cluster.loop.run_until([&] { return !cluster.at(1).forgot.empty(); }, 60s));
}

TEST_CASE("of two processes with one id only one is heard, and the other told") {
  Cluster cluster(3);
  cluster.start_all();
  EXPECT(cluster.keep(0, 1));
  cluster.loop.run_for(2s);
  // A copy of node 1's disk, as it is now, starts in another box.
  int copy = cluster.add_machine(1);
  cluster.restore(copy, cluster.backup(1));
  cluster.start(copy);
  REQUIRE(cluster.loop.run_until([&] { return !cluster.at(1).superseded.empty(); }, 60s));
  EXPECT_FALSE(cluster.cleared(1));
  EXPECT(cluster.cleared(copy));
  EXPECT_FALSE(cluster.keep(1, 2));  // the first one is not heard any more
  EXPECT(cluster.keep(copy, 2));
  EXPECT(cluster.keep(0, 1));  // and who calls the id reaches the second
  // An older copy, or one that counts the same start, is not let in at all.
  int third = cluster.add_machine(1);
  cluster.restore(third, cluster.backup(1));
  cluster.start(third);
  REQUIRE(cluster.loop.run_until([&] { return !cluster.at(third).forgot.empty(); }, 60s));
  EXPECT_FALSE(cluster.cleared(third));
}

TEST_CASE("nodes with nothing to do do not keep each other writing") {
  Cluster cluster(3);
  cluster.start_all();
  EXPECT(cluster.keep(0, 1));
  cluster.loop.run_for(10s);
  std::vector<uint64_t> before;
  for (int n = 0; n < 3; ++n) before.push_back(cluster.at(n).kv->durable_sequence());
  cluster.loop.run_for(600s);
  for (int n = 0; n < 3; ++n)
    EXPECT(cluster.at(n).kv->durable_sequence() == before[static_cast<size_t>(n)]);
}
