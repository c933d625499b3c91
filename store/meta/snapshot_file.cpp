#include "store/meta/snapshot_file.h"

#include <algorithm>
#include <utility>

#include "base/core/limits.h"

namespace covey {
namespace {

constexpr uint64_t kSyncBytes = 2 * kMiB;
constexpr size_t kFoldBytes = 8 * kMiB;  // of rows that go into the target at once

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

std::vector<Blob> one_piece(std::string bytes) {
  std::vector<Blob> pieces;
  pieces.push_back(Blob::own(std::move(bytes)));
  return pieces;
}

// The rows from where the cursor stands that fit into one piece.
struct Filled {
  std::string payload;
  uint32_t rows = 0;
};
Filled fill_piece(FoldCursor& cursor) {
  Filled filled;
  for (; cursor.valid() && filled.payload.size() < kPieceBytes; cursor.next(), ++filled.rows)
    append_row(filled.payload, cursor.key(), cursor.value());
  return filled;
}

Task<Status> write_rows(Disk& disk, Clock& clock, SnapshotSource& source, KvSnapshot& snapshot,
                        std::string path, uint64_t bytes_per_second) {
  CO_TRY(std::unique_ptr<File> file, co_await disk.open(path, Disk::Open::kCreate));
  FoldTarget& target = source.target;
  FoldCursor& cursor = *source.cursor;
  const std::string header = encode_snapshot_header(snapshot);
  const TimePoint began = clock.now();
  uint64_t at = header.size(), synced = 0;
  CO_TRY_STATUS(co_await file->write(0, one_piece(header)));
  bool first = true;
  for (uint32_t number = 0;; ++number) {
    Filled filled;
    std::function<void()> step = [&filled, &cursor, &first] {
      if (std::exchange(first, false)) cursor.seek({});
      filled = fill_piece(cursor);
    };
    co_await target.aside(std::move(step));
    CO_TRY_STATUS(cursor.status());
    if (target.wants_cursors_back() || source.cancelled)
      co_return fail(ErrorCode::kOverloaded,
                     "the metadata store has other things to do: try again");
    bool last = filled.rows == 0;
    snapshot.rows += filled.rows;
    std::string piece = last ? seal_end(header, number, snapshot.rows)
                             : seal_piece(header, number, filled.rows, std::move(filled.payload));
    const size_t bytes = piece.size();
    CO_TRY_STATUS(co_await file->write(at, one_piece(std::move(piece))));
    at += bytes;
    // Synced as it goes: a sync of everything at the end would hold up the journal's.
    if (last || at - synced >= kSyncBytes) {
      CO_TRY_STATUS(co_await file->sync());
      synced = at;
    }
    if (last) break;
    TimePoint due = began + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
                                static_cast<double>(at) / static_cast<double>(bytes_per_second)));
    if (due > clock.now()) co_await clock.sleep(due - clock.now());
  }
  snapshot.bytes = at;
  co_return Status();
}

Status take_rows(std::string_view payload, uint32_t rows, std::string& last_key,
                 const SnapshotSink& each) {
  for (uint32_t n = 0; n < rows; ++n) {
    std::optional<SnapshotRow> row = take_row(payload);
    if (!row) return fail(ErrorCode::kCorrupt, "a row is malformed");
    if (row->key <= last_key) return fail(ErrorCode::kCorrupt, "its rows are out of order");
    last_key = row->key;
    if (each) each(row->key, row->value);
  }
  return payload.empty() ? Status() : fail(ErrorCode::kCorrupt, "a piece holds more than its rows");
}

Task<Result<KvSnapshot>> read_all(File& file, const SnapshotSink& each,
                                  std::function<Task<Status>()>& after_piece) {
  CO_TRY(Blob header, co_await file.read(0, kSnapshotHeaderBytes));
  CO_TRY(KvSnapshot snapshot, decode_snapshot_header(header.view()));
  uint64_t at = kSnapshotHeaderBytes;
  std::string last_key;
  for (uint32_t number = 0;; ++number) {
    CO_TRY(Blob bytes, co_await file.read(at, kPieceHeadBytes + kPieceBytes));
    std::string_view view = bytes.view();
    std::optional<PieceHead> head = decode_piece_head(view);
    if (!head || head->number != number)
      co_return fail(ErrorCode::kCorrupt, "it is damaged or cut at byte " + std::to_string(at));
    if (view.size() < kPieceHeadBytes + head->payload_bytes) {
      CO_TRY(bytes, co_await file.read(at, kPieceHeadBytes + head->payload_bytes));
      view = bytes.view();
    }
    std::string_view payload = view.substr(kPieceHeadBytes);
    payload = payload.substr(0, head->payload_bytes);
    if (!piece_intact(header.view(), view.substr(0, kPieceHeadBytes), payload))
      co_return fail(ErrorCode::kCorrupt, "it is damaged or cut at byte " + std::to_string(at));
    at += kPieceHeadBytes + head->payload_bytes;
    if (head->end) {
      if (decode_end(payload) != snapshot.rows)
        co_return fail(ErrorCode::kCorrupt, "it does not hold all its rows");
      break;
    }
    CO_TRY_STATUS(take_rows(payload, head->rows, last_key, each));
    snapshot.rows += head->rows;
    if (after_piece) {
      CO_TRY_STATUS(co_await after_piece());
    }
  }
  snapshot.bytes = at;
  co_return snapshot;
}

