// Lmdb: the FoldTarget on disk. LMDB runs fully synced; reads are on the loop thread in short
// transactions, writes on one thread of their own. Databases, key encoding and row format:
// docs/formats/metadata.md.
#pragma once

#include <lmdb.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/async/event.h"
#include "base/async/loop.h"
#include "base/core/limits.h"
#include "store/meta/fold_target.h"
#include "store/meta/lmdb_space.h"

namespace covey {

inline constexpr size_t kLmdbKeyBytesMax = 511;
inline constexpr size_t kNamespaceBytes = 8;
// A key (or the rest of one) of this many bytes or more is cut: its first bytes name a namespace in
// the database "long" where the rest stands.
inline constexpr size_t kRootChunkBytes = kLmdbKeyBytesMax;
inline constexpr size_t kLongChunkBytes = kLmdbKeyBytesMax - kNamespaceBytes;
inline constexpr size_t kKeyLevels = 3;  // enough for kKvKeyBytesMax
static_assert(kRootChunkBytes + 2 * kLongChunkBytes > kKvKeyBytesMax);

struct LmdbOptions {
  uint64_t map_bytes = 64 * kGiB;  // address space, not memory or disk; doubled when it is full
};

// A read transaction with a cursor per level of the key encoding.
struct LmdbReader {
  MDB_txn* txn = nullptr;
  MDB_cursor* cursors[kKeyLevels] = {};
};

class Lmdb : public FoldTarget {
 public:
  // Opens or creates the file; its folder is made. `writer` runs one piece of work at a time and
  // outlives the Lmdb. Errors: kIo, kNoSpace, kCorrupt, kInvalid (a format of the future).
  static Result<std::unique_ptr<Lmdb>> open(std::string file, LmdbOptions options, Pool& writer);
  // REQUIRES: no cursor lives, no fold is under way.
  ~Lmdb() override;

  Result<std::optional<FoldPosition>> position() override;
  Result<std::optional<std::string>> get(std::string_view key) override;
  std::unique_ptr<FoldCursor> cursor() override;
  Task<Status> fold(std::shared_ptr<const MemTable> rows, FoldPosition position) override;
  bool roomy() const override { return space_->roomy(); }
  bool room_for_repair() const override { return space_->room_for_repair(); }
  Task<void> make_room() override;
  std::unique_ptr<FoldCursor> long_cursor() override;
  Result<std::unique_ptr<FoldCheck>> check() override;
  Task<void> aside(std::function<void()> work) override;
  bool wants_cursors_back() const override { return growing_; }

  // Reads every row through LMDB and compares the numbers with what it counts. Blocks; for rebuilds
  // and tests. What may be damaged is looked at by LmdbCheck.
  Status verify();

 private:
  friend class LmdbCursor;
  class PinnedCheck;
  Lmdb(std::string file, LmdbOptions options, Pool& writer);
  void long_cursor_gone();
  Status open_env();
  Status create_file(const std::string& folder);
  Status open_at(const std::string& file);
  Status check_format(MDB_txn* txn);
  Result<LmdbReader> acquire();
  void release(LmdbReader reader);
  Result<std::optional<std::string>> look_up(LmdbReader& reader, std::string_view key);

  std::string file_;
  LmdbOptions options_;
  Pool& writer_;
  MDB_env* env_ = nullptr;
  std::unique_ptr<LmdbSpace> space_;
  MDB_dbi rows_ = 0, long_ = 0, meta_ = 0;
  std::vector<LmdbReader> idle_;  // reset transactions, kept for their slot
  bool long_cursor_ = false;      // there is one
  bool growing_ = false;          // the map is to be moved: no transaction may be under way
  Event long_gone_;
};

}  // namespace covey
