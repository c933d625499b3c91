#include "store/meta/kv_store.h"

#include <algorithm>
#include <utility>

#include "base/core/check.h"
#include "base/core/log.h"
#include "store/meta/merge_iterator.h"

namespace covey {
namespace {

constexpr size_t kGroupBytesMax = 1 * kMiB;  // a record takes no more batches beyond this
// How much above the table's bound the batches that free space may go.
constexpr size_t kReserveTableBytes = 2 * kMiB;
constexpr Duration kRoomRetryEvery = std::chrono::seconds(2);

size_t reserve_table_bytes(WriteBatch::Share share) {
  if (share == WriteBatch::Share::kNone) return 0;
  return share == WriteBatch::Share::kRepair ? kReserveTableBytes / 2 : kReserveTableBytes;
}

JournalOptions journal_options(const KvOptions& options) {
  JournalOptions out;
  out.dir = options.journal_dir.empty() ? options.dir + "/journal" : options.journal_dir;
  out.other_dirs = options.other_journal_dirs;
  out.archive_dir = options.archive_dir;
  out.keep_all = options.keep_journals;
  out.until_damage = options.damage != nullptr;
  out.first_sequence = options.first_sequence;
  out.file_bytes = options.journal_file_bytes;
  out.files_max = options.journal_files_max;
  return out;
}

}  // namespace

KvStore::KvStore(KvOptions options, Runtime runtime, FoldTarget& target)
    : options_(std::move(options)),
      runtime_(runtime),
      target_(target),
      journal_(runtime.disk, runtime.rng, journal_options(options_)) {
  // Whatever waits fits into one spare file, so one spare is always enough to take it.
  options_.batch_bytes_max =
      std::min<size_t>(options_.batch_bytes_max, options_.journal_file_bytes / 4);
  options_.waiting_bytes_max =
      std::min<size_t>(options_.waiting_bytes_max, options_.journal_file_bytes / 4);
  target_.on_damage = [this](const Error& error) { tell_damage(error); };
}

KvStore::~KvStore() {
  CHECK(waiters_.empty());
  *alive_ = false;
  target_.on_damage = [](const Error&) {};
}

Task<Status> KvStore::open() {
  CO_TRY(std::optional<FoldPosition> position, target_.position());
  CO_TRY_STATUS(co_await journal_.load(position));
  for (size_t i = 0; i < journal_.loaded(); ++i) {
    std::function<void(uint64_t, WriteBatch)> sink = [this](uint64_t sequence, WriteBatch batch) {
      apply(std::move(batch), sequence);
    };
    CO_TRY_STATUS(co_await journal_.replay(i, std::move(sink)));
    if (active_->bytes() < options_.fold_bytes) continue;
    FoldPosition covered{journal_.last_sequence(), journal_.loaded_generation(i)};
    std::shared_ptr<const MemTable> table = std::exchange(active_, std::make_shared<MemTable>());
    CO_TRY_STATUS(co_await target_.fold(std::move(table), covered));
  }
  visible_ = durable_ = journal_.last_sequence();
  if (journal_.spares() == 0 && journal_.loaded() > 1) {
    // A full disk gives no further file: those that are folded serve again.
    FoldPosition covered{visible_, journal_.loaded_generation(journal_.loaded() - 1)};
    std::shared_ptr<const MemTable> table = std::exchange(active_, std::make_shared<MemTable>());
    CO_TRY_STATUS(co_await target_.fold(std::move(table), covered));
    journal_.release_before(covered.generation);
    co_await archive_closed();
  }
  if (options_.damage) *options_.damage = journal_.damage();
  CO_TRY_STATUS(co_await journal_.start());
  Status folded = co_await fold_once();
  // A full disk still serves reads and deletes: the replayed rows stay in the table.
  if (!folded && !folded.is(ErrorCode::kNoSpace)) co_return folded;
  co_await refill_spares();
  if (failed_) co_return fail(failed_->code, failed_->message);
  start_archiving();
  co_return Status();
}

Result<std::optional<KvValue>> KvStore::get(std::string_view key) {
  const MemRow* row = active_->find(key);
  if (!row && folding_) row = folding_->find(key);
  if (row) {
    if (!row->value) return std::optional<KvValue>();
    return std::optional<KvValue>(KvValue{*row->value, row->version});
  }
  TRY(std::optional<std::string> folded, target_.get(key));
  if (!folded) return std::optional<KvValue>();
  return std::optional<KvValue>(KvValue{std::move(*folded), 0});
}

std::unique_ptr<KvIterator> KvStore::scan(std::string begin, std::string end) {
  return std::make_unique<MergeIterator>(active_, folding_, target_.cursor(), std::move(begin),
                                         std::move(end));
}

Status KvStore::check_batch(const WriteBatch& batch) const {
  for (const WriteBatch::Op& op : batch.ops()) {
    if (op.key.empty() || op.key.size() > kKvKeyBytesMax)
      return fail(ErrorCode::kTooLarge, "a metadata key has 1 to 1200 bytes");
    if (op.value && op.value->size() > kKvValueBytesMax)
      return fail(ErrorCode::kTooLarge, "a metadata value has at most 1 MiB");
  }
  return {};
}

// Decides before anything is visible: once admitted, a batch has its place in the journal.
Status KvStore::admit(const WriteBatch& batch, size_t bytes) const {
  if (failed_) return fail(failed_->code, failed_->message);
  // The commit would run after close() has waited for the last one.
  if (closing_) return fail(ErrorCode::kUnavailable, "the metadata store is closed");
  if (bytes > options_.batch_bytes_max)
    return fail(ErrorCode::kTooLarge, "a metadata batch is too large; split it");
  using Share = WriteBatch::Share;
  const Share share = batch.reserve_share();
  if (waiting_bytes_ + bytes > options_.waiting_bytes_max)
    return fail(ErrorCode::kOverloaded, "too many metadata writes wait for the disk");
  size_t tables = active_->bytes() + (folding_ ? folding_->bytes() : 0) + bytes;
  if (tables > options_.table_bytes_max + reserve_table_bytes(share))
    return fold_no_space_
               ? fail(ErrorCode::kNoSpace, "the metadata disk is full: free space on it")
               : fail(ErrorCode::kOverloaded, "metadata is written faster than the disk takes it");
  bool roomy = share == Share::kAll ||
               (share == Share::kRepair ? target_.room_for_repair() : target_.roomy());
  if (!roomy) return fail(ErrorCode::kNoSpace, "the metadata disk is full: free space on it");
  // A repair may take the last file: it is folded while there is room, which gives files back.
  size_t spares_kept = share == Share::kNone ? 1 : 0;
  bool fits = waiting_padded_ + journal_padded(bytes + kRecordHeaderBytes) + kJournalSectorBytes <=
              journal_.room();
  if (fits || journal_.spares() > spares_kept) return {};
  return no_space_ || fold_no_space_
             ? fail(ErrorCode::kNoSpace, "no room for the metadata journal: free space on its disk")
             : fail(ErrorCode::kOverloaded, "the metadata journal waits for a fold");
}

void KvStore::enqueue(const WriteBatch& batch) {
  if (groups_.empty() || groups_.back().record.size() >= kGroupBytesMax) {
    Group group;
    group.record.assign(kRecordHeaderBytes, '\0');
    group.first_sequence = visible_ + 1;
    groups_.push_back(std::move(group));
    waiting_padded_ += journal_padded(kRecordHeaderBytes);
  }
  Group& group = groups_.back();
  size_t before = group.record.size();
  encode_batch(group.record, batch);
  ++group.batches;
  waiting_bytes_ += group.record.size() - before;
  waiting_padded_ += journal_padded(group.record.size()) - journal_padded(before);
}

void KvStore::apply(WriteBatch batch, KvVersion version) {
  for (WriteBatch::Op& op : batch.ops())
    active_->set(std::move(op.key), std::move(op.value), version);
}

Task<Status> KvStore::write(WriteBatch batch) {
  if (batch.empty()) co_return Status();
  CO_TRY_STATUS(check_batch(batch));
  // Per operation: kind and two varint lengths.
  size_t bytes = batch.bytes() + 16 * batch.ops().size() + 16;
  Status admitted = admit(batch, bytes);
  if (!admitted) {
    start_fold_if_due();
    start_refill();
    look_for_room();
    co_return admitted;
  }
  enqueue(batch);
  KvVersion version = ++visible_;
  apply(std::move(batch), version);
  start_commit();
  start_fold_if_due();
  co_return co_await durable(version);
}

Status KvStore::write_unlogged(WriteBatch batch) {
  TRY_STATUS(check_batch(batch));
  if (failed_) return fail(failed_->code, failed_->message);
  size_t tables = active_->bytes() + (folding_ ? folding_->bytes() : 0) + batch.bytes();
  if (tables > options_.table_bytes_max + reserve_table_bytes(batch.reserve_share())) {
    start_fold_if_due();
    return fail(fold_no_space_ ? ErrorCode::kNoSpace : ErrorCode::kOverloaded,
                "the metadata tables are full");
  }
  apply(std::move(batch), visible_);
  start_fold_if_due();
  return {};
}

Levels KvStore::levels() const {
  size_t tables = active_->bytes() + (folding_ ? folding_->bytes() : 0);
  return {{"metadata_journal_bytes", waiting_bytes_, options_.waiting_bytes_max},
          {"metadata_tables_bytes", tables, options_.table_bytes_max + kReserveTableBytes, false}};
}

bool KvStore::busy() const {
  if (failed_ || no_space_ || fold_no_space_) return false;
  size_t tables = active_->bytes() + (folding_ ? folding_->bytes() : 0);
  const uint64_t margin = options_.journal_file_bytes / 16;  // of a file that no spare follows
  const bool last_file = journal_.spares() <= 1 && waiting_padded_ + margin > journal_.room();
  return last_file || tables > options_.table_bytes_max - options_.table_bytes_max / 8 ||
         waiting_bytes_ > options_.waiting_bytes_max / 2;
}

Task<void> KvStore::relief(TimePoint deadline) {
  ++relief_waiters_;
  while (busy() && runtime_.clock.now() < deadline) {
    start_fold_if_due();
    start_refill();
    relieved_.reset();
    co_await relieved_.wait_until(runtime_.clock, deadline);
  }
  --relief_waiters_;
}

void KvStore::post_relief() {
  if (relief_posted_ || relief_waiters_ == 0) return;
  relief_posted_ = true;
  std::shared_ptr<bool> alive = alive_;
  runtime_.loop.post([this, alive] {
    if (!*alive) return;
    relief_posted_ = false;
    relieved_.set();
  });
}

struct KvStore::DurableAwaiter {
  KvStore& store;
  KvVersion version;
  bool await_ready() noexcept { return store.durable_ >= version || store.failed_.has_value(); }
  void await_suspend(std::coroutine_handle<> h) {
    // Nearly always at the end.
    auto at = store.waiters_.end();
    while (at != store.waiters_.begin() && std::prev(at)->version > version) --at;
    store.waiters_.insert(at, Waiter{version, h});
  }
  void await_resume() noexcept {}
};

Task<Status> KvStore::durable(KvVersion version) {
  CHECK(version <= visible_);
  DurableAwaiter awaiter{*this, version};
  co_await awaiter;
  if (durable_ >= version) co_return Status();
  co_return fail(failed_->code, failed_->message);
}

void KvStore::start_commit() {
  if (committing_ || groups_.empty() || failed_) return;
  committing_ = true;
  scope_.spawn(commit_groups());
}

Task<void> KvStore::commit_groups() {
  while (!groups_.empty() && !failed_) {
    Group group = std::move(groups_.front());
    groups_.pop_front();
    size_t bytes = group.record.size() - kRecordHeaderBytes;
    waiting_padded_ -= journal_padded(group.record.size());
    KvVersion last = group.first_sequence + group.batches - 1;
    Status written =
        co_await journal_.append(std::move(group.record), group.first_sequence, group.batches);
    waiting_bytes_ -= bytes;
    if (!written) {
      stop_for_good(written.error());
      break;
    }
    durable_ = last;
    if (!no_space_) start_refill();
    post_relief();
    start_archiving();
    // The next group starts first; then those who waited for this one go on.
    post_wake();
  }
  committing_ = false;
}

void KvStore::post_wake() {
  if (wake_posted_ || waiters_.empty()) return;
  wake_posted_ = true;
  std::shared_ptr<bool> alive = alive_;
  runtime_.loop.post([this, alive] {
    if (!*alive) return;
    wake_posted_ = false;
    wake();
  });
}

void KvStore::wake() {
  std::shared_ptr<bool> alive = alive_;  // the last one to be resumed may destroy the store
  while (*alive && !waiters_.empty() && (waiters_.front().version <= durable_ || failed_)) {
    std::coroutine_handle<> handle = waiters_.front().handle;
    waiters_.pop_front();
    handle.resume();
  }
}

// Nothing is folded while every write is refused: somebody has to notice that there is room again.
void KvStore::look_for_room() {
  if (room_running_ || failed_ || target_.roomy()) return;
  if (runtime_.clock.now() < room_retry_at_) return;
  room_running_ = true;
  scope_.spawn(make_room());
}

Task<void> KvStore::make_room() {
  if (!std::exchange(room_told_, true))
    log_warn("the metadata disk is nearly full: only what frees space is written");
  co_await target_.make_room();
  if (target_.roomy()) {
    log_info("the metadata disk has room again");
    room_told_ = false;
  }
  room_retry_at_ = runtime_.clock.after(kRoomRetryEvery);
  room_running_ = false;
}

void KvStore::start_refill() {
  if (spares_running_ || failed_ || !journal_.wants_spare()) return;
  spares_running_ = true;
  scope_.spawn(refill_spares());
}

void KvStore::start_archiving() {
  if (archiving_ || failed_ || !journal_.wants_archiving()) return;
  archiving_ = true;
  scope_.spawn(archive_closed());
}

// A file that cannot be copied is used again all the same: rebuilds then need a newer snapshot.
Task<void> KvStore::archive_closed() {
  archiving_ = true;
  co_await runtime_.loop.yield();
  while (journal_.wants_archiving() && !failed_) {
    bool allowed = !options_.may_archive || options_.may_archive();
    Status kept = fail(ErrorCode::kNoSpace, "the data disk is short of space");
    if (allowed) kept = co_await journal_.archive_next();
    bool skip = !kept && !kept.is(ErrorCode::kIo);
    if (skip) {
      if (!std::exchange(skip_told_, true))
        log_warn("a closed metadata journal is not kept for rebuilds: {}", kept.error().message);
      journal_.skip_archiving();
    } else if (!kept) {
      stop_for_good(kept.error());
    } else {
      skip_told_ = false;
    }
    post_relief();
    start_refill();
  }
  co_await journal_.remove_foreign();
  archiving_ = false;
}

Task<void> KvStore::refill_spares() {
  co_await journal_.remove_foreign();
  while (journal_.wants_spare() && !failed_) {
    Status made = co_await journal_.make_spare();
    no_space_ = made.is(ErrorCode::kNoSpace);
    if (no_space_)
      log_warn("no space for another metadata journal file: {}", to_string(made.error()));
    if (!made && !no_space_) stop_for_good(made.error());
    if (!made) break;
    post_relief();
  }
  spares_running_ = false;
}

}  // namespace covey
