// SimDisk: base/async/disk.h in memory, with its crash model and faults on demand.
//
// A write is seen by reads at once and counts as durable after a sync that started later. crash()
// chooses, for every 512-byte sector written since, one of the versions it has had, and drops or
// keeps every directory change that no sync_dir covered. Folders themselves are durable at once.
// After a crash all open files are dead: operations fail with kIo and change nothing, those under
// way too. Open them again.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/async/disk.h"
#include "tests/sim/sim_loop.h"
#include "tests/sim/sim_rng.h"

namespace covey {

inline constexpr size_t kSimSectorBytes = 512;

struct SimDiskFaults {
  Duration latency_min{0};  // of every operation, uniform
  Duration latency_max{0};
  Duration sync_latency{0};  // on top, for sync, write_sync and sync_dir
  uint32_t fail_reads = 0;   // the next n fail with kIo
  uint32_t fail_writes = 0;  // the next n fail with kIo; a part may have been written
  // The next n fail with kIo. As in Linux, what they covered is still read, but no later sync makes
  // it durable; only writing it again does ("Can applications recover from fsync failures?",
  // ATC'20).
  uint32_t fail_syncs = 0;
  uint32_t tear_writes = 0;       // the next n report success but leave some sectors unwritten
  uint32_t misdirect_writes = 0;  // the next n report success but go somewhere else in the file
  std::string misdirect_below;    // only files whose path begins so
  uint64_t capacity_bytes = UINT64_MAX;  // sum of file sizes; beyond it kNoSpace
};

class SimDisk : public Disk {
 public:
  SimDisk(SimLoop& loop, SimRng rng) : loop_(loop), rng_(rng) {}

  SimDiskFaults faults;

  // Power loss, now.
  void crash() { crash(rng_); }
  void crash(Rng& rng);
  // Power loss that loses everything unsynced: the harshest case of the model.
  void crash_dropping_all();
  // The process is killed: what it wrote is still there, though not durable.
  void halt() { crash_countdown_ = UINT64_MAX, ++crashes_; }
  // Another disk takes its place, an empty one.
  void wipe();
  // Power loss when `writes` more write or sync operations have started; UINT64_MAX: never.
  void crash_after(uint64_t writes) { crash_countdown_ = writes; }
  // Called when crash_after() has come true.
  std::function<void()> on_power_loss;
  uint64_t crashes() const { return crashes_; }
  // Everything that can be read now, kept apart: a backup of the whole disk, for restore().
  struct Image;
  std::shared_ptr<const Image> image() const;
  // The disk is as it was then, all of it durable. A crash for whoever runs on it.
  void restore(const Image& image);
  uint64_t writes_started() const { return writes_started_; }
  uint64_t syncs_done() const { return syncs_done_; }
  uint64_t misdirected() const { return misdirected_; }

  // Bit rot at rest. REQUIRES: the file exists and is longer.
  void flip_bit(const std::string& path, uint64_t offset, uint8_t bit);
  // The end of a file is gone, for good. REQUIRES: the file exists.
  void cut_file(const std::string& path, uint64_t size);
  bool exists(const std::string& path) const { return entries_.contains(path); }
  // The end of what was ever written to it; what was only allocated does not count.
  uint64_t written_bytes(const std::string& path) const;
  uint64_t file_size(const std::string& path) const;
  std::string content(const std::string& path) const;
  std::vector<std::string> paths() const;
  uint64_t used_bytes() const;

  Task<Result<std::unique_ptr<File>>> open(std::string path, Open mode) override;
  Task<Status> rename(std::string from, std::string to) override;
  Task<Status> remove(std::string path) override;
  Task<Status> make_dir(std::string path) override;
  Task<Status> sync_dir(std::string path) override;
  Task<Result<std::vector<std::string>>> list(std::string path) override;
  Task<Result<DiskSpace>> space(std::string path) override;

 private:
  friend class SimFile;
  using Sector = std::array<char, kSimSectorBytes>;
  struct OldVersion {
    Sector bytes;
    uint64_t replaced_by;  // the number of the write that replaced it
  };
  struct Inode {
    uint64_t size = 0;
    std::unordered_map<uint64_t, Sector> sectors;            // a missing one reads as zeros
    std::map<uint64_t, std::vector<OldVersion>> older;       // not synced: oldest first
    std::vector<std::pair<uint64_t, uint64_t>> older_sizes;  // (size, replaced by)
  };
  using InodeRef = std::shared_ptr<Inode>;
  static std::map<std::string, InodeRef> copy(const std::map<std::string, InodeRef>& entries);
  struct DirChange {
    std::string gone;  // empty: none
    std::string made;  // empty: none
    InodeRef inode;
  };

  static std::string folder_of(const std::string& path);
  static std::string read_range(const Inode& inode, uint64_t offset, size_t size_bytes);
  static void set_size(Inode& inode, uint64_t size, uint64_t number);
  static void write_sector(Inode& inode, uint64_t index, const Sector& bytes, uint64_t number);
  static void write_range(Inode& inode, uint64_t offset, std::string_view bytes, uint64_t number);
  static void make_durable(Inode& inode, uint64_t number);
  static void forsake(Inode& inode, uint64_t number);
  static void apply(std::map<std::string, InodeRef>& entries, const DirChange& change);
  static void crash_inode(Inode& inode, Rng* rng);
  void crash_with(Rng* rng);
  void change(DirChange change);
  // Counts an operation towards crash_after.
  void count_write();
  bool alive(uint64_t epoch) const { return epoch == crashes_; }
  // Waits for the operation's latency. False: the machine went down meanwhile.
  Task<bool> delay(bool sync);
  Status write_inode(const std::string& path, Inode& inode, uint64_t offset,
                     const std::string& bytes);

  SimLoop& loop_;
  SimRng rng_;
  std::map<std::string, InodeRef> entries_;
  std::map<std::string, InodeRef> durable_entries_;
  std::vector<DirChange> unsynced_;
  std::set<std::string> folders_{"", "/", "."};
  uint64_t crashes_ = 0;
  uint64_t crash_countdown_ = UINT64_MAX;
  uint64_t write_number_ = 0;
  uint64_t writes_started_ = 0;
  uint64_t syncs_done_ = 0;
  uint64_t misdirected_ = 0;
};

}  // namespace covey
