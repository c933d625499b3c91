// LocalStore: the node's own metadata store and segments on real files, as node/ opens them, but
// with the simulation's loop and pool: one thread, so that a seed gives the same calls in the same
// order.
#pragma once

#include <memory>
#include <string>

#include "base/os/os_disk.h"
#include "store/block/segment_store.h"
#include "store/meta/lmdb_target.h"
#include "store/meta/open_kv.h"
#include "tests/sim/sim_loop.h"
#include "tests/sim/sim_pool.h"
#include "tests/sim/sim_rng.h"

namespace covey {

// Small, so that a short load rotates, folds, seals and compacts.
inline constexpr uint64_t kCrashJournalBytes = 32 * kKiB;
inline constexpr uint64_t kCrashSegmentBytes = 64 * kKiB;
inline constexpr size_t kCrashDirectBytes = 8 * kKiB;

class LocalStore {
 public:
  LocalStore(std::string root, uint64_t seed);
  ~LocalStore();
  LocalStore(const LocalStore&) = delete;

  Status open();
  void close();

  Lmdb& lmdb() { return *lmdb_; }
  Kv& kv() { return *kv_; }
  SegmentStore& segments() { return *segments_; }
  SimLoop& loop() { return loop_; }
  SimRng& rng() { return rng_; }
  const std::optional<Error>& fatal() const { return fatal_; }
  void delay_disk(Duration max) { pool_.set_delay_max(max); }

 private:
  std::string root_;
  SimLoop loop_;
  SimRng rng_;
  SimPool pool_;
  OsDisk disk_;
  std::optional<Error> fatal_;
  std::unique_ptr<Lmdb> lmdb_;
  std::unique_ptr<Kv> kv_;
  std::unique_ptr<SegmentStore> segments_;
};

}  // namespace covey
