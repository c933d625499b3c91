#include "tests/sim/cluster/world.h"

#include <algorithm>
#include <set>

#include "tests/sim/cluster/available_load.h"
#include "tests/sim/cluster/client.h"
#include "tests/sim/cluster/endangered.h"
#include "tests/sim/cluster/faults.h"
#include "tests/sim/cluster/operator.h"
#include "tests/sim/cluster/placement.h"

namespace covey::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration kFormWithin = 3min;
constexpr Duration kWorkWithin = 60min;
constexpr Duration kHealWithin = 5min;
constexpr Duration kEchoes = 2s;
constexpr Duration kSettle = 10s;
constexpr Duration kFoldPaceHealed = 40ms;
constexpr Duration kReclaimWithin = 3min;
constexpr size_t kPartsPerUpload = 2;
constexpr Duration kConvergeWithin = 3min;
constexpr Duration kScrubWithin = 10min;
constexpr size_t kListedAtOnce = 256;
constexpr uint64_t kWatchEvery = 16;  // steps of the loop
constexpr uint64_t kEndangeredEvery = 64 * kWatchEvery;
constexpr Duration kIdleWithin = 1min;
// A change waits for members that are away, and starts anew when it was taken back.
constexpr Duration kChangeWithin = 15min;
constexpr Duration kChangeLook = 1s;

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
        trace.message(machine_of(from), machine_of(to), service, head);
      });
  for (size_t i = 0; i < knobs.machines; ++i) {
    SimNode::Place place{i, knobs.machines, knobs.zones, knobs.partitions};
    nodes.push_back(std::make_unique<SimNode>(net, wires, rng, trace, place));
    nodes.back()->in_service = nodes.back()->wanted = i < knobs.nodes;
    if (knobs.reclaim) nodes.back()->config.reclaim_delay = knobs.reclaim_delay;
    nodes.back()->fold_pace = knobs.fold_pace;
    nodes.back()->journal_file_bytes = knobs.journal_file_bytes;
    nodes.back()->resync_every = knobs.resync_every;
    nodes.back()->reclaim_pause = knobs.reclaim_pause;
    nodes.back()->config.upload_expiry = knobs.upload_expiry;
    nodes.back()->config.memory_cap_bytes = knobs.memory_cap_bytes;
    nodes.back()->on_trouble = [this](const std::string& what) { complain(what); };
    nodes.back()->on_layout = [this](const LayoutState& state) { adopted(state); };
  }
  static const char* kNames[] = {"a", "d/1", "d/2", "d/e/3", "m", "z", "d", "~"};
  for (size_t i = 0; i < knobs.keys; ++i) keys.push_back(kNames[i % std::size(kNames)]);
}

World::~World() = default;

