// Lmdb: writing. Runs on the writer thread; many rows per transaction, in key order, so that a page
// is copied once for all its new rows.
#include <fmt/core.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/core/check.h"
#include "base/core/codec.h"
#include "base/core/log.h"
#include "store/meta/lmdb_check.h"
#include "store/meta/lmdb_cursor.h"
#include "store/meta/lmdb_row.h"
#include "store/meta/lmdb_target.h"

namespace covey {
namespace {

// Bounds what one transaction keeps in memory: at worst a page per row.
constexpr size_t kRowsPerTransaction = 2048;
constexpr size_t kMapGrowthsMax = 16;  // per fold: each doubles the map
constexpr std::string_view kPositionKey = "position";
constexpr std::string_view kNamespaceKey = "next namespace";

// One write transaction. After an error code nothing but abort makes sense.
class FoldTransaction {
 public:
  FoldTransaction(MDB_txn* txn, MDB_dbi rows, MDB_dbi longs, MDB_dbi meta)
      : txn_(txn), rows_(rows), long_(longs), meta_(meta) {}

  int apply(std::string_view key, const std::optional<std::string>& value) {
    std::string name_space[kKeyLevels], lmdb_key[kKeyLevels];
    size_t level = 0;
    for (;; ++level) {
      size_t chunk_bytes = level == 0 ? kRootChunkBytes : kLongChunkBytes;
      lmdb_key[level] = name_space[level];
      lmdb_key[level].append(key.substr(0, chunk_bytes));
      if (key.size() < chunk_bytes) break;
      key.remove_prefix(chunk_bytes);
      int rc = child(level, lmdb_key[level], value.has_value(), name_space[level + 1]);
      if (rc == MDB_NOTFOUND) return MDB_SUCCESS;  // nothing there to erase
      if (rc != MDB_SUCCESS) return rc;
    }
    if (value) return put(kind(level), dbi(level), lmdb_key[level], *value);
    int rc = erase(dbi(level), lmdb_key[level]);
    for (; rc == MDB_SUCCESS && level > 0; --level) {  // namespaces that are empty now
      bool empty = false;
      rc = is_empty(name_space[level], empty);
      if (rc != MDB_SUCCESS || !empty) break;
      rc = erase(dbi(level - 1), lmdb_key[level - 1]);
    }
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
  }

  int store_position(FoldPosition position) {
    std::string value;
    Writer w(value);
    w.u64(position.sequence);
    w.u64(position.generation);
    return put(RowKind::kMeta, meta_, kPositionKey, value);
  }

 private:
  static RowKind kind(size_t level) { return level == 0 ? RowKind::kRoot : RowKind::kLong; }
  MDB_dbi dbi(size_t level) const { return level == 0 ? rows_ : long_; }

  int put(RowKind row_kind, MDB_dbi dbi, std::string_view key, std::string_view value) {
    MDB_val k = val_of(key), data{kRowCrcBytes + value.size(), nullptr};
    int rc = mdb_put(txn_, dbi, &k, &data, MDB_RESERVE);
    if (rc != MDB_SUCCESS) return rc;
    uint32_t crc = row_crc(row_kind, key, value);
    std::memcpy(data.mv_data, &crc, sizeof crc);
    if (!value.empty())
      std::memcpy(static_cast<char*>(data.mv_data) + kRowCrcBytes, value.data(), value.size());
    return MDB_SUCCESS;
  }

  int erase(MDB_dbi dbi, std::string_view key) {
    MDB_val k = val_of(key);
    return mdb_del(txn_, dbi, &k, nullptr);
  }

  // The namespace that the row `key` names; made if `create`. MDB_CORRUPTED: a bad row.
  int child(size_t level, std::string_view key, bool create, std::string& name_space) {
    MDB_val k = val_of(key), data;
    int rc = mdb_get(txn_, dbi(level), &k, &data);
    if (rc == MDB_SUCCESS) {
      if (!row_intact(kind(level), key, view_of(data))) return MDB_CORRUPTED;
      name_space = view_of(data).substr(kRowCrcBytes);
      return name_space.size() == kNamespaceBytes ? MDB_SUCCESS : MDB_CORRUPTED;
    }
    if (rc != MDB_NOTFOUND || !create) return rc;
    rc = new_namespace(name_space);
    return rc == MDB_SUCCESS ? put(kind(level), dbi(level), key, name_space) : rc;
  }

  int new_namespace(std::string& name_space) {
    MDB_val k = val_of(kNamespaceKey), data;
    uint64_t id = 1;
    int rc = mdb_get(txn_, meta_, &k, &data);
    if (rc == MDB_SUCCESS) {
      if (!row_intact(RowKind::kMeta, kNamespaceKey, view_of(data))) return MDB_CORRUPTED;
      id = Reader(view_of(data).substr(kRowCrcBytes)).u64();
    } else if (rc != MDB_NOTFOUND) {
      return rc;
    }
    Writer(name_space).u64_be(id);
    std::string next;
    Writer(next).u64(id + 1);
    return put(RowKind::kMeta, meta_, kNamespaceKey, next);
  }

