#include "tests/sim/cluster/world.h"

#include <algorithm>

#include "tests/sim/cluster/client.h"
#include "tests/sim/cluster/faults.h"

namespace covey::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration kFormWithin = 3min;
constexpr Duration kWorkWithin = 60min;
constexpr Duration kHealWithin = 5min;
constexpr Duration kSettle = 10s;
constexpr Duration kReclaimWithin = 3min;
constexpr Duration kConvergeWithin = 3min;

}  // namespace

World::World(uint64_t the_seed, const std::string& only, Trace::Print print)
    : seed(the_seed),
      knobs(Knobs::draw(the_seed, only)),
      rng(the_seed),
      trace(loop, print),
      net(loop, rng.split("net")),
      wires(net) {
  trace.line("seed {}: {}", seed, knobs.describe());
  net.on_arrival(
      [this](const NodeId& from, const NodeId& to, uint8_t service, std::string_view head) {
        trace.message(from.bytes[0] - 1u, to.bytes[0] - 1u, service, head);
      });
  for (size_t i = 0; i < knobs.nodes; ++i) {
    nodes.push_back(
        std::make_unique<SimNode>(net, wires, rng, trace, i, knobs.zones, knobs.partitions));
    if (knobs.reclaim) nodes.back()->config.reclaim_delay = 30s;
    nodes.back()->on_trouble = [this](const std::string& what) { complain(what); };
  }
  static const char* kNames[] = {"a", "d/1", "d/2", "d/e/3", "m", "z", "d", "~"};
  for (size_t i = 0; i < knobs.keys; ++i) keys.push_back(kNames[i % std::size(kNames)]);
}

void World::complain(const std::string& what) {
  if (good_ || trace.prints())
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), what.c_str());
  trace.line("VIOLATION: {}", what);
  good_ = false;
}

std::shared_ptr<Incarnation> World::pick(SimRng& from) {
  std::vector<std::shared_ptr<Incarnation>> serving;
  for (auto& node : nodes)
    if (node->serving()) serving.push_back(node->now());
  if (serving.empty()) return nullptr;
  return serving[from.below(serving.size())];
}

// What an object says of itself must fit what was written.
void World::saw_object(const std::string& key, const ObjectInfo& info, int id) {
  if (!history.known(id)) return complain("an object names no write: " + key);
  WriteRecord& write = history.write(id);
  if (write.copy && write.etag.empty()) write.etag = info.etag;
  if (write.key != key) complain("the object of " + write.key + " stands at " + key);
  if (write.etag != info.etag)
    complain(fmt::format("write {} has ETag {} and {}", id, write.etag, info.etag));
  history.saw(key, info.etag);
}

bool World::run() {
  if (form() && work() && heal()) last_checks();
  end();
  check_histories();
  trace.line("hash {:016x}", trace.hash());
  return good_;
}

bool World::form() {
  for (auto& node : nodes) node->start();
  auto formed = [this] {
    for (auto& node : nodes) {
      if (!node->serving()) return false;
      auto state = node->now()->cluster().layout();
      if (state->joint() || state->current.members.size() != nodes.size()) return false;
    }
    return true;
  };
  if (!loop.run_until(formed, kFormWithin)) {
    complain("the cluster does not form");
    return false;
  }
  trace.line("formed");
  auto made = loop.run(nodes[0]->now()->objects().create_bucket(
      kSimBucket, "owner", "us-east-1", nodes[0]->now()->clock().after(10s)));
  if (!made) complain("no bucket can be made: " + to_string(made.error()));
  return made.has_value();
}

bool World::work() {
  std::vector<std::unique_ptr<Client>> clients;
  Scope scope;
  for (size_t i = 0; i < knobs.clients; ++i) {
    clients.push_back(std::make_unique<Client>(*this, i, rng.split("client")));
    scope.spawn(clients.back()->run());
  }
  Faults trouble(*this, rng.split("faults"));
  Scope faults;
  faults.spawn(trouble.run(faults));
  bool ended = loop.run_until([&] { return scope.running() == 0; }, kWorkWithin);
  CHECK(ended);  // each operation has a deadline
  faults.request_stop();
  ended = loop.run_until([&] { return faults.running() == 0; }, kWorkWithin);
  CHECK(ended);
  return true;
}

bool World::heal() {
  net.heal();
  net.faults = SimNetworkFaults{};
  for (auto& node : nodes) {
    node->host.disk.faults = SimDiskFaults{};
    node->host.disk.crash_after(UINT64_MAX);
    if (node->off()) node->start();
  }
  auto healthy = [this] {
    return std::all_of(nodes.begin(), nodes.end(), [](auto& node) { return node->serving(); });
  };
  if (!loop.run_until(healthy, kHealWithin)) {
    complain("a node does not serve after the faults ended");
    return false;
  }
  trace.line("healed");
  loop.run_for(kSettle);
  return true;
}

