#include "store/meta/open_kv.h"

#include <utility>

#include "base/core/log.h"
#include "store/meta/kv_store.h"
#include "store/meta/lmdb_check.h"
#include "store/meta/lmdb_target.h"
#include "store/meta/lmdb_thread.h"

namespace covey {
namespace {

// A KvStore that owns its LMDB. The bases are destroyed in reverse: store, LMDB, thread.
struct LocalParts {
  explicit LocalParts(Loop& loop) : thread(loop) {}
  LmdbThread thread;
  std::unique_ptr<Lmdb> lmdb;
};

class LocalKv final : private std::unique_ptr<LocalParts>, public KvStore {
 public:
  LocalKv(KvOptions options, Runtime runtime, std::unique_ptr<LocalParts> parts)
      : std::unique_ptr<LocalParts>(std::move(parts)),
        KvStore(std::move(options), runtime, *(*this)->lmdb) {}
};

}  // namespace

Task<Result<std::unique_ptr<Kv>>> open_kv(KvOptions options, Runtime runtime, FoldTarget& target) {
  auto store = std::make_unique<KvStore>(std::move(options), runtime, target);
  Status opened = co_await store->open();
  if (!opened) {
    co_await store->close();
    co_return tl::unexpected<Error>(opened.error());
  }
  std::unique_ptr<Kv> kv = std::move(store);
  co_return std::move(kv);
}

namespace {

constexpr Duration kCheckWorthTelling = std::chrono::seconds(1);

Task<Status> check_file(std::string file, Runtime runtime, Pool& thread) {
  const TimePoint began = runtime.clock.now();
  auto work = [file] { return check_lmdb_file(file); };
  auto checked = co_await thread.run(std::move(work));
  if (checked.is(ErrorCode::kNotFound)) co_return Status();
  if (!checked) co_return tl::unexpected<Error>(checked.error());
  const Duration took = runtime.clock.now() - began;
  if (took >= kCheckWorthTelling)
    log_info("the metadata is sound: {} rows, {} MiB read in {} ms", checked->rows,
             checked->bytes / kMiB,
             std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
  co_return Status();
}

}  // namespace

Task<Result<std::unique_ptr<Kv>>> open_local_kv(KvOptions options, Runtime runtime) {
  auto parts = std::make_unique<LocalParts>(runtime.loop);
  if (options.check) {
    CO_TRY_STATUS(co_await check_file(options.dir + "/meta.mdb", runtime, parts->thread));
  }
  LmdbOptions lmdb_options;
  auto lmdb = Lmdb::open(options.dir + "/meta.mdb", lmdb_options, parts->thread);
  if (!lmdb) co_return tl::unexpected<Error>(lmdb.error());
  parts->lmdb = std::move(*lmdb);
  auto store = std::make_unique<LocalKv>(std::move(options), runtime, std::move(parts));
  Status opened = co_await store->open();
  if (!opened) {
    co_await store->close();
    co_return tl::unexpected<Error>(opened.error());
  }
  std::unique_ptr<Kv> kv = std::move(store);
  co_return std::move(kv);
}

}  // namespace covey
