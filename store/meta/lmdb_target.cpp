#include "store/meta/lmdb_target.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/core/check.h"
#include "base/core/codec.h"
#include "base/core/ids.h"
#include "base/core/seeded_bug.h"
#include "store/meta/lmdb_cursor.h"
#include "store/meta/lmdb_row.h"

namespace covey {
namespace {

constexpr uint32_t kMetadataFormat = 1;
constexpr unsigned kReadersMax = 64;
constexpr std::string_view kFormatKey = "format";
constexpr std::string_view kPositionKey = "position";

Status sync_folder(const std::string& folder) {
  int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail(ErrorCode::kIo, "cannot open " + folder);
  int rc = ::fsync(fd);
  ::close(fd);
  return rc == 0 ? Status() : fail(ErrorCode::kIo, "cannot sync " + folder);
}

// With its parents, durably.
Status make_folder(const std::string& folder) {
  std::filesystem::path missing = std::filesystem::absolute(folder).lexically_normal();
  std::vector<std::filesystem::path> parents;
  for (; !std::filesystem::exists(missing); missing = missing.parent_path())
    parents.push_back(missing.parent_path());
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail(ErrorCode::kIo, "cannot make " + folder + ": " + error.message());
  for (const auto& parent : parents) {
    TRY_STATUS(sync_folder(parent));
  }
  return {};
}

}  // namespace

Status lmdb_error(int rc, const char* doing) {
  std::string text = fmt::format("LMDB, {}: {}", doing, mdb_strerror(rc));
  switch (rc) {
    case MDB_SUCCESS: return {};
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT: return fail(ErrorCode::kNoSpace, text);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH: return fail(ErrorCode::kCorrupt, text);
    default: return fail(ErrorCode::kIo, text);
  }
}

tl::unexpected<Error> row_corrupt(std::string_view lmdb_key, const char* how) {
  return fail(ErrorCode::kCorrupt,
              fmt::format("metadata row {}: {}; the peers have it, repair this node's copy",
                          hex_encode(lmdb_key.substr(0, 64)), how));
}

Lmdb::Lmdb(std::string file, LmdbOptions options, Pool& writer)
    : file_(std::move(file)), options_(options), writer_(writer) {}

Lmdb::~Lmdb() {
  for (LmdbReader& reader : idle_) {
    for (MDB_cursor* cursor : reader.cursors) mdb_cursor_close(cursor);
    mdb_txn_abort(reader.txn);
  }
  if (env_) mdb_env_close(env_);
}

Result<std::unique_ptr<Lmdb>> Lmdb::open(std::string file, LmdbOptions options, Pool& writer) {
  std::unique_ptr<Lmdb> lmdb(new Lmdb(std::move(file), options, writer));
  TRY_STATUS(lmdb->open_env());
  return lmdb;
}

Status Lmdb::open_env() {
  std::string folder = std::filesystem::path(file_).parent_path();
  if (folder.empty()) folder = ".";
  TRY_STATUS(make_folder(folder));
  if (!std::filesystem::exists(file_) && !SEEDED_BUG("meta-created-in-place")) {
    TRY_STATUS(create_file(folder));
  }
  TRY_STATUS(open_at(file_));
  space_ = std::make_unique<LmdbSpace>(env_);
  space_->top_up();
  return sync_folder(folder);
}

// Under another name until it is whole: a power cut while LMDB lays out its first pages leaves what
// no LMDB opens.
Status Lmdb::create_file(const std::string& folder) {
  std::string fresh = file_ + ".new";
  std::error_code error;
  std::filesystem::remove(fresh, error);
  if (error) return fail(ErrorCode::kIo, "cannot remove " + fresh + ": " + error.message());
  TRY_STATUS(open_at(fresh));
  mdb_env_close(std::exchange(env_, nullptr));
  std::filesystem::remove(fresh + "-lock", error);
  std::filesystem::rename(fresh, file_, error);
  if (error) return fail(ErrorCode::kIo, "cannot rename " + fresh + ": " + error.message());
  return sync_folder(folder);
}

Status Lmdb::open_at(const std::string& file) {
  TRY_STATUS(lmdb_error(mdb_env_create(&env_), "creating an environment"));
  mdb_env_set_maxdbs(env_, 8);
  mdb_env_set_maxreaders(env_, kReadersMax);
  TRY_STATUS(lmdb_error(mdb_env_set_mapsize(env_, options_.map_bytes), "setting the map size"));
  // Never NOSYNC, NOMETASYNC or WRITEMAP. No read-ahead: look-ups are random.
  unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD;
  if (int rc = mdb_env_open(env_, file.c_str(), flags, 0600); rc != MDB_SUCCESS) {
    Status failed = lmdb_error(rc, "opening");
    return fail(failed.code(), failed.error().message + " (" + file + ")");
  }
  MDB_txn* txn = nullptr;
  TRY_STATUS(lmdb_error(mdb_txn_begin(env_, nullptr, 0, &txn), "opening databases"));
  int rc = mdb_dbi_open(txn, "rows", MDB_CREATE, &rows_);
  if (rc == MDB_SUCCESS) rc = mdb_dbi_open(txn, "long", MDB_CREATE, &long_);
  if (rc == MDB_SUCCESS) rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &meta_);
  Status ready = rc == MDB_SUCCESS ? check_format(txn) : lmdb_error(rc, "opening databases");
  if (!ready) {
    mdb_txn_abort(txn);
    return ready;
  }
  return lmdb_error(mdb_txn_commit(txn), "opening databases");
}

