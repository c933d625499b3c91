// Opening the metadata store.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/async/runtime.h"
#include "base/core/limits.h"
#include "store/meta/fold_target.h"
#include "store/meta/kv.h"

namespace covey {

struct KvOptions {
  std::string dir;          // the metadata folder; LMDB's file is dir/meta.mdb
  std::string journal_dir;  // empty: dir/journal
  // Where its files may stand from before; read, and removed when they are not needed any more.
  std::vector<std::string> other_journal_dirs;
  // Where closed journal files are copied before they are used again; empty: nowhere.
  std::string archive_dir;
  // Asked before each copy; false: none is made (space is short). Empty: always.
  std::function<bool()> may_archive;
  // For rebuilds: what is found is neither overwritten, copied nor removed.
  bool keep_journals = false;
  // For rebuilds of what is damaged: the journal counts up to the first damage, and what is wrong
  // is told here.
  std::string* damage = nullptr;
  uint64_t first_sequence = 1;  // of a store in which nothing is
  // Called once when the disk failed: nobody knows what is on it, so nothing more is acknowledged.
  // main() ends the process here; tests take note. Writes that wait then fail with kIo.
  std::function<void(const Error&)> fatal;

  // Called once, later on the loop, when a look-up, a scan or verify() met damage in LMDB's file.
  std::function<void(const Error&)> damaged;
  // LMDB's file is read as a whole before it is opened (lmdb_check.h). open_local_kv() only.
  bool check = false;

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
