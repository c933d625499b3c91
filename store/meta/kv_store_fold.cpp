// KvStore: moving the table into the target, snapshots, and the end.
#include <algorithm>
#include <utility>

#include "base/core/check.h"
#include "base/core/log.h"
#include "base/core/seeded_bug.h"
#include "store/meta/kv_store.h"
#include "store/meta/snapshot_file.h"

namespace covey {
namespace {

constexpr uint64_t kVerifyStepBytes = 256 * kKiB;
constexpr Duration kFoldRetryEvery = std::chrono::seconds(2);  // while the disk is full

}  // namespace

void KvStore::start_fold_if_due() {
  if (fold_running_ || failed_) return;
  // Then the files that a fold releases must serve again: a put leaves the last spare alone.
  const bool no_more_files = no_space_ || !journal_.wants_spare();
  bool due = folding_ ? runtime_.clock.now() >= fold_retry_at_
                      : active_->bytes() >= options_.fold_bytes ||
                            (no_more_files && journal_.spares() <= 1 &&
                             journal_.held_bytes() > options_.journal_file_bytes) ||
                            journal_.held_bytes() > options_.journal_file_bytes * 5 / 2;
  if (!due) return;
  fold_running_ = true;
  scope_.spawn(fold_in_background());
}

Task<void> KvStore::fold_in_background() {
  co_await runtime_.loop.yield();  // the writer who caused it is not held up
  Status folded = co_await fold_once();
  if (!folded) log_warn("folding the metadata journal: {}", to_string(folded.error()));
  fold_running_ = false;
  fold_ended_.set();
  post_relief();
}

// REQUIRES: the caller has set fold_running_.
Task<Status> KvStore::fold_once() {
  if (!folding_) {
    folding_ = std::exchange(active_, std::make_shared<MemTable>());
    folding_position_ = {visible_, journal_.generation()};
  }
  // LMDB never runs ahead of the journal.
  CO_TRY_STATUS(co_await durable(folding_position_.sequence));
  if (SEEDED_BUG("meta-journal-reused-early"))
    journal_.release_before(folding_position_.generation);
  std::shared_ptr<const MemTable> table = folding_;
  Status folded = co_await target_.fold(std::move(table), folding_position_);
  if (failed_) co_return fail(failed_->code, failed_->message);
  fold_no_space_ = folded.is(ErrorCode::kNoSpace);
  if (fold_no_space_) {
    fold_retry_at_ = runtime_.clock.after(kFoldRetryEvery);
    co_return folded;
  }
  if (!folded) {
    stop_for_good(folded.error());
    co_return folded;
  }
  folding_.reset();
  journal_.release_before(folding_position_.generation);
  if (journal_.spares() > 1) no_space_ = false;
  co_return Status();
}

Task<Status> KvStore::fold() {
  KvVersion wanted = visible_;
  std::shared_ptr<MemTable> table = active_;
  // A fold under way may not hold the newest rows: at most one more is needed after it.
  while (table == active_ ? !active_->empty() || folding_ : folding_ != nullptr) {
    if (failed_) co_return fail(failed_->code, failed_->message);
    if (fold_running_) {
      fold_ended_.reset();
      co_await fold_ended_.wait();
      continue;
    }
    fold_running_ = true;
    Status folded = co_await fold_once();
    fold_running_ = false;
    fold_ended_.set();
    CO_TRY_STATUS(std::move(folded));
  }
  co_return co_await durable(wanted);
}

Task<Result<KvSnapshot>> KvStore::snapshot(std::string path, uint64_t bytes_per_second) {
  if (snapshotting_ || closing_)
    co_return fail(ErrorCode::kOverloaded, "another snapshot is being made: wait for it");
  snapshotting_ = true;
  auto done = co_await snapshot_now(std::move(path), bytes_per_second);
  snapshotting_ = false;
  snapshot_ended_.set();
  co_return std::move(done);
}

Task<Result<KvSnapshot>> KvStore::snapshot_now(std::string path, uint64_t bytes_per_second) {
  CO_TRY_STATUS(co_await fold());
  while (fold_running_) {  // so that position and rows are of one fold; later ones do no harm
    fold_ended_.reset();
    co_await fold_ended_.wait();
  }
  if (failed_) co_return fail(failed_->code, failed_->message);
  CO_TRY(std::optional<FoldPosition> position, target_.position());
  KvSnapshot snapshot;
  if (position) snapshot.sequence = position->sequence, snapshot.generation = position->generation;
  snapshot.made_ms = runtime_.clock.wall_now().ms;
  SnapshotSource source{target_, target_.long_cursor(), closing_};
  co_return co_await write_snapshot(runtime_.disk, runtime_.clock, std::move(source), snapshot,
                                    std::move(path), bytes_per_second);
}

Task<Status> KvStore::verify(uint64_t bytes_per_second) {
  if (snapshotting_ || closing_)
    co_return fail(ErrorCode::kOverloaded, "a snapshot is being made: wait for it");
  snapshotting_ = true;
  Status sound = co_await verify_now(bytes_per_second);
  snapshotting_ = false;
  snapshot_ended_.set();
  if (sound.is(ErrorCode::kCorrupt)) tell_damage(sound.error());
  co_return sound;
}

Task<Status> KvStore::verify_now(uint64_t bytes_per_second) {
  while (fold_running_) {
    fold_ended_.reset();
    co_await fold_ended_.wait();
  }
  CO_TRY(std::unique_ptr<FoldCheck> check, target_.check());
  const Duration pause = std::chrono::nanoseconds(std::chrono::seconds(1)) *
                         static_cast<int64_t>(kVerifyStepBytes) /
                         static_cast<int64_t>(std::max<uint64_t>(bytes_per_second, 1));
  while (check) {
    Result<bool> done = false;
    std::function<void()> step = [&check, &done] { done = check->step(kVerifyStepBytes); };
    co_await target_.aside(std::move(step));
    if (!done) co_return tl::unexpected<Error>(done.error());
    if (*done) break;
    co_await runtime_.clock.sleep(pause);
    if (closing_ || failed_ || target_.wants_cursors_back())
      co_return fail(ErrorCode::kOverloaded, "the check of the metadata was interrupted");
  }
  co_return Status();
}

// Whoever met it goes on first: it may be in the midst of anything.
void KvStore::tell_damage(const Error& error) {
  if (!options_.damaged || std::exchange(damage_told_, true)) return;
  std::shared_ptr<bool> alive = alive_;
  runtime_.loop.post([this, alive, error] {
    if (*alive) options_.damaged(error);
  });
}

void KvStore::stop_for_good(const Error& error) {
  if (failed_) return;
  failed_ = Error{ErrorCode::kIo, "the metadata disk failed: " + error.message};
  log_error("metadata: {}; nothing more is acknowledged, the process must end", to_string(error));
  post_wake();
  post_relief();
  if (options_.fatal) options_.fatal(*failed_);
}

Task<void> KvStore::close() {
  closing_ = true;
  while (snapshotting_) {
    snapshot_ended_.reset();
    co_await snapshot_ended_.wait();
  }
  co_await scope_.join();
  while (fold_running_) {
    fold_ended_.reset();
    co_await fold_ended_.wait();
  }
}

}  // namespace covey
