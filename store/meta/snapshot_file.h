// Snapshot files: writing one from a store that serves, reading one back.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/async/clock.h"
#include "base/async/disk.h"
#include "store/meta/fold_target.h"
#include "store/meta/snapshot_format.h"

namespace covey {

// The cursor is a long one of the target, made in the turn in which what it covers was read.
struct SnapshotSource {
  FoldTarget& target;
  std::unique_ptr<FoldCursor> cursor;
  const bool& cancelled;  // asked now and then; lives as long as the work
};

// Writes the source's rows to `path`, at most so fast, and reads it back before it bears that name
// (the name is durable). Errors: kCorrupt, kNoSpace, kOverloaded (cancelled, or the target needs
// the rows to be let go), kIo; what was written is removed.
Task<Result<KvSnapshot>> write_snapshot(Disk& disk, Clock& clock, SnapshotSource source,
                                        KvSnapshot snapshot, std::string path,
                                        uint64_t bytes_per_second);

// Called with each row, in order; what it borrows lives until it returns.
using SnapshotSink = std::function<void(std::string_view key, std::string_view value)>;

// Reads a whole snapshot and checks all of it. Rows reach `each` as they are read: of a file that
// turns out to be damaged, too. `after_piece` may do something slow with them. Errors: kNotFound,
// kCorrupt, kInvalid (a format of the future), kIo.
Task<Result<KvSnapshot>> read_snapshot(Disk& disk, std::string path, SnapshotSink each,
                                       std::function<Task<Status>()> after_piece = {});

// The header only.
Task<Result<KvSnapshot>> read_snapshot_header(Disk& disk, std::string path);

// Fills a new target with a snapshot's rows. After an error the target is of no use.
Task<Result<KvSnapshot>> restore_snapshot(Disk& disk, std::string path, FoldTarget& target);

}  // namespace covey
