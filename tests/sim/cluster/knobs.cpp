#include "tests/sim/cluster/knobs.h"

#include <fmt/format.h>

#include <algorithm>

namespace covey::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr const char* kNames[] = {
    "power",    "power-hard",  "power-later", "power-all", "kill",       "restart",
    "cut",      "cut-one-way", "clog",        "slow-disk", "bad-write",  "bad-sync",
    "bad-read", "full-disk",   "bit-flip",    "misdirect", "clock-jump", "clock-drift"};
static_assert(std::size(kNames) == static_cast<size_t>(Fault::kCount));

SimNetworkFaults draw_network(SimRng& rng) {
  SimNetworkFaults network;
  network.delay_max = rng.chance(0.5) ? milliseconds(2) : milliseconds(2 + rng.below(60));
  if (rng.chance(0.3)) network.loss = 0.01 * static_cast<double>(1 + rng.below(8));
  if (rng.chance(0.3)) network.duplicate = 0.1;
  if (rng.chance(0.3)) network.straggle = 0.05;
  network.straggle_max = milliseconds(300 + rng.below(5000));
  return network;
}

// Silent damage needs another good copy.
bool possible(Fault fault, const Knobs& knobs) {
  bool silent = fault == Fault::kBitFlip || fault == Fault::kMisdirect;
  bool link = fault == Fault::kCut || fault == Fault::kCutOneWay || fault == Fault::kClog;
  return knobs.nodes > 1 || (!silent && !link);
}

}  // namespace

const char* fault_name(Fault fault) { return kNames[static_cast<size_t>(fault)]; }

Knobs Knobs::draw(uint64_t seed, const std::string& only) {
  SimRng rng = SimRng(seed).split("knobs");
  Knobs knobs;
  knobs.nodes = rng.chance(0.08) ? 1 : 3;
  knobs.zones = rng.chance(0.7) ? knobs.nodes : 1;
  knobs.partitions = rng.chance(0.5) ? 4 : 16;
  knobs.clients = 2 + rng.below(4);
  knobs.operations = 8 + rng.below(12);
  knobs.keys = 2 + rng.below(6);
  knobs.think_max = milliseconds(rng.chance(0.3) ? 20 : 100 + rng.below(1500));
  knobs.large = rng.chance(0.5) ? 0.3 : 0.7;
  knobs.huge = rng.chance(0.1) ? 0.1 : 0;
  knobs.reclaim = rng.chance(0.3);
  knobs.victim = rng.below(knobs.nodes);
  // From a fault every other operation to one in a while.
  auto pace = 0.2 + 0.1 * static_cast<double>(rng.below(30));
  auto think = static_cast<double>(knobs.think_max.count());
  knobs.calm_max = milliseconds(50) + Duration(static_cast<int64_t>(pace * think));
  SimNetworkFaults network = draw_network(rng);
  if (only.empty() || only == "network") knobs.network = network;
  // None, one, a few, or half of all.
  uint64_t dice = rng.below(10);
  double each = dice == 0 ? 0 : dice < 8 ? 0.12 : 0.5;
  for (size_t i = 0; i < static_cast<size_t>(Fault::kCount); ++i) {
    bool drawn = rng.chance(each);
    if (!only.empty()) drawn = only == kNames[i];
    if (drawn && possible(static_cast<Fault>(i), knobs))
      knobs.faults.push_back(static_cast<Fault>(i));
  }
  return knobs;
}

std::string Knobs::describe() const {
  std::string text = fmt::format(
      "{} nodes, {} zones, {} clients x {} operations on {} keys{}; loss {:.2f}, "
      "duplicates {:.2f}, stragglers {:.2f}, delay up to {} us; faults:",
      nodes, zones, clients, operations, keys, reclaim ? ", reclaim" : "", network.loss,
      network.duplicate, network.straggle,
      std::chrono::duration_cast<microseconds>(network.delay_max).count());
  for (Fault fault : faults) text += fmt::format(" {}", fault_name(fault));
  return text + (faults.empty() ? " none" : "");
}

}  // namespace covey::sim
