#include "tests/sim/cluster/faults.h"

namespace covey::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr double kMend = 0.5;  // chance, before each fault, that what is broken is mended

}  // namespace

Faults::Faults(World& world, SimRng rng) : world_(world), rng_(rng) {}

Task<void> Faults::run(Scope& scope) {
  world_.net.faults = world_.knobs.network;
  const std::vector<Fault>& faults = world_.knobs.faults;
  while (!faults.empty()) {
    auto calm = static_cast<uint64_t>(world_.knobs.calm_max.count());
    Duration pause(static_cast<int64_t>(rng_.below(calm)));
    bool go_on = co_await scope.sleep(world_.loop, pause);
    if (!go_on) break;
    if (rng_.chance(kMend)) {
      mend();
    } else {
      strike(faults[rng_.below(faults.size())]);
    }
  }
  co_await restarts_.join();
}

// Some of what is broken: what the machines' owners and the network's do.
void Faults::mend() {
  for (auto& node : world_.nodes) {
    if (rng_.chance(0.3)) node->host.disk.faults = SimDiskFaults{};
    if (!node->off() || !node->in_service || rng_.chance(0.4)) continue;
    node->host.disk.faults = SimDiskFaults{};
    world_.trace.line("n{} is started", node->number);
    node->start();
  }
  if (!rng_.chance(0.5)) return;
  world_.trace.line("links heal");
  world_.net.heal();
}

void Faults::strike(Fault fault) {
  std::vector<SimNode*> nodes = world_.in_service();
  SimNode& node = *nodes[rng_.below(nodes.size())];
  SimNode& other = *nodes[rng_.below(nodes.size())];
  world_.trace.line("fault: {} n{} n{}", fault_name(fault), node.number, other.number);
  switch (fault) {
    case Fault::kPower: return node.crash(SimNode::Crash::kPower);
    case Fault::kPowerHard: return node.crash(SimNode::Crash::kPowerDroppingAll);
    case Fault::kPowerLater: return node.host.disk.crash_after(rng_.below(30));
    case Fault::kPowerAll:
      for (SimNode* each : nodes) each->crash(SimNode::Crash::kPower);
      return;
    case Fault::kKill: ++node.kills; return node.crash(SimNode::Crash::kProcess);
    case Fault::kRestart: return restarts_.spawn(restart(node, false));
    case Fault::kOtherRelease: return restarts_.spawn(restart(node, true));
    case Fault::kCut:
    case Fault::kCutOneWay:
    case Fault::kClog: return strike_link(fault, node, other);
    case Fault::kClockJump: {
      auto ms = static_cast<int64_t>(rng_.below(7'200'000)) - 3'600'000;
      return node.host.clock.jump_wall(milliseconds(ms));
    }
    case Fault::kClockDrift:
      return node.host.clock.drift(0.95 + 0.001 * static_cast<double>(rng_.below(101)));
    case Fault::kBitFlip:
    case Fault::kMisdirect:
    case Fault::kCutFile:
      if (!world_.only_victim()) damage(fault, *world_.nodes[world_.knobs.victim]);
      return;
    default: return strike_disk(fault, node);
  }
}

void Faults::strike_link(Fault fault, SimNode& node, SimNode& other) {
  if (fault == Fault::kCut) {
    for (auto& each : world_.nodes)
      if (each.get() != &node) world_.net.cut_both(node.id, each->id);
  } else if (&node != &other && fault == Fault::kCutOneWay) {
    world_.net.cut(node.id, other.id);
  } else if (&node != &other) {
    TimePoint until = world_.loop.after(milliseconds(500 + rng_.below(7500)));
    world_.net.clog(node.id, other.id, until);
  }
}

void Faults::strike_disk(Fault fault, SimNode& node) {
  SimDisk& disk = node.host.disk;
  switch (fault) {
    case Fault::kSlowDisk:
      disk.faults.latency_max = microseconds(100 + rng_.below(60'000));
      disk.faults.sync_latency = microseconds(100 + rng_.below(250'000));
      return;
    case Fault::kBadWrite: disk.faults.fail_writes = 1; return;
    case Fault::kBadSync: disk.faults.fail_syncs = 1; return;
    case Fault::kBadRead: disk.faults.fail_reads = 1; return;
    case Fault::kFullDisk: disk.faults.capacity_bytes = disk.used_bytes(); return;
    case Fault::kRot: return rot(*world_.nodes[world_.knobs.victim]);
    default: return;
  }
}

void Faults::damage(Fault fault, SimNode& victim) {
  if (fault == Fault::kBitFlip) return flip_bits(victim);
  if (fault == Fault::kCutFile) return cut_file(victim);
  victim.host.disk.faults.misdirect_writes = 1;
  victim.host.disk.faults.misdirect_below = "/data/";
}

// A segment file that is not empty; an empty string: there is none.
std::string Faults::any_segment(SimNode& node) {
  std::vector<std::string> segments;
  for (std::string& path : node.host.disk.paths())
    if (path.starts_with("/data/segments/") && node.host.disk.file_size(path) > 0)
      segments.push_back(std::move(path));
  return segments.empty() ? std::string() : segments[rng_.below(segments.size())];
}

void Faults::flip_bits(SimNode& node) {
  std::string path = any_segment(node);
  if (path.empty()) return;
  uint64_t written = node.host.disk.written_bytes(path);
  for (uint64_t i = 0, count = 1 + rng_.below(4); i < count && written > 0; ++i) {
    node.host.disk.flip_bit(path, rng_.below(written), static_cast<uint8_t>(rng_.below(8)));
    ++world_.counts.flips;
  }
}

void Faults::cut_file(SimNode& node) {
  std::string path = any_segment(node);
  uint64_t written = path.empty() ? 0 : node.host.disk.written_bytes(path);
  if (written == 0) return;
  node.host.disk.cut_file(path, rng_.chance(0.1) ? 0 : rng_.below(written));
  ++world_.counts.files_cut;
}

// Rows that clients' data depends on. Where a node's own rows are damaged it does not start, which
// is another story.
void Faults::rot(SimNode& node) {
  if (node.life() != 1 || !node.wanted) return;
  std::vector<const std::string*> rows;
  for (const auto& [key, value] : node.rows.rows) {
    auto table = static_cast<TableId>(key[0]);
    if (table >= TableId::kHeads && table <= TableId::kFences) rows.push_back(&key);
  }
  for (uint64_t i = 0, count = 1 + rng_.below(3); i < count && !rows.empty(); ++i)
    world_.counts.rows_spoilt += node.rows.damaged.insert(*rows[rng_.below(rows.size())]).second;
}

Task<void> Faults::restart(SimNode& node, bool other_release) {
  co_await node.stop();
  if (other_release) world_.net.run_other_release(node.id);
  if (node.off() && node.in_service) node.start();
}

}  // namespace covey::sim