  int is_empty(std::string_view name_space, bool& empty) {
    MDB_cursor* cursor = nullptr;
    int rc = mdb_cursor_open(txn_, long_, &cursor);
    if (rc != MDB_SUCCESS) return rc;
    MDB_val k = val_of(name_space), data;
    rc = mdb_cursor_get(cursor, &k, &data, MDB_SET_RANGE);
    empty = rc == MDB_NOTFOUND || (rc == MDB_SUCCESS && !view_of(k).starts_with(name_space));
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
  }

  MDB_txn* txn_;
  MDB_dbi rows_, long_, meta_;
};

// A commit that failed has changed nothing, and all its pages are written again next time. That is
// only right for a full disk: a sync that failed is never tried again, whatever its error says.
int failed_commit(MDB_env* env, const LmdbSpace& space, int rc) {
  bool full = space.disk_full() || !space.roomy();
  if (rc == EIO || rc == ENOSPC || rc == EDQUOT) rc = full ? ENOSPC : EIO;
  // After a failed write of its meta page LMDB serves nothing any more, reads neither.
  MDB_txn* probe = nullptr;
  int alive = mdb_txn_begin(env, nullptr, MDB_RDONLY, &probe);
  if (alive != MDB_SUCCESS) return alive;
  mdb_txn_abort(probe);
  return rc;
}

int fold_rows(MDB_env* env, LmdbSpace& space, MDB_dbi rows, MDB_dbi longs, MDB_dbi meta,
              const MemTable& table, FoldPosition position) {
  auto at = table.rows().begin();
  auto end = table.rows().end();
  do {
    space.top_up();
    MDB_txn* txn = nullptr;
    int rc = mdb_txn_begin(env, nullptr, 0, &txn);
    if (rc != MDB_SUCCESS) return rc;
    FoldTransaction transaction(txn, rows, longs, meta);
    for (size_t n = 0; rc == MDB_SUCCESS && at != end && n < kRowsPerTransaction; ++at, ++n)
      rc = transaction.apply(at->first, at->second.value);
    if (rc == MDB_SUCCESS && at == end) rc = transaction.store_position(position);
    if (rc != MDB_SUCCESS) {
      mdb_txn_abort(txn);
      return rc;
    }
    rc = mdb_txn_commit(txn);
    if (rc != MDB_SUCCESS) return failed_commit(env, space, rc);
  } while (at != end);
  space.top_up();
  return MDB_SUCCESS;
}

}  // namespace

Task<Status> Lmdb::fold(std::shared_ptr<const MemTable> table, FoldPosition position) {
  int rc = MDB_SUCCESS;
  for (size_t growths = 0; growths <= kMapGrowthsMax; ++growths) {
    auto work = [this, table, position] {
      return fold_rows(env_, *space_, rows_, long_, meta_, *table, position);
    };
    rc = co_await writer_.run(std::move(work));
    if (rc != MDB_MAP_FULL) break;
    // On the loop thread: no write is under way, and no read transaction once the long cursor is
    // gone.
    growing_ = true;
    while (long_cursor_) {
      long_gone_.reset();
      co_await long_gone_.wait();
    }
    growing_ = false;
    options_.map_bytes *= 2;
    log_info("growing the metadata map to {} MiB", options_.map_bytes / kMiB);
    int grown = mdb_env_set_mapsize(env_, options_.map_bytes);
    if (grown != MDB_SUCCESS) co_return lmdb_error(grown, "growing the map");
  }
  co_return lmdb_error(rc, "folding");
}

Task<void> Lmdb::make_room() {
  auto work = [this] {
    space_->top_up();
    return true;
  };
  (void)co_await writer_.run(std::move(work));
}

std::unique_ptr<FoldCursor> Lmdb::long_cursor() {
  CHECK(!long_cursor_);
  auto reader = acquire();
  if (!reader) return std::make_unique<LmdbCursor>(*this, reader.error());
  long_cursor_ = true;
  std::function<void()> gone = [this] { long_cursor_gone(); };
  return std::make_unique<LmdbCursor>(*this, *reader, std::move(gone));
}

// A check of the state that a reader keeps.
class Lmdb::PinnedCheck final : public FoldCheck {
 public:
  PinnedCheck(Lmdb& lmdb, LmdbReader reader, std::unique_ptr<LmdbCheck> check)
      : lmdb_(lmdb), reader_(reader), check_(std::move(check)) {}
  ~PinnedCheck() override {
    lmdb_.release(reader_);
    lmdb_.long_cursor_gone();
  }
  Result<bool> step(uint64_t bytes) override { return check_->step(bytes); }

 private:
  Lmdb& lmdb_;
  LmdbReader reader_;
  std::unique_ptr<LmdbCheck> check_;
};

Result<std::unique_ptr<FoldCheck>> Lmdb::check() {
  CHECK(!long_cursor_);
  TRY(LmdbReader reader, acquire());
  auto check = LmdbCheck::open(file_, mdb_txn_id(reader.txn));
  if (!check) {
    release(reader);
    return tl::unexpected<Error>(check.error());
  }
  long_cursor_ = true;
  std::unique_ptr<FoldCheck> pinned =
      std::make_unique<PinnedCheck>(*this, reader, std::move(*check));
  return pinned;
}

void Lmdb::long_cursor_gone() {
  long_cursor_ = false;
  long_gone_.set();
}

Task<void> Lmdb::aside(std::function<void()> work) {
  auto job = [work = std::move(work)] {
    work();
    return true;
  };
  (void)co_await writer_.run(std::move(job));
}

}  // namespace covey
