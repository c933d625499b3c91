#include "tests/sim/register/cluster.h"

#include <cstdio>

namespace covey {

using Kind = HistoryOp::Kind;
using std::chrono::microseconds;
using std::chrono::milliseconds;

RegisterCluster::RegisterCluster(Options options)
    : options_(options), rng_(options.seed), net_(loop_, rng_.split("net")) {
  size_t nodes = rng_.chance(0.05) ? 1 : 3 + rng_.below(3);
  if (options.rollback) nodes = 3;
  layout_ = first_layout(nodes);
  for (const Member& member : layout_->current.members) {
    auto node = std::make_unique<RegisterNode>(loop_, rng_, net_, table_, member, layout_);
    node->host.disk.faults.sync_latency = microseconds(rng_.below(3000));
    node->witnessed = options.rollback;
    nodes_.push_back(std::move(node));
  }
  net_.faults.loss = rng_.chance(0.5) ? 0.0 : 0.04 * static_cast<double>(rng_.below(3));
  net_.faults.duplicate = rng_.chance(0.5) ? 0.1 : 0;
  net_.faults.straggle = rng_.chance(0.5) ? 0.05 : 0;
  net_.faults.delay_max = milliseconds(1 + rng_.below(30));
  auto say = [this](const std::string& what) { complain(what); };
  clients_ = std::make_unique<Clients>(loop_, nodes_, history_, rng_.chance(0.5), std::move(say));
}

bool RegisterCluster::run() {
  if (options_.rollback) return run_rollback();
  for (auto& node : nodes_) loop_.run(node->start());
  Scope clients, faults, changes;
  size_t count = 3 + rng_.below(4);
  for (size_t i = 0; i < count; ++i) clients.spawn(clients_->client(rng_.split("client")));
  faults.spawn(break_things(rng_.split("faults")));
  if (rng_.chance(0.6)) changes.spawn(change_layouts(rng_.split("layout")));
  SimRng step_rng = rng_.split("sync");
  in_step_runs_ = step_rng.chance(0.5);
  if (in_step_runs_) in_step_.spawn(keep_in_step(std::move(step_rng)));
  auto ended = [&] { return clients.running() == 0 && faults.running() == 0; };
  if (loop_.run_until(ended, std::chrono::hours(1))) {
    good_ = heal_and_check() && good_;
  } else {
    complain("the run never ended");
  }
  if (!loop_.run_until([&] { return changes.running() == 0; }, std::chrono::hours(1)))
    complain("a layout change never ended");
  in_step_.request_stop();
  loop_.run(in_step_.join());
  if (in_step_runs_ && good_) good_ = converge();
  return end_and_judge();
}

bool RegisterCluster::end_and_judge() {
  for (auto& node : nodes_) loop_.run(node->stop_all());
  loop_.run_until_idle();
  for (auto& [key, ops] : history_.keys) {
    if (Linearizer(ops).check()) continue;
    complain("key " + std::to_string(key.first) + ":" + sim_key(key.second) +
             " is not linearizable");
    if (options_.trace) print(ops);
  }
  return good_;
}

void RegisterCluster::complain(const std::string& what) {
  good_ = false;
  if (options_.quiet) return;
  std::printf("seed %llu: %s\n", static_cast<unsigned long long>(options_.seed), what.c_str());
}

void RegisterCluster::note(const std::string& what) {
  if (!options_.trace) return;
  std::printf("  %10.3f %s\n", static_cast<double>(loop_.now().ns) / 1e6, what.c_str());
}

void RegisterCluster::print(const std::vector<HistoryOp>& ops) {
  static const char* kNames[] = {"put", "create", "cas", "delete", "read", "exists"};
  for (const HistoryOp& op : ops)
    std::printf("  %10.3f..%10.3f %-6s %d (expected %d)%s%s %s\n",
                static_cast<double>(op.called_ns) / 1e6, static_cast<double>(op.returned_ns) / 1e6,
                kNames[static_cast<int>(op.kind)], op.value, op.expected,
                op.refused ? " refused" : "", op.unknown ? " UNKNOWN" : "", op.note.c_str());
}

bool RegisterCluster::heal_and_check() {
  clients_->calm_down();
  net_.heal();
  net_.faults = SimNetworkFaults{};
  for (auto& node : nodes_) {
    node->topology.dead.clear();
    for (auto& other : nodes_)
      if (other->gone) node->topology.dead.insert(other->id());
    if (!node->up() && !node->gone) loop_.run(node->start());
  }
  loop_.run_for(std::chrono::seconds(5));
  for (auto& node : nodes_) {
    if (node->gone) continue;
    // A layout change may be under way, and goes on while this is checked.
    if (!loop_.run(last_words(node->now))) return false;
  }
  return true;
}

Task<bool> RegisterCluster::last_words(std::shared_ptr<RegisterIncarnation> at) {
  SimRng rng(7);
  for (PartitionId p = 0; p < kSimPartitions; ++p) {
    for (int index = 0; index < kSimKeys; ++index) {
      bool read = co_await clients_->read(at, p, index, &rng);
      if (!read) complain("a key cannot be read after the faults ended: " + clients_->last_error());
      HistoryOp op;
      op.kind = Kind::kPut;
      op.value = clients_->fresh_value();
      // The first answer may be 'unknown': a holder may find only now that it is none any more.
      bool written = co_await clients_->write(at, p, index, op, &rng);
      op.value = clients_->fresh_value();
      if (!written) written = co_await clients_->write(at, p, index, op, &rng);
      if (!written && options_.trace) print(history_.keys[{p, index}]);
      if (!written)
        complain("a key cannot be written after the faults ended: " + clients_->last_error());
      if (!read || !written) co_return false;
    }
    bool listed = co_await clients_->list(at, p, 2, false, &rng);
    if (!listed) {
      complain("a partition cannot be listed after the faults ended: " + clients_->last_error());
      co_return false;
    }
  }
  co_return true;
}

}  // namespace covey
