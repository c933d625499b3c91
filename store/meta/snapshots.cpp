#include "store/meta/snapshots.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/core/log.h"
#include "store/meta/journal.h"
#include "store/meta/snapshot_file.h"

namespace covey {
namespace {

constexpr size_t kKept = 2;
constexpr Duration kTick = std::chrono::milliseconds(500);
// What is left free for others: a 20th of the file system, within these bounds.
constexpr uint64_t kReserveMin = 192 * kMiB, kReserveMax = 4 * kGiB;
constexpr uint64_t kJournalBytesMin = 64 * kMiB;

uint64_t reserve_of(uint64_t total_bytes) {
  return std::clamp(total_bytes / 20, kReserveMin, kReserveMax);
}

}  // namespace

Task<Result<std::vector<SnapshotFile>>> list_snapshots(Disk& disk, std::string folder) {
  std::vector<SnapshotFile> found;
  auto names = co_await disk.list(folder);
  if (names.is(ErrorCode::kNotFound)) co_return found;
  if (!names) co_return tl::unexpected<Error>(names.error());
  for (const std::string& name : *names) {
    if (!is_snapshot_name(name)) continue;
    auto covers = co_await read_snapshot_header(disk, folder + "/" + name);
    if (covers.is(ErrorCode::kIo)) co_return tl::unexpected<Error>(covers.error());
    if (covers)
      found.push_back({name, *covers});
    else
      log_warn("{}; it is left alone", covers.error().message);
  }
  std::sort(found.begin(), found.end(), [](const SnapshotFile& a, const SnapshotFile& b) {
    return a.covers.sequence < b.covers.sequence;
  });
  co_return found;
}

Task<Status> Snapshots::open() {
  started_ = runtime_.clock.now();
  CO_TRY_STATUS(co_await runtime_.disk.make_dir(folders_.snapshots()));
  CO_TRY_STATUS(co_await runtime_.disk.make_dir(folders_.archive()));
  CO_TRY_STATUS(co_await look());
  co_await look_at_space();
  co_return Status();
}

Task<Status> Snapshots::look() {
  CO_TRY(std::vector<std::string> names, co_await runtime_.disk.list(folders_.archive()));
  std::vector<Copy> copies;
  for (const std::string& name : names) {
    auto generation = archived_generation(name);
    if (!generation) continue;
    auto known = std::find_if(copies_.begin(), copies_.end(),
                              [&](const Copy& copy) { return copy.generation == *generation; });
    if (known != copies_.end()) {
      copies.push_back(*known);
      continue;
    }
    auto file = co_await runtime_.disk.open(folders_.archive() + "/" + name, Disk::Open::kRead);
    if (file) copies.push_back({*generation, (*file)->size()});
  }
  copies_ = std::move(copies);
  CO_TRY(kept_, co_await list_snapshots(runtime_.disk, folders_.snapshots()));
  co_return Status();
}

// Other data goes first: when space is short no further copies are made, and of what is there only
// the newest snapshot stays with what belongs to it.
Task<void> Snapshots::look_at_space() {
  auto space = co_await runtime_.disk.space(folders_.top);
  if (!space) co_return;
  total_bytes_ = space->total_bytes;
  short_of_space_ = space->free_bytes < reserve_of(space->total_bytes);
  if (!short_of_space_ || kept_.size() < kKept) co_return;
  Status pruned = co_await prune(1);
  if (!pruned) log_warn("an old metadata snapshot stays: {}", to_string(pruned.error()));
}

uint64_t Snapshots::journal_bytes_since(uint64_t generation) const {
  uint64_t bytes = 0;
  for (const Copy& copy : copies_) bytes += copy.generation >= generation ? copy.bytes : 0;
  return bytes;
}

// Every journal since the newest snapshot, or since the first, is here or still in use.
bool Snapshots::covered() const {
  KvJournalState journal = kv_.journal_state();
  uint64_t next = kept_.empty() ? 1 : kept_.back().covers.generation;
  if (next < journal.after_skipped) return false;
  for (const Copy& copy : copies_) next += copy.generation == next;
  return next >= journal.first_unarchived;
}

bool Snapshots::due() const {
  TimePoint now = runtime_.clock.now();
  if (short_of_space_ || now < not_before_) return false;
  if (!covered()) return now - started_ >= settings_.first_after;
  uint64_t enough =
      std::max(kJournalBytesMin, std::min(settings_.journal_bytes, total_bytes_ / 20));
  if (kept_.empty()) {
    Duration interval = settings_.interval;
    return now - started_ >= interval || journal_bytes_since(0) >= enough;
  }
  enough = std::max(enough, 2 * kept_.back().covers.bytes);
  if (journal_bytes_since(kept_.back().covers.generation) >= enough) return true;
  return std::chrono::milliseconds(*age_ms()) >= settings_.interval;
}

std::optional<int64_t> Snapshots::age_ms() const {
  if (kept_.empty()) return std::nullopt;
  return std::max<int64_t>(0, runtime_.clock.wall_now().ms - kept_.back().covers.made_ms);
}

Task<Status> Snapshots::prune(size_t snapshots) {
  while (kept_.size() > snapshots) {
    std::string name = kept_.front().name;
    CO_TRY_STATUS(co_await runtime_.disk.remove(folders_.snapshots() + "/" + name));
    kept_.erase(kept_.begin());
  }
  if (kept_.empty()) co_return Status();
  const uint64_t needed = kept_.front().covers.generation;
  while (!copies_.empty() && copies_.front().generation < needed) {
    std::string name = archive_name(copies_.front().generation);
    Status removed = co_await runtime_.disk.remove(folders_.archive() + "/" + name);
    if (!removed && !removed.is(ErrorCode::kNotFound)) co_return removed;
    copies_.erase(copies_.begin());
  }
  co_return Status();
}

Task<Result<KvSnapshot>> Snapshots::make() {
  CO_TRY(DiskSpace space, co_await runtime_.disk.space(folders_.top));
  // How large it will be is not known before; the last one is a good guess.
  uint64_t wanted = reserve_of(space.total_bytes) +
                    (kept_.empty() ? uint64_t{kMiB} : kept_.back().covers.bytes * 3 / 2);
  if (space.free_bytes < wanted)
    co_return fail(ErrorCode::kNoSpace,
                   fmt::format("{} has {} MiB free, {} are wanted: make room there", folders_.top,
                               space.free_bytes / kMiB, wanted / kMiB));
  std::string fresh = folders_.snapshots() + "/next";
  Status gone = co_await runtime_.disk.remove(fresh);
  if (!gone && !gone.is(ErrorCode::kNotFound)) co_return tl::unexpected<Error>(gone.error());
  // Rows that vanished from a damaged page are not missed by the snapshot.
  CO_TRY_STATUS(co_await verifier_.pass());
  CO_TRY(KvSnapshot made, co_await kv_.snapshot(fresh, settings_.bytes_per_second));
  CO_TRY_STATUS(
      co_await runtime_.disk.rename(fresh, folders_.snapshots() + "/" + snapshot_name(made)));
  CO_TRY_STATUS(co_await runtime_.disk.sync_dir(folders_.snapshots()));
  co_return made;
}

Task<Status> Snapshots::take() {
  running_ = true;
  asked_ = false;
  auto made = co_await make();
  Status done;
  if (!made) done = tl::unexpected<Error>(made.error());
  if (done) done = co_await look();
  if (done) done = co_await prune(kKept);
  running_ = false;
  ++attempts_;
  trouble_ = done ? "" : done.error().message;
  not_before_ = done ? TimePoint() : runtime_.clock.after(settings_.retry);
  if (!done) co_return done;
  log_info("metadata snapshot {}: {} rows, {} MiB", snapshot_name(*made), made->rows,
           made->bytes / kMiB);
  co_return Status();
}

Task<void> Snapshots::run(Scope& scope) {
  bool go_on = true;
  TimePoint next_look;
  while (go_on) {
    if (asked_ || runtime_.clock.now() >= next_look) {
      next_look = runtime_.clock.after(settings_.check);
      Status looked = co_await look();
      if (!looked) log_warn("metadata snapshots: {}", to_string(looked.error()));
      co_await look_at_space();
      bool now = asked_ || due();
      if (now && !scope.stop_requested()) {
        Status made = co_await take();
        if (!made) log_warn("no metadata snapshot: {}", made.error().message);
      }
    }
    go_on = co_await scope.sleep(runtime_.clock, kTick);
  }
}

Snapshots::Progress Snapshots::progress() const {
  Progress progress;
  progress.kept = kept_;
  progress.journal_bytes = journal_bytes_since(0);
  progress.running = running_ || asked_;
  progress.attempts = attempts_;
  progress.covered = covered();
  progress.trouble = trouble_;
  if (short_of_space_ && trouble_.empty())
    progress.trouble = "the data disk is short of space: nothing new is kept for a rebuild";
  return progress;
}

}  // namespace covey
