// World: one simulated cluster under one seed, from its formation to the last check.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/cluster/history.h"
#include "tests/sim/cluster/knobs.h"
#include "tests/sim/cluster/sim_node.h"
#include "tests/sim/cluster/trace.h"

namespace covey::sim {

inline constexpr const char* kSimBucket = "bucket";

struct Counts {
  uint64_t ok = 0, refused = 0, missing = 0, not_done = 0, unknown = 0;
  uint64_t cut_off = 0;  // of all: answered in time on the minority's side
  uint64_t power_cuts = 0, kills = 0;
  // Damage that was done to data and metadata at rest; copies that were found bad, those fetched in
  // their place, and all that were read at the end and found good.
  uint64_t flips = 0, files_cut = 0, misdirected = 0, rows_spoilt = 0;
  uint64_t bad_copies = 0, fetched_copies = 0, good_copies = 0;
  std::map<std::string, uint64_t> most;  // that a node held of something (Level)
  void add(const Counts& other) {
    ok += other.ok, refused += other.refused, missing += other.missing;
    not_done += other.not_done, unknown += other.unknown, cut_off += other.cut_off;
    power_cuts += other.power_cuts, kills += other.kills;
    flips += other.flips, files_cut += other.files_cut, misdirected += other.misdirected;
    rows_spoilt += other.rows_spoilt, bad_copies += other.bad_copies;
    fetched_copies += other.fetched_copies, good_copies += other.good_copies;
    for (const auto& [name, used] : other.most) most[name] = std::max(most[name], used);
  }
};

class AvailableLoad;
class Operator;

class World {
 public:
  ~World();

  // `only`: a fault's name, or empty (knobs.h).
  World(uint64_t seed, const std::string& only, Trace::Print print);

  // True: nothing was found wrong. Once.
  bool run();

  // Something is wrong: this seed fails.
  void complain(const std::string& what);
  // A process that serves S3; nullptr if none does.
  std::shared_ptr<Incarnation> pick(SimRng& rng);
  // The machines that run, or are to run: never none.
  std::vector<SimNode*> in_service() const;

  // No partition has a quorum among this node and those that it reaches, be it through others: a
  // node may propose to one that has a quorum of its own. A majority of the members says nothing:
  // of four nodes two are a quorum of the partitions that have both.
  bool cut_off(const Incarnation& at) const;

  // What the victim has may be had nowhere else: it is the only member, or about to be, and what
  // is written to it goes to no other disk. Then its disk must not go bad: no store could have that
  // back.
  bool only_victim() const { return only_victim_; }

  // A client saw this object at `key`; its metadata names write `id`.
  void saw_object(const std::string& key, const ObjectInfo& info, int id);

  const uint64_t seed;
  Knobs knobs;
  SimLoop loop;
  SimRng rng;
  Trace trace;
  SimNetwork net;
  SimWires wires;
  std::vector<std::unique_ptr<SimNode>> nodes;
  History history;
  Counts counts;
  std::vector<std::string> keys;

 private:
  bool form();
  bool formed() const;
  // The clients do what they do, under faults or without.
  void work(bool faults);
  // Ends all faults, and waits until every node serves.
  bool heal();
  // Waits until the layout is what it was to be.
  void end_changes(const Operator& admin);
  void check_available();
  void last_checks();
  // Every replica gets what it lacks; the repair ends.
  void converge();
  std::string not_converged();
  void reclaim_all();
  size_t garbage(SimNode& node, bool describe);
  // Every copy is read; what is bad is found, and the others' copies take its place.
  void describe_repairs();
  size_t parts_left(SimNode& node);
  void scrub();
  bool scrubbed() const;
  Task<void> read_copies(SimNode& node);
  void check_idle();
  // No node holds more of anything than its limit allows; called at every step.
  void look_for_endangered();
  void watch();
  Task<void> look_at_everything();
  void check_histories();
  void end();
  void adopted(const LayoutState& state);

  std::unique_ptr<AvailableLoad> available_;  // nullptr: this seed has none
  bool good_ = true;
  uint64_t steps_ = 0;
  uint32_t epoch_ = 0;  // the newest that a node has adopted
  bool only_victim_ = false;
};

}  // namespace covey::sim
