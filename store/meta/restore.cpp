#include "store/meta/restore.h"

#include <algorithm>
#include <utility>

#include "store/meta/snapshot_file.h"
#include "store/meta/snapshots.h"

namespace covey {
namespace {

using Fresh = std::function<Result<FoldTarget*>()>;

// From this snapshot (empty: none) and the journals after it. `damage`: null, or the journals may
// end early, and why is told there.
Task<Result<std::unique_ptr<Kv>>> attempt(const RestoreOptions& options, Runtime runtime,
                                          const Fresh& fresh, std::string snapshot,
                                          std::string* damage) {
  CO_TRY(FoldTarget * target, fresh());
  if (!snapshot.empty()) {
    std::string path = options.snapshot_dir + "/" + snapshot;
    CO_TRY(KvSnapshot found, co_await restore_snapshot(runtime.disk, std::move(path), *target));
    (void)found;
  }
  KvOptions kv = options.kv;
  kv.keep_journals = true;
  kv.damage = damage;
  kv.other_journal_dirs.push_back(kv.archive_dir);
  co_return co_await open_kv(std::move(kv), runtime, *target);
}

}  // namespace

Task<Result<Restored>> restore_kv(RestoreOptions options, Runtime runtime, Fresh fresh) {
  CO_TRY(std::vector<SnapshotFile> found,
         co_await list_snapshots(runtime.disk, options.snapshot_dir));
  std::vector<std::string> snapshots;
  for (const SnapshotFile& file : found) snapshots.push_back(file.name);
  std::reverse(snapshots.begin(), snapshots.end());
  snapshots.emplace_back();
  Restored restored;
  for (bool lenient : {false, true}) {
    if (lenient && !options.accept_loss) break;
    for (const std::string& snapshot : snapshots) {
      std::string damage;
      auto kv = co_await attempt(options, runtime, fresh, snapshot, lenient ? &damage : nullptr);
      bool unusable = kv.is(ErrorCode::kCorrupt) || kv.is(ErrorCode::kInvalid);
      if (!kv && !unusable) co_return tl::unexpected<Error>(kv.error());
      if (!kv) {
        std::string from = snapshot.empty() ? "from the journals alone" : "from " + snapshot;
        restored.tried.push_back(from + ": " + kv.error().message);
        continue;
      }
      restored.kv = std::move(*kv);
      restored.snapshot = snapshot;
      if (lenient) restored.missing = damage.empty() ? "a part was unreadable" : damage;
      co_return std::move(restored);
    }
  }
  std::string why;
  for (const std::string& one : restored.tried) why += (why.empty() ? "" : "\n  ") + one;
  co_return fail(ErrorCode::kCorrupt, "the metadata cannot be restored completely:\n  " + why);
}

}  // namespace covey
