// register_sim: registers on simulated nodes that crash, lose messages and are cut off from each
// other, with clients on every node; each key's history must be linearizable, and once the faults
// end every key must be readable and writable through every node.
//
//   register_sim --seeds N --seed FIRST [--trace]
#include <cstdio>
#include <cstdlib>
#include <map>

#include "base/core/log.h"
#include "store/meta/memory_target.h"
#include "store/meta/open_kv.h"
#include "store/register/service.h"
#include "tests/sim/linearize.h"
#include "tests/sim/sim_host.h"
#include "tests/sim/sim_net.h"

namespace covey {
namespace {

using Kind = HistoryOp::Kind;
using std::chrono::microseconds;
using std::chrono::milliseconds;

VersionId owner_of(const std::string& row) {
  VersionId id;
  std::memcpy(id.bytes.data(), row.data(), std::min<size_t>(row.size(), VersionId::kSize));
  return id;
}

// Rows are decimal numbers; every third has its text as an inline attachment. Bodies: P value,
// C value (create), X expected value (compare and set), D.
class NumberTable final : public RegisterTable {
 public:
  TableId id() const override { return TableId::kHeads; }
  bool blind(const Mutation& m) const override { return m.body[0] == 'P' || m.body[0] == 'D'; }
  Result<Write> apply(const std::optional<std::string>& current, const Mutation& m) const override {
    Write write;
    write.tombstone = m.body[0] == 'D';
    size_t comma = m.body.find(',');
    write.row = m.body.substr(comma + 1);
    if (m.body[0] == 'C' && current) return fail(ErrorCode::kPreconditionFailed);
    if (m.body[0] == 'X' && current.value_or("0") != m.body.substr(1, comma - 1))
      return fail(ErrorCode::kPreconditionFailed);
    return write;
  }
  std::optional<std::pair<VersionId, std::string>> inline_attachment(
      std::string_view row) const override {
    if (std::atoi(std::string(row).c_str()) % 3 != 0) return std::nullopt;
    return std::pair(owner_of(std::string(row)), std::string("b"));
  }
  void on_replace(const RegisterKey&, std::string_view, const std::optional<std::string>&,
                  WriteBatch&) const override {}
};

struct Incarnation {
  Runtime runtime;
  bool crashed = false;
  std::unique_ptr<MemoryTarget> target;
  std::unique_ptr<Kv> kv;
  std::unique_ptr<SimPeers> peers;
  std::unique_ptr<RegisterService> service;
};

struct Node {
  NodeId id;
  std::unique_ptr<SimHost> host;
  MemoryRows rows;
  std::unique_ptr<SimTopology> topology;
  std::shared_ptr<Incarnation> now;  // nullptr while down
  bool starting = false;
};

constexpr PartitionId kPartitions = 2;
constexpr int kKeysPerPartition = 2;

class Cluster {
 public:
  Cluster(uint64_t seed, bool trace)
      : trace_(trace), rng_(seed), net_(loop_, rng_.split("net")), seed_(seed) {
    size_t nodes = rng_.chance(0.1) ? 1 : rng_.chance(0.3) ? 5 : 3;
    auto layout = std::make_shared<LayoutState>();
    layout->epoch = 1;
    layout->current.version = 1;
    layout->current.copies = static_cast<uint32_t>(std::min<size_t>(nodes, 3));
    for (size_t i = 0; i < nodes; ++i) {
      Member member;
      member.id.bytes[0] = static_cast<uint8_t>(i + 1);
      member.name = "n" + std::to_string(i);
      member.capacity_bytes = 1;
      layout->current.members.push_back(member);
    }
    for (PartitionId p = 0; p < kPartitions; ++p) {
      std::vector<uint16_t> order;
      for (size_t i = 0; i < layout->current.copies; ++i)
        order.push_back(static_cast<uint16_t>((p + i) % nodes));
      layout->current.assignment.push_back(order);
    }
    for (const Member& member : layout->current.members) {
      auto node = std::make_unique<Node>();
      node->id = member.id;
      node->host = std::make_unique<SimHost>(loop_, rng_, member.name);
      node->host->disk.faults.sync_latency = microseconds(rng_.below(3000));
      node->topology = std::make_unique<SimTopology>(member.id, layout);
      nodes_.push_back(std::move(node));
    }
    net_.faults.loss = rng_.chance(0.5) ? 0.0 : 0.08 * rng_.below(3) / 2.0;
    net_.faults.duplicate = rng_.chance(0.5) ? 0.1 : 0;
    net_.faults.straggle = rng_.chance(0.5) ? 0.05 : 0;
    net_.faults.delay_max = milliseconds(1 + rng_.below(30));
  }