Task<Status> unless(bool cancelled) {
  if (cancelled) co_return fail(ErrorCode::kOverloaded, "cancelled");
  co_return Status();
}

tl::unexpected<Error> about(const std::string& path, const Error& error) {
  return fail(error.code, path + ": " + error.message);
}

}  // namespace

Task<Result<KvSnapshot>> write_snapshot(Disk& disk, Clock& clock, SnapshotSource source,
                                        KvSnapshot snapshot, std::string path,
                                        uint64_t bytes_per_second) {
  const std::string fresh = path + ".new";
  Status gone = co_await disk.remove(fresh);
  if (!gone && !gone.is(ErrorCode::kNotFound)) co_return tl::unexpected<Error>(gone.error());
  Status done = co_await write_rows(disk, clock, source, snapshot, fresh, bytes_per_second);
  source.cursor.reset();
  if (done) {
    std::function<Task<Status>()> go_on = [&source] { return unless(source.cancelled); };
    auto found = co_await read_snapshot(disk, fresh, {}, std::move(go_on));
    if (!found) done = tl::unexpected<Error>(found.error());
    if (found && found->rows != snapshot.rows)
      done = fail(ErrorCode::kCorrupt, fresh + " does not hold what was written");
  }
  if (done) done = co_await disk.rename(fresh, path);
  if (done) done = co_await disk.sync_dir(folder_of(path));
  if (done) co_return snapshot;
  (void)co_await disk.remove(fresh);
  co_return tl::unexpected<Error>(done.error());
}

Task<Result<KvSnapshot>> read_snapshot(Disk& disk, std::string path, SnapshotSink each,
                                       std::function<Task<Status>()> after_piece) {
  CO_TRY(std::unique_ptr<File> file, co_await disk.open(path, Disk::Open::kRead));
  auto found = co_await read_all(*file, each, after_piece);
  if (!found) co_return about(path, found.error());
  co_return std::move(found);
}

Task<Result<KvSnapshot>> read_snapshot_header(Disk& disk, std::string path) {
  CO_TRY(std::unique_ptr<File> file, co_await disk.open(path, Disk::Open::kRead));
  CO_TRY(Blob header, co_await file->read(0, kSnapshotHeaderBytes));
  auto snapshot = decode_snapshot_header(header.view());
  if (!snapshot) co_return about(path, snapshot.error());
  snapshot->bytes = file->size();
  co_return std::move(snapshot);
}

namespace {

// Collects rows into tables and folds them.
struct Restorer {
  FoldTarget& target;
  FoldPosition position;
  std::shared_ptr<MemTable> table = std::make_shared<MemTable>();

  Task<Status> fold_if(size_t above_bytes) {
    if (table->bytes() < above_bytes) co_return Status();
    std::shared_ptr<const MemTable> full = std::exchange(table, std::make_shared<MemTable>());
    co_return co_await target.fold(std::move(full), position);
  }
};

}  // namespace

Task<Result<KvSnapshot>> restore_snapshot(Disk& disk, std::string path, FoldTarget& target) {
  CO_TRY(KvSnapshot header, co_await read_snapshot_header(disk, path));
  Restorer into{target, {header.sequence, header.generation}};
  SnapshotSink each = [&into](std::string_view key, std::string_view value) {
    into.table->set(std::string(key), std::string(value), 0);
  };
  std::function<Task<Status>()> after = [&into] { return into.fold_if(kFoldBytes); };
  CO_TRY(KvSnapshot found,
         co_await read_snapshot(disk, std::move(path), std::move(each), std::move(after)));
  CO_TRY_STATUS(co_await into.fold_if(0));
  co_return found;
}

}  // namespace covey
