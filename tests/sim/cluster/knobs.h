// Knobs: everything that a seed decides about a run. Each fault is off in most seeds, so that a run
// which fails shows few suspects, and some seeds have many at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/async/clock.h"
#include "base/core/limits.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_rng.h"

namespace covey::sim {

// What goes wrong now and then. Each is drawn by itself; during a run the drawn ones take turns.
enum class Fault : uint8_t {
  kPower,       // a machine loses power: unsynced sectors are lost, kept or older, each for itself
  kPowerHard,   // likewise, and everything unsynced is lost
  kPowerLater,  // likewise, in the middle of one of its next writes, syncs or directory changes
  kPowerAll,    // all machines lose power at once
  kKill,        // a process is killed; its files stay as it left them
  kRestart,     // a process ends in good order and starts again
  kCut,         // a node is cut off from all others, both ways
  kCutOneWay,   // what one node sends to another is lost
  kClog,        // what one node sends to another waits for up to 8 s, then comes in any order
  kSlowDisk,    // operations take up to 60 ms, syncs up to 250 ms more
  kBadWrite,    // a write fails with EIO: the node must stop
  kBadSync,     // a sync fails with EIO: the node must stop
  kBadRead,     // a read fails with EIO
  kFullDisk,    // not a byte is free for a while
  kBitFlip,     // bits of segment files turn over at rest; on one machine per run
  kMisdirect,   // a write to a segment goes elsewhere in its file; on that same machine
  kCutFile,     // a segment file loses its end; on that same machine
  kRot,         // rows of the metadata store at rest fail their checksums; on that same machine
  kClockJump,   // the wall clock jumps by up to an hour, either way
  kClockDrift,  // the monotonic clock runs up to 5 % fast or slow
  kOtherRelease,  // a node restarts as a release of another protocol: only gossip understands it
  kCount,
};
const char* fault_name(Fault fault);

// What operators do to a cluster that is in use.
enum class Change : uint8_t {
  kJoin,        // another machine comes
  kDrain,       // a node is to go, and gives up what it has first
  kReturn,      // one that has gone comes back
  kRemoveDead,  // a machine burns down, or seems to, and its node is removed
  kReplace,     // a machine loses all it had, and comes back as another node with its old name
  kZone,        // a node moves to another zone
  kCapacity,    // a node gets a larger or a smaller disk
  kRevert,      // a change under way is taken back
  kCount,
};
const char* change_name(Change change);

struct Knobs {
  // ---- the cluster
  size_t nodes = 3;
  size_t machines = 3;  // with those that may come later
  size_t zones = 3;
  uint32_t partitions = 8;
  // ---- the load
  size_t clients = 3;
  size_t operations = 12;  // of each client
  size_t keys = 5;
  Duration think_max = std::chrono::milliseconds(400);  // between operations of a client
  double large = 0.3;                                   // bodies that go into blocks
  // What was displaced is given back after a while; before the last checks all of it is gone.
  bool reclaim = false;
  std::chrono::seconds reclaim_delay{30};
  Duration reclaim_pause = std::chrono::seconds(5);
  std::chrono::seconds upload_expiry = std::chrono::hours(24 * 7);
  Duration resync_every = std::chrono::seconds(20);
  // Small files of the journal serve again soon, and slow folds still need what stood in them.
  uint64_t journal_file_bytes = 128 * kKiB;
  // In some seeds so small that blocks wait for each other.
  uint64_t memory_cap_bytes = 256 * kMiB;
  Duration fold_pace{0};  // of each transaction of the metadata store, at most
  // Clients of an available bucket, too (available_load.h). Not where a machine's data is lost for
  // ever or goes bad: of what it took while it was alone there is no other copy.
  bool available = false;
  double huge = 0;  // bodies of several blocks; multipart uploads of several parts
  // ---- what goes wrong
  SimNetworkFaults network;  // all the time: loss, duplication, delay (and so reordering)
  std::vector<Fault> faults;
  Duration calm_max = std::chrono::milliseconds(1500);  // between two faults
  size_t victim = 0;  // the machine whose disk goes bad silently or is lost: other copies stay good
  // ---- how the layout changes
  std::vector<Change> changes;  // one after the other
  Duration change_pause_max{};

  // `only`: a name of a fault or a change, to see it alone ("layout": all changes, "network": loss,
  // delay and the like); empty: as the seed says.
  static Knobs draw(uint64_t seed, const std::string& only);
  bool has(Fault fault) const;
  std::string describe() const;
};

}  // namespace covey::sim