Status Lmdb::check_format(MDB_txn* txn) {
  MDB_val key = val_of(kFormatKey), data;
  int rc = mdb_get(txn, meta_, &key, &data);
  if (rc == MDB_NOTFOUND) {
    std::string value;
    Writer(value).u32(kMetadataFormat);
    std::string row = seal_row(RowKind::kMeta, kFormatKey, value);
    data = val_of(row);
    return lmdb_error(mdb_put(txn, meta_, &key, &data, 0), "storing the format");
  }
  TRY_STATUS(lmdb_error(rc, "reading the format"));
  if (!row_intact(RowKind::kMeta, kFormatKey, view_of(data)))
    return row_corrupt(kFormatKey, "its checksum does not match");
  uint32_t format = Reader(view_of(data).substr(kRowCrcBytes)).u32();
  if (format != kMetadataFormat)
    return fail(ErrorCode::kInvalid, fmt::format("{} has format {}, this version knows {}: start "
                                                 "the version that wrote it",
                                                 file_, format, kMetadataFormat));
  return {};
}

Result<LmdbReader> Lmdb::acquire() {
  if (!idle_.empty()) {
    LmdbReader reader = idle_.back();
    idle_.pop_back();
    int rc = mdb_txn_renew(reader.txn);
    for (MDB_cursor* cursor : reader.cursors)
      if (rc == MDB_SUCCESS) rc = mdb_cursor_renew(reader.txn, cursor);
    if (rc == MDB_SUCCESS) return reader;
    release(reader);
    return fail(ErrorCode::kIo, lmdb_error(rc, "renewing a read").error().message);
  }
  LmdbReader reader;
  TRY_STATUS(lmdb_error(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &reader.txn), "beginning a read"));
  for (size_t level = 0; level < kKeyLevels; ++level) {
    int rc = mdb_cursor_open(reader.txn, level == 0 ? rows_ : long_, &reader.cursors[level]);
    CHECK(rc == MDB_SUCCESS);
  }
  return reader;
}

void Lmdb::release(LmdbReader reader) {
  mdb_txn_reset(reader.txn);
  idle_.push_back(reader);
}

Result<std::optional<FoldPosition>> Lmdb::position() {
  TRY(LmdbReader reader, acquire());
  MDB_val key = val_of(kPositionKey), data;
  int rc = mdb_get(reader.txn, meta_, &key, &data);
  std::string stored = rc == MDB_SUCCESS ? std::string(view_of(data)) : "";
  release(reader);
  if (rc == MDB_NOTFOUND) return std::optional<FoldPosition>();
  TRY_STATUS(lmdb_error(rc, "reading the journal position"));
  if (!row_intact(RowKind::kMeta, kPositionKey, stored))
    return row_corrupt(kPositionKey, "its checksum does not match");
  Reader r(std::string_view(stored).substr(kRowCrcBytes));
  FoldPosition position;
  position.sequence = r.u64();
  position.generation = r.u64();
  if (!r.done()) return row_corrupt(kPositionKey, "it is malformed");
  return std::optional<FoldPosition>(position);
}