  bool run() {
    for (auto& node : nodes_) loop_.run(start(*node));
    Scope clients;
    size_t count = 3 + rng_.below(4);
    for (size_t i = 0; i < count; ++i) clients.spawn(client(rng_.split("client")));
    Scope faults;
    faults.spawn(break_things(rng_.split("faults")));
    bool ended = loop_.run_until([&] { return clients.running() == 0 && faults.running() == 0; },
                                 std::chrono::hours(1));
    bool good = ended && heal_and_check();
    for (auto& one : all_) {
      loop_.run(one->service->stop());
      loop_.run(one->peers->idle());
      loop_.run(one->kv->close());
    }
    loop_.run_until_idle();
    if (!ended) return complain("the run never ended");
    for (auto& [key, ops] : history_) {
      if (Linearizer(ops).check()) continue;
      complain("key " + key + " is not linearizable");
      if (trace_) print(ops);
      good = false;
    }
    return good;
  }

  uint64_t ok = 0, unknown = 0, failed = 0, refused = 0;

 private:
  bool complain(const std::string& what) {
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed_), what.c_str());
    return false;
  }
  void print(const std::vector<HistoryOp>& ops) {
    static const char* kNames[] = {"put", "create", "cas", "delete", "read"};
    for (const HistoryOp& op : ops)
      std::printf("  %10.3f..%10.3f %-6s %d (expected %d)%s%s %s\n", op.called_ns / 1e6,
                  op.unknown ? -1.0 : op.returned_ns / 1e6, kNames[static_cast<int>(op.kind)],
                  op.value, op.expected, op.refused ? " refused" : "", op.unknown ? " UNKNOWN" : "",
                  op.note.c_str());
  }

  Task<void> start(Node& node) {
    node.starting = true;
    auto one = std::make_shared<Incarnation>(Incarnation{node.host->runtime()});
    SimDisk* disk = &node.host->disk;
    uint64_t crashes = disk->crashes();
    one->target = std::make_unique<MemoryTarget>(
        loop_, node.rows, [disk, crashes] { return disk->crashes() != crashes; });
    KvOptions options;
    options.dir = "/meta";
    options.journal_file_bytes = 64 * kKiB;
    options.fold_bytes = 16 * kKiB;
    options.fatal = [](const Error&) {};
    auto kv = co_await open_kv(std::move(options), one->runtime, *one->target);
    CHECK(kv.has_value());
    one->kv = std::move(*kv);
    one->peers = std::make_unique<SimPeers>(net_, node.id);
    std::vector<const RegisterTable*> tables{&table_};
    auto service = co_await RegisterService::open(one->runtime, *one->kv, *node.topology,
                                                  *one->peers, std::move(tables));
    CHECK(service.has_value());
    one->service = std::move(*service);
    one->peers->serve(PeerService::kRegister, *one->service);
    node.now = one;
    node.starting = false;
    all_.push_back(one);
  }

  void crash(Node& node) {
    if (!node.now) return;
    node.now->crashed = true;
    node.now->peers->down();
    node.host->disk.crash();
    zombies_.spawn(node.now->service->stop());
    node.now = nullptr;
  }

  Task<void> break_things(SimRng rng) {
    size_t rounds = 4 + rng.below(8);
    for (size_t i = 0; i < rounds; ++i) {
      co_await loop_.sleep(milliseconds(20 + rng.below(900)));
      Node& node = *nodes_[rng.below(nodes_.size())];
      Node& other = *nodes_[rng.below(nodes_.size())];
      switch (rng.below(7)) {
        case 0: crash(node); break;
        case 1:
          if (!node.now) co_await start(node);
          break;
        case 2:
          if (&node != &other) net_.cut(node.id, other.id);
          break;
        case 3:
          for (auto& each : nodes_)
            if (each.get() != &node) net_.cut_both(node.id, each->id);
          break;
        case 4: net_.heal(); break;
        case 5: node.topology->dead.insert(other.id); break;
        default: node.topology->dead.clear(); break;
      }
      if (trace_) std::printf("  %10.3f fault\n", loop_.now().ns / 1e6);
    }
  }

