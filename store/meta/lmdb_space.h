// LmdbSpace: disk space that stays allocated behind the end of LMDB's file, so that folds work when
// the disk is full: LMDB copies a page before it changes it, deletes too. Writer thread only, but
// for roomy().
#pragma once

#include <lmdb.h>

#include <atomic>
#include <cstdint>

#include "base/core/limits.h"

namespace covey {

inline constexpr uint64_t kLmdbAheadBytes = 32 * kMiB;

class LmdbSpace {
 public:
  // `env` is open and outlives it.
  explicit LmdbSpace(MDB_env* env) : env_(env) {}

  // Allocates up to kLmdbAheadBytes behind what LMDB uses, or as much as there is.
  void top_up();
  // False while less than half of that could be had. Any thread.
  bool roomy() const { return ahead_ >= kLmdbAheadBytes / 2; }
  // Likewise a quarter: the rest is for what frees space.
  bool room_for_repair() const { return ahead_ >= kLmdbAheadBytes / 4; }
  // LMDB reports a short write, which is how a full disk may show, as an I/O error.
  bool disk_full() const;

 private:
  bool allocate(uint64_t from, uint64_t bytes);

  MDB_env* env_;
  uint64_t allocated_end_ = 0;
  bool unsupported_ = false;  // this file system cannot allocate ahead
  std::atomic<uint64_t> ahead_ = kLmdbAheadBytes;
};

}  // namespace covey