// As soon as any node has adopted it, the victim may get blocks that nobody else gets; and while it
// is on its way there it looks at what it has once, and then the others let go of theirs.
void World::adopted(const LayoutState& state) {
  if (state.epoch < epoch_) return;
  epoch_ = state.epoch;
  auto only = [this](const Layout& layout) {
    return layout.members.size() == 1 && machine_of(layout.members[0].id) == knobs.victim;
  };
  only_victim_ = only(state.current) || (state.next && only(*state.next));
  if (only_victim_) nodes[knobs.victim]->host.disk.faults.misdirect_writes = 0;
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

bool World::cut_off(const Incarnation& at) const {
  std::vector<NodeId> reached{at.id()};
  for (size_t i = 0; i < reached.size(); ++i) {
    for (const auto& node : nodes) {
      bool fresh = std::find(reached.begin(), reached.end(), node->id) == reached.end();
      if (fresh && net.linked(reached[i], node->id)) reached.push_back(node->id);
    }
  }
  auto state = at.cluster().layout();
  for (PartitionId p = 0; p < state->current.partitions(); ++p)
    if (replica_sets(*state, p).quorum(reached)) return false;
  return true;
}

std::vector<SimNode*> World::in_service() const {
  std::vector<SimNode*> some;
  for (auto& node : nodes)
    if (node->in_service) some.push_back(node.get());
  CHECK(!some.empty());
  return some;
}

bool World::run() {
  if (form()) {
    Operator admin(*this, rng.split("operator"));
    Scope changes;
    changes.spawn(admin.run(changes));
    if (!knobs.changes.empty()) changes.spawn(admin.keep(changes));
    work(true);
    bool healthy = heal();
    if (healthy && !knobs.changes.empty()) {
      work(false);
      end_changes(admin);
    }
    changes.request_stop();
    bool ended = loop.run_until([&] { return changes.running() == 0; }, kWorkWithin);
    CHECK(ended);
    if (healthy && good_) last_checks();
  }
  end();
  for (const auto& node : nodes) {
    counts.power_cuts += node->power_cuts, counts.kills += node->kills;
    counts.misdirected += node->host.disk.misdirected();
    counts.bad_copies += node->bad_copies, counts.fetched_copies += node->fetched_copies;
  }
  check_histories();
  trace.line("hash {:016x}", trace.hash());
  return good_;
}

bool World::formed() const {
  for (SimNode* node : in_service()) {
    if (!node->serving()) return false;
    auto state = node->now()->cluster().layout();
    if (state->joint() || state->current.members.size() != knobs.nodes) return false;
  }
  return true;
}

bool World::form() {
  for (SimNode* node : in_service()) node->start();
  if (!loop.run_until([this] { return formed(); }, kFormWithin)) {
    complain("the cluster does not form");
    return false;
  }
  trace.line("formed");
  auto made = loop.run(nodes[0]->now()->objects().create_bucket(
      kSimBucket, "owner", "us-east-1", nodes[0]->now()->clock().after(10s)));
  if (!made) complain("no bucket can be made: " + to_string(made.error()));
  if (!made || !knobs.available) return made.has_value();
  available_ = std::make_unique<AvailableLoad>(*this, rng.split("available"));
  Status there = loop.run(available_->make_bucket());
  if (!there) complain("no available bucket can be made: " + to_string(there.error()));
  return there.has_value();
}

void World::work(bool with_faults) {
  std::vector<std::unique_ptr<Client>> clients;
  Scope scope;
  for (size_t i = 0; i < knobs.clients; ++i) {
    clients.push_back(std::make_unique<Client>(*this, i, rng.split("client")));
    scope.spawn(clients.back()->run());
  }
  for (size_t i = 0; available_ && i < knobs.clients; ++i) scope.spawn(available_->run());
  Faults trouble(*this, rng.split("faults"));
  Scope faults;
  if (with_faults) faults.spawn(trouble.run(faults));
  auto done = [&] {
    watch();
    return scope.running() == 0;
  };
  bool ended = loop.run_until(done, kWorkWithin);
  CHECK(ended);  // each operation has a deadline
  faults.request_stop();
  ended = loop.run_until([&] { return faults.running() == 0; }, kWorkWithin);
  CHECK(ended);
}

bool World::heal() {
  net.heal();
  net.faults = SimNetworkFaults{};
  for (auto& node : nodes) {
    node->host.disk.faults = SimDiskFaults{};
    node->host.disk.crash_after(UINT64_MAX);
    node->fold_pace = std::min(node->fold_pace, kFoldPaceHealed);
    if (node->off() && node->in_service) node->start();
  }
  // A write that had failed before may be heard of only now, and its node stops: it is started once
  // more.
  TimePoint echoes_until = loop.after(kEchoes);
  std::set<SimNode*> again;
  auto healthy = [this, echoes_until, &again] {
    std::vector<SimNode*> up = in_service();
    for (SimNode* node : up)
      if (node->off() && loop.now() < echoes_until && again.insert(node).second) node->start();
    return std::all_of(up.begin(), up.end(), [](SimNode* node) { return node->serving(); });
  };
  if (!loop.run_until(healthy, kHealWithin)) {
    complain("a node does not serve after the faults ended");
    return false;
  }
  trace.line("healed");
  // Nobody asks for anything now, so that what each node does by itself is seen.
  for (TimePoint until = loop.after(kSettle); loop.now() < until; loop.run_for(1s)) {
    look_for_endangered();
    (void)healthy();
  }
  return true;
}

void World::end_changes(const Operator& admin) {
  TimePoint until = loop.after(kChangeWithin);
  while (!admin.conforms() && loop.now() < until) loop.run_for(kChangeLook);
  trace.line("the layout is as wanted: {}", admin.conforms());
  if (!admin.conforms()) complain("a change of the layout does not end: " + admin.why_not());
}

Task<void> World::look_at_everything() {
  Client last(*this, 99, rng.split("last"));
  for (SimNode* node : in_service()) {
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

// Why not every replica is known to have everything; empty: each is.
std::string World::not_converged() {
  for (SimNode* node : in_service()) {
    if (!node->serving()) return fmt::format("n{} is down", node->number);
    if (node->now()->storage().resync_progress().behind > 0)
      return fmt::format("n{} is behind", node->number);
  }
  return misplaced(*this);
}

void World::converge() {
  TimePoint until = loop.after(kConvergeWithin);
  std::string left = not_converged();
  while (!left.empty() && loop.now() < until) {
    loop.run_for(1s);
    left = not_converged();
  }
  trace.line("converged: {}", left.empty());
  if (!left.empty()) complain("the replicas do not converge after the faults ended: " + left);
}

size_t World::garbage(SimNode& node, bool describe) {
  size_t rows = 0;
  auto row = node.now()->kv().scan(table_begin(TableId::kGarbage), table_end(TableId::kGarbage));
  for (; row->valid(); row->next()) {
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

// Parts of uploads, all of which ought to have ended by now, unless they began in the future.
size_t World::parts_left(SimNode& node) {
  if (knobs.upload_expiry > kReclaimWithin || knobs.has(Fault::kClockJump)) return 0;
  size_t rows = 0;
  auto row = node.now()->kv().scan(table_begin(TableId::kParts), table_end(TableId::kParts));
  for (; row->valid(); row->next()) ++rows;
  return rows;
}

// Waits until what nothing refers to any more is gone; what is left is checked afterwards. What a
// copy refers to stays.
void World::reclaim_all() {
  size_t copies = history.copies();
  auto reclaimed = [this, copies] {
    std::vector<SimNode*> up = in_service();
    return std::all_of(up.begin(), up.end(), [&](SimNode* node) {
      return garbage(*node, false) <= copies && parts_left(*node) <= kPartsPerUpload * copies;
    });
  };
  TimePoint until = loop.after(kReclaimWithin);
  bool done = false;
  while (!done && loop.now() < until) {
    loop.run_for(5s);
    done = reclaimed();
  }
  if (!done) {
    complain("what was displaced is not given back");
    for (SimNode* node : in_service()) {
      (void)garbage(*node, true);
      trace.line("  n{}: {} parts of uploads", node->number, parts_left(*node));
    }
  }
  trace.line("reclaimed");
}

bool World::scrubbed() const {
  std::vector<SimNode*> up = in_service();
  return std::all_of(up.begin(), up.end(), [](SimNode* node) {
    if (!node->serving()) return false;
    Storage& storage = node->now()->storage();
    return !storage.scrub().progress().running && storage.blocks().usage().to_repair == 0;
  });
}

Task<void> World::read_copies(SimNode& node) {
  std::shared_ptr<Incarnation> at = node.now();
  if (!at) co_return complain("a node went down after the faults had ended");
  SegmentStore& segments = at->storage().blocks().segments();
  for (PartitionId home = 0; home < knobs.partitions; ++home) {
    std::optional<BlockId> done;
    for (bool more = true; more;) {
      auto found = segments.list(home, done, kListedAtOnce);
      if (!found) co_return complain("blocks cannot be listed: " + to_string(found.error()));
      more = found->size() == kListedAtOnce;
      for (const SegmentStore::Listed& one : *found) {
        BlockKey key{home, one.id};
        auto record = co_await segments.read_record(key);
        done = one.id;
        counts.good_copies += record.has_value();
        if (!record && !record.is(ErrorCode::kNotFound))  // then it was given back meanwhile
          co_return complain(fmt::format("n{} still has a bad copy after a scrub: {}", node.number,
                                         to_string(record.error())));
      }
    }
  }
}

// Of the blocks that are still to be repaired on any node: whose rows name them.
void World::describe_repairs() {
  for (SimNode* node : in_service()) {
    for (PartitionId home = 0; home < knobs.partitions && node->serving(); ++home) {
      auto waiting = node->now()->storage().blocks().waiting_repairs(home);
      for (size_t i = 0; waiting && i < waiting->size(); ++i) {
        const BlockId& id = (*waiting)[i].id;
        trace.line("  n{} lacks block {} {} of partition {}", node->number, id.version.hex(),
                   id.index, home);
        for (SimNode* other : in_service())
          for (const auto& [key, value] : other->rows.rows)
            if ((key + value).find(id.version.view()) != std::string::npos)
              trace.line("    n{}: row {}: {}", other->number, hex_encode(key), hex_encode(value));
      }
    }
  }
}

void World::scrub() {
  for (SimNode* node : in_service()) {
    if (!node->rows.damaged.empty())
      complain(fmt::format("n{} still has metadata that is damaged", node->number));
    if (node->serving()) node->now()->storage().scrub().start();
  }
  TimePoint until = loop.after(kScrubWithin);
  while (!scrubbed() && loop.now() < until) loop.run_for(1s);
  if (!scrubbed()) {
    describe_repairs();
    return complain("what a scrub found is not repaired");
  }
  for (SimNode* node : in_service()) loop.run(read_copies(*node));
  trace.line("scrubbed: {} good copies", counts.good_copies);
  if (good_) converge();
}

void World::look_for_endangered() {
  std::string wrong = good_ ? endangered(*this) : std::string();
  if (!wrong.empty()) complain(wrong);
}

void World::watch() {
  if (++steps_ % kWatchEvery != 0) return;
  if (steps_ % kEndangeredEvery == 0) look_for_endangered();
  for (auto& node : nodes) {
    if (!node->serving()) continue;
    for (const Level& one : node->now()->levels()) {
      uint64_t& most = counts.most[one.name];
      most = std::max(most, one.used);
      if (one.used > one.limit)
        complain(fmt::format("n{} has {} of {}, at most {} are allowed", node->number, one.used,
                             one.name, one.limit));
    }
  }
}

// After the clients have gone nothing may be left that waits for anything, or is kept for it.
void World::check_idle() {
  for (auto& node : nodes) {
    if (!node->now()) continue;
    size_t serving = node->now()->peers().serving();
    if (serving > 0) complain(fmt::format("n{} still serves {} calls", node->number, serving));
  }
  std::string busy = "?";
  for (TimePoint until = loop.after(kIdleWithin); !busy.empty() && loop.now() < until;) {
    busy.clear();
    for (auto& node : nodes) {
      if (!node->serving()) continue;
      for (const Level& one : node->now()->levels())
        if (one.drains && one.used > 0)
          busy += fmt::format(" n{} {} {}", node->number, one.used, one.name);
    }
    if (!busy.empty()) loop.run_for(100ms);
  }
  if (!busy.empty()) complain("something is never given back:" + busy);
}

void World::check_available() {
  std::string wrong;
  TimePoint until = loop.after(kConvergeWithin);
  loop.run(available_->check(wrong));
  while (!wrong.empty() && loop.now() < until) {
    loop.run_for(5s);
    loop.run(available_->check(wrong));
  }
  trace.line("available: {} acknowledged, {}", available_->acknowledged(), wrong);
  if (!wrong.empty()) complain("available bucket: " + wrong);
}

void World::last_checks() {
  loop.run(look_at_everything());
  if (good_) converge();
  if (good_ && available_) check_available();
  if (knobs.reclaim && good_) {
    reclaim_all();
    loop.run(look_at_everything());
  }
  if (good_) scrub();
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