  std::string key_name(size_t index) { return "dir/k" + std::to_string(index); }
  RegisterKey register_key(PartitionId p, size_t index) {
    RegisterKey key;
    key.table = TableId::kHeads;
    key.partition = p;
    key.key = key_name(index);
    return key;
  }
  std::vector<HistoryOp>& history(PartitionId p, size_t index) {
    return history_[std::to_string(p) + "/" + key_name(index)];
  }

  Task<void> client(SimRng rng) {
    size_t count = 6 + rng.below(8);
    for (size_t i = 0; i < count; ++i) {
      co_await loop_.sleep(milliseconds(rng.below(300)));
      Node& node = *nodes_[rng.below(nodes_.size())];
      if (!node.now) continue;
      auto p = static_cast<PartitionId>(rng.below(kPartitions));
      size_t index = rng.below(kKeysPerPartition);
      uint64_t what = rng.below(12);
      if (what < 3) {
        co_await do_read(node.now, p, index);
      } else if (what < 4) {
        co_await do_list(node.now, p);
      } else {
        co_await do_write(node.now, p, index, what, &rng);
      }
    }
  }

  Task<void> do_write(std::shared_ptr<Incarnation> at, PartitionId p, size_t index, uint64_t what,
                      SimRng* rng) {
    HistoryOp op;
    op.value = ++values_;
    std::string value = std::to_string(op.value);
    Mutation m;
    m.operation = rng->id<OperationId>();
    if (what < 7) {
      op.kind = Kind::kPut, m.body = "P," + value;
    } else if (what < 9) {
      op.kind = Kind::kCreate, m.body = "C," + value;
    } else if (what < 11) {
      op.kind = Kind::kCas;
      op.expected = last_seen_[{p, index}];
      m.body = "X" + std::to_string(op.expected) + "," + value;
    } else {
      op.kind = Kind::kDelete, op.value = 0, m.body = "D,";
    }
    if (op.value % 3 == 0 && op.value != 0) {
      Attachment body;
      body.owner = owner_of(value);
      body.suffix = "b";
      body.value = "body of " + value;
      m.attachments.push_back(std::move(body));
    }
    op.called_ns = loop_.now().ns;
    auto done = co_await at->service->mutate(register_key(p, index), std::move(m),
                                             loop_.after(milliseconds(2500)));
    op.returned_ns = loop_.now().ns;
    if (op.returned_ns - op.called_ns > 6'000'000'000) complain("a write overran its deadline");
    op.note = done ? "ok" : to_string(done.error());
    if (!done) last_note_ = op.note;
    if (at->crashed) {
      op.unknown = true;
    } else if (!done) {
      op.refused = done.is(ErrorCode::kPreconditionFailed);
      op.unknown = done.is(ErrorCode::kUnknownOutcome) || done.is(ErrorCode::kIo);
      bool clean = done.is(ErrorCode::kUnavailable) || done.is(ErrorCode::kConflict) ||
                   done.is(ErrorCode::kOverloaded);
      if (clean) {
        ++failed;
        co_return;
      }
      if (!op.refused && !op.unknown) complain("an odd error: " + op.note);
    }
    ++(op.unknown ? unknown : op.refused ? refused : ok);
    if (!op.unknown && !op.refused) last_seen_[{p, index}] = op.value;
    history(p, index).push_back(op);
  }

  Task<bool> do_read(std::shared_ptr<Incarnation> at, PartitionId p, size_t index) {
    HistoryOp op;
    op.called_ns = loop_.now().ns;
    auto read = co_await at->service->read(register_key(p, index), true, Fence{},
                                           loop_.after(milliseconds(2500)));
    op.returned_ns = loop_.now().ns;
    if (at->crashed || !read) co_return false;
    op.value = read->row ? std::atoi(read->row->c_str()) : 0;
    if (op.value != 0 && op.value % 3 == 0 &&
        read->attachment.value_or("") != "body of " + *read->row)
      complain("a body is missing");
    last_seen_[{p, index}] = op.value;
    ++ok;
    history(p, index).push_back(op);
    co_return true;
  }

  Task<bool> do_list(std::shared_ptr<Incarnation> at, PartitionId p) {
    RangeQuery query;
    query.table = TableId::kHeads;
    query.partition = p;
    query.begin = "d";
    query.end = "e";
    query.limit = 10;
    bool fold = values_ % 2;
    if (fold) query.delimiter = "/";
    int64_t called = loop_.now().ns;
    auto page = co_await at->service->range(query, loop_.after(milliseconds(2500)));
    if (at->crashed || !page || page->truncated) co_return false;
    if (fold) co_return true;  // a prefix says nothing of one key
    for (size_t index = 0; index < kKeysPerPartition; ++index) {
      HistoryOp op;
      op.called_ns = called;
      op.returned_ns = loop_.now().ns;
      op.note = "list";
      for (const RangeItem& item : page->items)
        if (item.key == key_name(index)) op.value = std::atoi(item.row.c_str());
      history(p, index).push_back(op);
    }
    co_return true;
  }

  Task<bool> last_words(std::shared_ptr<Incarnation> at) {
    SimRng rng(7);
    for (PartitionId p = 0; p < kPartitions; ++p) {
      for (size_t index = 0; index < kKeysPerPartition; ++index) {
        bool read = co_await do_read(at, p, index);
        if (!read) co_return complain("a key cannot be read after the faults ended");
        uint64_t before = failed + unknown;
        co_await do_write(at, p, index, 6, &rng);
        if (failed + unknown != before)
          co_return complain("a key cannot be written after the faults ended: " + last_note_);
      }
      bool listed = co_await do_list(at, p);
      if (!listed) co_return complain("a partition cannot be listed after the faults ended");
    }
    co_return true;
  }

  bool heal_and_check() {
    net_.heal();
    net_.faults = SimNetworkFaults{};
    for (auto& node : nodes_) {
      node->topology->dead.clear();
      if (!node->now) loop_.run(start(*node));
    }
    loop_.run_for(std::chrono::seconds(5));
    for (auto& node : nodes_)
      if (!loop_.run(last_words(node->now))) return false;
    return true;
  }

  bool trace_;
  SimLoop loop_;
  SimRng rng_;
  SimNetwork net_;
  uint64_t seed_;
  NumberTable table_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<std::shared_ptr<Incarnation>> all_;
  Scope zombies_;
  int values_ = 0;
  std::string last_note_;
  std::map<std::pair<PartitionId, size_t>, int> last_seen_;
  std::map<std::string, std::vector<HistoryOp>> history_;
};

}  // namespace
}  // namespace covey

