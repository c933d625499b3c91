// Kv: the local metadata store. Ordered byte keys to byte values, atomic durable batches, ordered
// scans over a snapshot. Behind it stand a preallocated journal (one record and one sync per group
// commit; the next group starts when the previous one ends), a bounded in-memory table of what the
// journal holds, and LMDB, into which that table is folded.
//
// Visibility: a batch is visible to get() and scan() on this node as soon as write() has been
// called, before it is durable: later decisions must see earlier ones. Whoever tells another node
// what it read first awaits durable(version of what it read).
//
// Failure: an I/O error or a failed sync ends the process with a message (nobody knows what is on
// the disk then). A full disk fails write() with kNoSpace before anything of the batch is visible.
//
// Loop thread only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/async/clock.h"
#include "base/async/task.h"
#include "base/core/level.h"
#include "base/core/result.h"

namespace covey {

// Counts batches in the order they became visible. 0: long since durable.
using KvVersion = uint64_t;

class WriteBatch {
 public:
  struct Op {
    std::string key;
    std::optional<std::string> value;  // nullopt: erase
  };
  // REQUIRES: 0 < key.size() <= kKvKeyBytesMax, value.size() <= kKvValueBytesMax. A later op on the
  // same key wins.
  void put(std::string key, std::string value);
  void erase(std::string key);
  bool empty() const { return ops_.empty(); }
  const std::vector<Op>& ops() const { return ops_; }
  std::vector<Op>& ops() { return ops_; }
  size_t bytes() const;

  // For what frees space (tombstones, collection): this batch may use the space that is kept in
  // reserve for a full disk. A batch that only erases may anyway.
  void use_reserve() { share_ = Share::kAll; }
  // For what brings this replica to what others have acknowledged: it may use a part of that, so
  // that replicas which filled up together do not differ for ever by what was then under way.
  void use_repair_share() { share_ = std::max(share_, Share::kRepair); }
  enum class Share : uint8_t { kNone, kRepair, kAll };
  Share reserve_share() const;

 private:
  std::vector<Op> ops_;
  Share share_ = Share::kNone;
};

struct KvValue {
  std::string bytes;
  KvVersion version = 0;  // await durable(version) before telling anybody
};

// A consistent ordered view of [begin, end). Short-lived: never kept across a co_await, and nothing
// is written while one exists (collect first, then write).
class KvIterator {
 public:
  virtual ~KvIterator() = default;
  // False at the end or after an error; then status() says which.
  virtual bool valid() const = 0;
  virtual std::string_view key() const = 0;    // borrowed until next() or seek()
  virtual std::string_view value() const = 0;  // borrowed until next() or seek()
  virtual KvVersion version() const = 0;
  virtual void next() = 0;
  // To the first key >= `key` (never backwards).
  virtual void seek(std::string_view key) = 0;
  virtual Status status() const = 0;  // kCorrupt, kIo
};

// What a snapshot covers: all up to `sequence`; what follows stands in journals of this generation
// and later ones.
struct KvSnapshot {
  uint64_t sequence = 0, generation = 0;
  uint64_t rows = 0, bytes = 0;
  int64_t made_ms = 0;  // since 1970
};

struct KvJournalState {
  uint64_t first_unarchived = 0;  // generation: those before it have a copy, or were skipped
  uint64_t after_skipped = 0;     // those before it may lack a copy; 0: none was skipped
};

class Kv {
 public:
  virtual ~Kv() = default;

  // nullopt: certainly absent. Errors: kCorrupt (the row or its page failed its checksum: never
  // treat as absent), kIo.
  virtual Result<std::optional<KvValue>> get(std::string_view key) = 0;
  virtual std::unique_ptr<KvIterator> scan(std::string begin, std::string end) = 0;

  // Atomic; visible when the Task is awaited, before it suspends; durable when the Task completes.
  // Errors: kNoSpace, kOverloaded (too much waits for the disk), kTooLarge (a key, a value or the
  // batch): nothing was done. kIo: the process is ending, the outcome is unknown.
  virtual Task<Status> write(WriteBatch batch) = 0;
  // Visible at once and as a whole, but it reaches the disk only with the next fold; a crash may
  // lose all of it or some of its rows: for what can be found again (block locations, committed
  // flags).
  virtual Status write_unlogged(WriteBatch batch) = 0;
  // Does write() refuse, or will it soon, since the disk is behind? Whoever decides and writes in
  // one step asks before that, and waits with relief(): until it is over, or `deadline`. False
  // where waiting does not help, as on a full disk.
  virtual bool busy() const { return false; }
  virtual Task<void> relief(TimePoint) { co_return; }
  // Completes when everything up to `version` is durable.
  virtual Task<Status> durable(KvVersion version) = 0;
  virtual KvVersion visible_version() const = 0;

  // Counts durable batches over the whole life of the store; it never goes back unless the store
  // was restored from an older copy. Peers remember it, so that a store that forgot is noticed.
  virtual uint64_t durable_sequence() const = 0;

  // Everything visible so far is in LMDB when it completes. For snapshots, clean shutdown and
  // tests.
  virtual Task<Status> fold() = 0;
  // Writes a consistent copy of all rows to the file `path` (snapshot_file.h) while serving, at
  // most so fast, and reads it back before it bears that name. Errors: kCorrupt (a row is damaged),
  // kNoSpace, kOverloaded (try again), kIo.
  virtual Task<Result<KvSnapshot>> snapshot(std::string path, uint64_t bytes_per_second) = 0;
  virtual KvJournalState journal_state() const { return {}; }
  virtual Levels levels() const { return {}; }
  // Reads everything that is folded, at most so fast, and finds damage that no look-up sees.
  // Errors: kCorrupt (told to KvOptions::damaged as well), kOverloaded (try again), kIo.
  virtual Task<Status> verify(uint64_t bytes_per_second) {
    (void)bytes_per_second;
    co_return Status();
  }

  // Waits for background work; afterwards the store may be destroyed. Writes that were awaited are
  // durable already; call fold() before for a fast next start. REQUIRES: no write is under way.
  virtual Task<void> close() { co_return; }
};

}  // namespace covey
