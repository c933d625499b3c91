// Snapshots: keeps in a data directory what the metadata can be rebuilt from: verified snapshots,
// and copies of the journals that were closed since (the store makes those, journal_archive.cpp).
// The last two snapshots stay, and all journals since the older one, so that a damaged snapshot
// costs nothing.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/async/event.h"
#include "base/async/runtime.h"
#include "base/core/limits.h"
#include "store/meta/kv.h"
#include "store/meta/verifier.h"

namespace covey {

// Where things stand below DATA_DIR/metadata (docs/formats/snapshot.md).
struct MetaFolders {
  explicit MetaFolders(const std::string& data_dir) : top(data_dir + "/metadata") {}
  std::string top;
  std::string journal() const { return top + "/journal"; }
  std::string archive() const { return top + "/archive"; }
  std::string snapshots() const { return top + "/snapshots"; }
};

struct SnapshotFile {
  std::string name;
  KvSnapshot covers;
};
// What the folder holds, the oldest first; files whose header is damaged are left out.
Task<Result<std::vector<SnapshotFile>>> list_snapshots(Disk& disk, std::string folder);

struct SnapshotSettings {
  Duration interval = std::chrono::hours(24);
  Duration check = std::chrono::seconds(10);        // how often it is looked whether one is due
  Duration first_after = std::chrono::seconds(30);  // of the start, when nothing could be rebuilt
  Duration retry = std::chrono::minutes(5);         // after one that failed
  uint64_t bytes_per_second = 8 * kMiB;
  // A snapshot is due when the journals since the last one are as large as this, or as twice that
  // snapshot: so snapshots are at most half of what is written for rebuilds.
  uint64_t journal_bytes = kGiB;
};

class Snapshots {
 public:
  // Everything outlives it. The store is verified before each snapshot.
  Snapshots(Runtime runtime, Kv& kv, Verifier& verifier, MetaFolders folders,
            SnapshotSettings settings)
      : runtime_(runtime),
        kv_(kv),
        verifier_(verifier),
        folders_(std::move(folders)),
        settings_(settings) {}

  // Finds what is there. Errors: kIo, kNoSpace.
  Task<Status> open();
  // Until the scope stops.
  Task<void> run(Scope& scope);
  // Has run() make one soon, whether it is due or not.
  void ask() { asked_ = true; }
  // Whether there is space for a copy of another journal. For KvOptions::may_archive.
  bool may_archive() const { return !short_of_space_; }

  struct Progress {
    std::vector<SnapshotFile> kept;  // verified when they were made; the oldest first
    uint64_t journal_bytes = 0;      // of copies of closed journals
    bool running = false;            // or asked for
    uint64_t attempts = 0;           // that have ended since the start
    // The metadata can be rebuilt from what is kept.
    bool covered = false;
    std::string trouble;  // why not, or why the last one failed; for people
  };
  Progress progress() const;
  // Of the last one; nullopt: there is none.
  std::optional<int64_t> age_ms() const;

 private:
  Task<Status> look();
  Task<void> look_at_space();
  bool due() const;
  bool covered() const;
  uint64_t journal_bytes_since(uint64_t generation) const;
  Task<Status> prune(size_t snapshots);
  Task<Status> take();
  Task<Result<KvSnapshot>> make();

  struct Copy {
    uint64_t generation = 0, bytes = 0;
  };

  Runtime runtime_;
  Kv& kv_;
  Verifier& verifier_;
  MetaFolders folders_;
  SnapshotSettings settings_;
  std::vector<SnapshotFile> kept_;
  std::vector<Copy> copies_;  // of journals, by generation
  TimePoint started_, not_before_;
  bool running_ = false, asked_ = false;
  uint64_t attempts_ = 0;
  bool short_of_space_ = false;
  uint64_t total_bytes_ = 0;  // of the file system
  std::string trouble_;
};

}  // namespace covey
