// KvStore: the Kv of store/meta. Writes go to the active table and the pending group at once; one
// commit at a time writes a group to the journal; one fold at a time moves a table into the target.
// Both run only while there is something to do.
#pragma once

#include <coroutine>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/async/event.h"
#include "base/async/runtime.h"
#include "store/meta/fold_target.h"
#include "store/meta/journal.h"
#include "store/meta/mem_table.h"
#include "store/meta/open_kv.h"

namespace covey {

class KvStore : public Kv {
 public:
  KvStore(KvOptions options, Runtime runtime, FoldTarget& target);
  // REQUIRES: close() was awaited, or nothing runs in the background.
  ~KvStore() override;

  // Recovery; once, before anything else.
  Task<Status> open();

  Result<std::optional<KvValue>> get(std::string_view key) override;
  std::unique_ptr<KvIterator> scan(std::string begin, std::string end) override;
  Task<Status> write(WriteBatch batch) override;
  Status write_unlogged(WriteBatch batch) override;
  bool busy() const override;
  Task<void> relief(TimePoint deadline) override;
  Task<Status> durable(KvVersion version) override;
  KvVersion visible_version() const override { return visible_; }
  Levels levels() const override;
  uint64_t durable_sequence() const override { return durable_; }
  Task<Status> fold() override;
  Task<Result<KvSnapshot>> snapshot(std::string path, uint64_t bytes_per_second) override;
  Task<Status> verify(uint64_t bytes_per_second) override;
  KvJournalState journal_state() const override {
    return {journal_.first_unarchived(), journal_.after_skipped()};
  }
  Task<void> close() override;

 private:
  // Batches that go to the journal as one record.
  struct Group {
    std::string record;  // kRecordHeaderBytes free bytes, then the encoded batches
    uint64_t first_sequence = 0;
    uint32_t batches = 0;
  };
  struct Waiter {
    KvVersion version;
    std::coroutine_handle<> handle;
  };
  struct DurableAwaiter;

  Status check_batch(const WriteBatch& batch) const;
  Status admit(const WriteBatch& batch, size_t bytes) const;
  void enqueue(const WriteBatch& batch);
  void apply(WriteBatch batch, KvVersion version);
  void start_commit();
  Task<void> commit_groups();
  void post_wake();
  void post_relief();
  void wake();
  void start_fold_if_due();
  Task<void> fold_in_background();
  Task<Status> fold_once();
  void start_refill();
  void look_for_room();
  Task<void> make_room();
  Task<void> refill_spares();
  void start_archiving();
  Task<void> archive_closed();
  Task<Status> verify_now(uint64_t bytes_per_second);
  void tell_damage(const Error& error);
  Task<Result<KvSnapshot>> snapshot_now(std::string path, uint64_t bytes_per_second);
  void stop_for_good(const Error& error);

  KvOptions options_;
  Runtime runtime_;
  FoldTarget& target_;
  Journal journal_;

  std::shared_ptr<MemTable> active_ = std::make_shared<MemTable>();
  std::shared_ptr<const MemTable>
      folding_;                    // null: none, else being folded or (disk full) to be tried again
  FoldPosition folding_position_;  // what folding_ covers
  TimePoint fold_retry_at_, room_retry_at_;

  std::deque<Group> groups_;     // not yet given to the journal
  size_t waiting_bytes_ = 0;     // in groups_ and in the record being written
  uint64_t waiting_padded_ = 0;  // groups_ only, as they will stand in the journal
  KvVersion visible_ = 0;
  KvVersion durable_ = 0;
  std::deque<Waiter> waiters_;  // by version

  bool committing_ = false;
  bool fold_running_ = false;
  bool spares_running_ = false;
  bool archiving_ = false, skip_told_ = false;
  bool snapshotting_ = false, closing_ = false;
  bool damage_told_ = false;
  bool room_running_ = false, room_told_ = false;
  bool wake_posted_ = false, relief_posted_ = false;
  bool no_space_ = false;       // the journal could not grow
  bool fold_no_space_ = false;  // the target could not
  std::optional<Error> failed_;
  Scope scope_;
  Event fold_ended_, snapshot_ended_;
  Event relieved_;
  size_t relief_waiters_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace covey
