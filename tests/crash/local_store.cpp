#include "tests/crash/local_store.h"

#include "store/meta/lmdb_check.h"

#include "tests/crash/expected.h"

namespace covey {

LocalStore::LocalStore(std::string root, uint64_t seed)
    : root_(std::move(root)),
      rng_(seed),
      pool_(loop_, rng_.split("pool")),
      disk_(pool_, kCrashDirectBytes) {}

LocalStore::~LocalStore() { close(); }

Status LocalStore::open() {
  auto note = [this](const Error& error) {
    if (!fatal_) fatal_ = error;
  };
  // As a node does: no crash may look like damage.
  auto sound = check_lmdb_file(root_ + "/meta/meta.mdb");
  if (!sound && !sound.is(ErrorCode::kNotFound)) return tl::unexpected<Error>(sound.error());
  LmdbOptions lmdb_options;
  lmdb_options.map_bytes = 64 * kMiB;
  TRY(lmdb_, Lmdb::open(root_ + "/meta/meta.mdb", lmdb_options, pool_));
  KvOptions options;
  options.dir = root_ + "/meta";
  options.fatal = note;
  options.journal_file_bytes = kCrashJournalBytes;
  options.fold_bytes = 12 * kKiB;
  options.table_bytes_max = 256 * kKiB;
  Runtime runtime{loop_, loop_, rng_, pool_, disk_};
  TRY(kv_, loop_.run(open_kv(std::move(options), runtime, *lmdb_)));
  SegmentOptions segments;
  segments.dirs = {root_ + "/data"};
  segments.segment_bytes = kCrashSegmentBytes;
  segments.align_from_bytes = kCrashDirectBytes;
  segments.fatal = note;
  segments_ = std::make_unique<SegmentStore>(std::move(segments), runtime, *kv_);
  // As BlockService does: nobody knows any more whether the other copies exist.
  auto recovered = [this](BlockKey key) {
    WriteBatch debt;
    debt.put(debt_key(key), "owed");
    (void)kv_->write_unlogged(std::move(debt));
  };
  return loop_.run(segments_->open(recovered));
}

void LocalStore::close() {
  if (segments_) loop_.run(segments_->close());
  if (kv_) loop_.run(kv_->close());
  loop_.run_until_idle();
  segments_.reset(), kv_.reset(), lmdb_.reset();
}

}  // namespace covey
