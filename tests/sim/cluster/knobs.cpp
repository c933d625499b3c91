#include "tests/sim/cluster/knobs.h"

#include <fmt/format.h>

#include <algorithm>

namespace covey::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr const char* kNames[] = {
    "power",      "power-hard",  "power-later",  "power-all", "kill",      "restart",
    "cut",        "cut-one-way", "clog",         "slow-disk", "bad-write", "bad-sync",
    "bad-read",   "full-disk",   "bit-flip",     "misdirect", "cut-file",  "rot",
    "clock-jump", "clock-drift", "other-release"};
static_assert(std::size(kNames) == static_cast<size_t>(Fault::kCount));

constexpr const char* kChanges[] = {"join",    "drain", "return",   "remove-dead",
                                    "replace", "zone",  "capacity", "revert"};
static_assert(std::size(kChanges) == static_cast<size_t>(Change::kCount));

SimNetworkFaults draw_network(SimRng& rng) {
  SimNetworkFaults network;
  network.delay_max = rng.chance(0.5) ? milliseconds(2) : milliseconds(2 + rng.below(60));
  if (rng.chance(0.3)) network.loss = 0.01 * static_cast<double>(1 + rng.below(8));
  if (rng.chance(0.3)) network.duplicate = 0.1;
  if (rng.chance(0.3)) network.straggle = 0.05;
  network.straggle_max = milliseconds(300 + rng.below(5000));
  return network;
}

// Damages copies of blocks.
bool is_silent(Fault fault) {
  return fault == Fault::kBitFlip || fault == Fault::kMisdirect || fault == Fault::kCutFile;
}

// Silent damage needs another good copy.
bool possible(Fault fault, const Knobs& knobs) {
  bool silent = is_silent(fault);
  // Who has rot is replaced, and that takes three copies.
  if (fault == Fault::kRot) return knobs.nodes >= 3;
  bool link = fault == Fault::kCut || fault == Fault::kCutOneWay || fault == Fault::kClog ||
              fault == Fault::kOtherRelease;
  return knobs.nodes > 1 || (!silent && !link);
}

size_t draw_nodes(SimRng& rng) {
  uint64_t dice = rng.below(100);
  if (dice < 70) return 3;
  return dice < 78 ? 1 : dice < 84 ? 2 : dice < 90 ? 4 : 5;
}

// A third of all seeds changes the layout, and then takes longer.
void draw_changes(SimRng rng, const std::string& only, Knobs& knobs) {
  auto named = std::find(std::begin(kChanges), std::end(kChanges), only);
  bool one = named != std::end(kChanges), drawn = rng.chance(0.35);
  if (one || only == "layout") drawn = true;
  if (!one && !only.empty() && only != "layout") return;
  if (!drawn) return;
  for (size_t i = 0, count = 1 + rng.below(4); i < count; ++i) {
    auto which = static_cast<Change>(rng.below(std::size(kChanges)));
    if (one) which = static_cast<Change>(named - std::begin(kChanges));
    // Before anything else there is nothing to return from or to take back.
    bool second = which == Change::kReturn || which == Change::kRevert;
    if (i == 0 && second) knobs.changes.push_back(rng.chance(0.5) ? Change::kDrain : Change::kJoin);
    knobs.changes.push_back(which);
  }
  knobs.machines = knobs.nodes + 1 + rng.below(2);
  knobs.operations = 15 + rng.below(15);
  knobs.think_max = milliseconds(300 + rng.below(4000));
  // Most begin while the clients are at work, whose faults last half of the time.
  auto busy = knobs.think_max * static_cast<int64_t>(knobs.operations) / 2;
  knobs.change_pause_max = 2 * busy / static_cast<int64_t>(knobs.changes.size());
}

// What the stores of all nodes have in common.
void draw_store(SimRng rng, Knobs& knobs) {
  if (rng.chance(0.25)) {
    knobs.journal_file_bytes = 32 * kKiB;
    knobs.fold_pace = milliseconds(200 + rng.below(4000));
  }
  if (rng.chance(0.5)) knobs.reclaim_pause = milliseconds(300);
  if (rng.chance(0.3)) knobs.upload_expiry = std::chrono::seconds(20);
}

}  // namespace

const char* change_name(Change change) { return kChanges[static_cast<size_t>(change)]; }
const char* fault_name(Fault fault) { return kNames[static_cast<size_t>(fault)]; }

Knobs Knobs::draw(uint64_t seed, const std::string& only) {
  SimRng rng = SimRng(seed).split("knobs");
  Knobs knobs;
  knobs.nodes = knobs.machines = draw_nodes(rng);
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
  draw_changes(rng.split("changes"), only, knobs);
  if (rng.chance(0.5)) knobs.fold_pace = milliseconds(1 + rng.below(40));
  if (rng.chance(0.5)) knobs.reclaim_delay = std::chrono::seconds(4);
  if (rng.chance(0.5)) knobs.resync_every = std::chrono::seconds(90);
  draw_store(SimRng(seed).split("store"), knobs);
  SimRng memory = SimRng(seed).split("memory");
  if (memory.chance(0.25)) knobs.memory_cap_bytes = (8 + memory.below(24)) * kMiB;
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
  if (knobs.has(Fault::kRot)) {
    // Its node cannot mend itself, nor leave in good order: in the end it is replaced.
    std::replace(knobs.changes.begin(), knobs.changes.end(), Change::kRemoveDead, Change::kReplace);
    knobs.changes.push_back(Change::kReplace);
    if (knobs.change_pause_max == Duration(0)) knobs.change_pause_max = std::chrono::seconds(10);
  }
  bool loses_data = std::any_of(knobs.changes.begin(), knobs.changes.end(), [](Change change) {
    return change == Change::kRemoveDead || change == Change::kReplace;
  });
  // What a node takes for an available bucket while it is alone has one copy.
  loses_data |= std::any_of(knobs.faults.begin(), knobs.faults.end(), is_silent);
  knobs.available = SimRng(seed).split("available").chance(0.5) && !loses_data;
  return knobs;
}

bool Knobs::has(Fault fault) const {
  return std::find(faults.begin(), faults.end(), fault) != faults.end();
}

std::string Knobs::describe() const {
  std::string text = fmt::format(
      "{} nodes, {} zones, {} clients x {} operations on {} keys{}; loss {:.2f}, "
      "duplicates {:.2f}, stragglers {:.2f}, delay up to {} us; faults:",
      nodes, zones, clients, operations, keys,
      std::string(reclaim ? ", reclaim" : "") + (available ? ", available" : ""), network.loss,
      network.duplicate, network.straggle,
      std::chrono::duration_cast<microseconds>(network.delay_max).count());
  for (Fault fault : faults) text += fmt::format(" {}", fault_name(fault));
  if (faults.empty()) text += " none";
  if (!changes.empty()) text += fmt::format("; {} machines, changes:", machines);
  for (Change change : changes) text += fmt::format(" {}", change_name(change));
  return text;
}

}  // namespace covey::sim