int main(int argc, char** argv) {
  uint64_t seeds = 200, first = 1;
  bool trace = false;
  for (int i = 1; i < argc; ++i) {
    std::string_view arg = argv[i];
    if (arg == "--seeds" && i + 1 < argc) seeds = std::strtoull(argv[++i], nullptr, 10);
    if (arg == "--seed" && i + 1 < argc) first = std::strtoull(argv[++i], nullptr, 10);
    if (arg == "--trace") trace = true;
  }
  covey::set_log_level("off");
  uint64_t bad = 0, ok = 0, unknown = 0, failed = 0, refused = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    covey::Cluster cluster(seed, trace);
    if (!cluster.run()) {
      ++bad;
      std::printf("replay: %s --seed %llu --seeds 1 --trace\n", argv[0],
                  static_cast<unsigned long long>(seed));
      std::fflush(stdout);
    }
    ok += cluster.ok, unknown += cluster.unknown, failed += cluster.failed;
    refused += cluster.refused;
  }
  std::printf(
      "%llu seeds, %llu bad; operations: %llu ok, %llu refused, %llu unknown, %llu failed\n",
      (unsigned long long)seeds, (unsigned long long)bad, (unsigned long long)ok,
      (unsigned long long)refused, (unsigned long long)unknown, (unsigned long long)failed);
  return bad == 0 ? 0 : 1;
}
