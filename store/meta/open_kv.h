// Opening the metadata store.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/async/runtime.h"
#include "base/core/limits.h"
#include "store/meta/fold_target.h"
#include "store/meta/kv.h"

namespace covey {

struct KvOptions {
  std::string dir;  // the metadata folder; the journal is dir/journal, LMDB's file dir/meta.mdb
  // Called once when the disk failed: nobody knows what is on it, so nothing more is acknowledged.
  // main() ends the process here; tests take note. Writes that wait then fail with kIo.
  std::function<void(const Error&)> fatal;

  uint64_t journal_file_bytes = 16 * kMiB;
  size_t journal_files_max = 6;
  size_t fold_bytes = 8 * kMiB;         // the active table is folded when it is this large
  size_t table_bytes_max = 24 * kMiB;   // both tables together; beyond it kOverloaded
  size_t waiting_bytes_max = 4 * kMiB;  // of batches that wait for the disk; beyond it kOverloaded
  size_t batch_bytes_max = 4 * kMiB;    // of one batch; beyond it kTooLarge
};

// Opens or creates the store: reads LMDB's position, replays the journal from there, folds. Errors:
// kCorrupt (acknowledged batches are damaged: the node must not vote; the message says what to do),
// kIo, kNoSpace. `target` and what `runtime` refers to outlive the store.
Task<Result<std::unique_ptr<Kv>>> open_kv(KvOptions options, Runtime runtime, FoldTarget& target);

// The same on real LMDB, with its writer thread, both owned by the store.
Task<Result<std::unique_ptr<Kv>>> open_local_kv(KvOptions options, Runtime runtime);

}  // namespace covey