namespace {

// A look-up that found nothing is believed only if the rows on both sides are intact and enclose
// the key (docs/adr/0001-absence.md). REQUIRES: `next` is the answer of MDB_SET_RANGE for `key`.
Status check_absence(MDB_cursor* cursor, RowKind kind, std::string_view key, int rc, MDB_val next,
                     MDB_val next_data) {
  constexpr size_t kCheckedBytesMax = 1024;  // a larger value is on pages of its own: maybe a read
  auto intact = [&](const MDB_val& k, const MDB_val& d) {
    return d.mv_size > kCheckedBytesMax || row_intact(kind, view_of(k), view_of(d));
  };
  MDB_val before, before_data;
  if (rc == MDB_SUCCESS) {
    if (view_of(next) <= key) return row_corrupt(key, "a page is out of order");
    if (!intact(next, next_data)) return row_corrupt(view_of(next), "a neighbour is damaged");
    rc = mdb_cursor_get(cursor, &before, &before_data, MDB_PREV);
  } else if (rc == MDB_NOTFOUND) {
    rc = mdb_cursor_get(cursor, &before, &before_data, MDB_LAST);
    if (rc == MDB_NOTFOUND) {
      MDB_stat stat;
      mdb_stat(mdb_cursor_txn(cursor), mdb_cursor_dbi(cursor), &stat);
      return stat.ms_entries == 0 ? Status() : row_corrupt(key, "its database lost its rows");
    }
  }
  if (rc == MDB_NOTFOUND) return {};
  TRY_STATUS(lmdb_error(rc, "looking up a row"));
  if (view_of(before) >= key) return row_corrupt(key, "a page is out of order");
  if (!intact(before, before_data)) return row_corrupt(view_of(before), "a neighbour is damaged");
  return {};
}

}  // namespace

Result<std::optional<std::string>> Lmdb::look_up(LmdbReader& reader, std::string_view key) {
  std::string name_space, buffer;
  for (size_t level = 0; level < kKeyLevels; ++level) {
    RowKind kind = level == 0 ? RowKind::kRoot : RowKind::kLong;
    size_t chunk_bytes = level == 0 ? kRootChunkBytes : kLongChunkBytes;
    bool leaf = key.size() < chunk_bytes;
    std::string_view lmdb_key = key.substr(0, chunk_bytes);
    if (level > 0) {
      buffer = name_space;
      buffer.append(lmdb_key);
      lmdb_key = buffer;
    }
    MDB_val at = val_of(lmdb_key), data;
    MDB_cursor* cursor = reader.cursors[level];
    int rc = mdb_cursor_get(cursor, &at, &data, MDB_SET_RANGE);
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
      return tl::unexpected<Error>(lmdb_error(rc, "looking up a row").error());
    if (rc == MDB_NOTFOUND || view_of(at) != lmdb_key) {
      TRY_STATUS(check_absence(cursor, kind, lmdb_key, rc, at, data));
      return std::optional<std::string>();
    }
    if (!row_intact(kind, lmdb_key, view_of(data)))
      return row_corrupt(lmdb_key, "its checksum does not match");
    std::string_view value = view_of(data).substr(kRowCrcBytes);
    if (leaf) return std::optional<std::string>(std::string(value));
    if (value.size() != kNamespaceBytes) return row_corrupt(lmdb_key, "it is malformed");
    name_space = std::string(value);
    key.remove_prefix(chunk_bytes);
  }
  return row_corrupt(key, "it is nested too deep");
}

Result<std::optional<std::string>> Lmdb::get(std::string_view key) {
  TRY(LmdbReader reader, acquire());
  auto found = look_up(reader, key);
  release(reader);
  if (found.is(ErrorCode::kCorrupt)) on_damage(found.error());
  return found;
}

std::unique_ptr<FoldCursor> Lmdb::cursor() {
  auto reader = acquire();
  if (!reader) return std::make_unique<LmdbCursor>(*this, reader.error());
  return std::make_unique<LmdbCursor>(*this, *reader);
}

Status Lmdb::verify() {
  TRY(LmdbReader reader, acquire());
  Status result;
  for (size_t level = 0; level < 2 && result; ++level) {
    RowKind kind = level == 0 ? RowKind::kRoot : RowKind::kLong;
    MDB_cursor* cursor = reader.cursors[level];
    MDB_stat stat;
    mdb_stat(reader.txn, mdb_cursor_dbi(cursor), &stat);
    size_t rows = 0;
    std::string previous;
    MDB_val key, data;
    int rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    for (; rc == MDB_SUCCESS && result; rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
      if (rows++ > 0 && view_of(key) <= previous)
        result = row_corrupt(view_of(key), "out of order");
      if (!row_intact(kind, view_of(key), view_of(data)))
        result = row_corrupt(view_of(key), "its checksum does not match");
      previous = view_of(key);
    }
    if (result && rc != MDB_NOTFOUND) result = lmdb_error(rc, "verifying");
    if (result && rows != stat.ms_entries)
      result = fail(ErrorCode::kCorrupt, fmt::format("the metadata has {} rows where {} were "
                                                     "written: restore it or rebuild this node",
                                                     rows, stat.ms_entries));
  }
  release(reader);
  return result;
}

}  // namespace covey