Task<void> World::look_at_everything() {
  Client last(*this, 99, rng.split("last"));
  for (auto& node : nodes) {
    std::shared_ptr<Incarnation> at = node->now();
    if (!at) co_return complain("a node went down after the faults had ended");
    for (const std::string& key : keys) {
      bool read = co_await last.read(at, key, false);
      if (!read) complain("a key cannot be read after the faults ended: " + key);
    }
    bool listed = co_await last.list(at, "", 3);
    if (!listed) complain("the bucket cannot be listed after the faults ended");
    bool written = co_await last.put(at, keys[0], KeyOp::Kind::kPut);
    if (!written) complain("a key cannot be written after the faults ended");
  }
}

// The rank of each object's head, as this node's store has it.
std::map<std::string, Rank> World::heads(SimNode& node) {
  std::string table(1, static_cast<char>(TableId::kHeads)), end = table;
  ++end[0];
  std::map<std::string, Rank> ranks;
  for (auto row = node.now()->kv().scan(table, end); row->valid(); row->next()) {
    auto entry = view_entry(row->value());
    if (entry && !entry->tombstone) ranks[std::string(row->key())] = entry->rank;
  }
  return ranks;
}

// Each node of up to three has a copy of everything.
bool World::converged() {
  std::optional<std::map<std::string, Rank>> first;
  for (auto& node : nodes) {
    if (!node->now() || node->now()->storage().resync_progress().behind > 0) return false;
    auto mine = heads(*node);
    if (first && *first != mine) return false;
    first = std::move(mine);
  }
  return true;
}

void World::converge() {
  TimePoint until = loop.after(kConvergeWithin);
  bool done = converged();
  while (!done && loop.now() < until) {
    loop.run_for(1s);
    done = converged();
  }
  trace.line("converged: {}", done);
  if (!done) complain("the replicas do not converge after the faults ended");
}

size_t World::garbage(SimNode& node, bool describe) {
  std::string table(1, static_cast<char>(TableId::kGarbage)), end = table;
  ++end[0];
  size_t rows = 0;
  for (auto row = node.now()->kv().scan(table, end); row->valid(); row->next()) {
    rows::GarbageRow garbage;
    (void)garbage.ParseFromArray(row->value().data(), static_cast<int>(row->value().size()));
    RegisterKey key{static_cast<TableId>(garbage.table()), garbage.partition(), garbage.key()};
    auto now = node.now()->storage().registers().local(key);
    ++rows;
    if (describe)
      trace.line("  n{}: garbage of table {} partition {}, the row is {}", node.number,
                 garbage.table(), garbage.partition(),
                 now && now->committed ? "committed" : "not committed");
  }
  return rows;
}

// Waits until what nothing refers to any more is gone; what is left is checked afterwards. What a
// copy refers to stays.
void World::reclaim_all() {
  size_t copies = history.copies();
  auto reclaimed = [this, copies] {
    return std::all_of(nodes.begin(), nodes.end(),
                       [&](auto& node) { return garbage(*node, false) <= copies; });
  };
  TimePoint until = loop.after(kReclaimWithin);
  bool done = false;
  while (!done && loop.now() < until) {
    loop.run_for(5s);
    done = reclaimed();
  }
  if (!done) {
    complain("what was displaced is not given back");
    for (auto& node : nodes) (void)garbage(*node, true);
  }
  trace.line("reclaimed");
}

// After the clients have gone nothing may be left that waits for anything.
void World::check_idle() {
  for (auto& node : nodes) {
    if (!node->now()) continue;
    size_t serving = node->now()->peers().serving();
    if (serving > 0) complain(fmt::format("n{} still serves {} calls", node->number, serving));
  }
}

void World::last_checks() {
  loop.run(look_at_everything());
  if (good_) converge();
  if (knobs.reclaim && good_) {
    reclaim_all();
    loop.run(look_at_everything());
  }
  loop.run_for(kSettle);
  check_idle();
}

void World::check_histories() {
  for (auto& [key, ops] : history.ops()) {
    if (history.linearizable(key)) continue;
    complain("the history of " + key + " is not linearizable");
    std::vector<KeyOp> sorted = ops;
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](auto& a, auto& b) { return a.called_ns < b.called_ns; });
    for (const KeyOp& op : sorted) trace.line("  {}", op.describe());
  }
}

void World::end() {
  for (auto& node : nodes) loop.run(node->end());
  loop.run_until_idle();
}

}  // namespace covey::sim
