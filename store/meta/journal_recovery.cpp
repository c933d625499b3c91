// Journal: finding what a crash left. A record is acknowledged only once it is synced, and the next
// one starts only then; so only the very last record may be torn. Anything else is damage.
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/core/log.h"
#include "store/meta/journal.h"

namespace covey {
namespace {

constexpr std::string_view kAdvice =
    "this node must not vote on what it may have forgotten: run `covey meta rebuild --node "
    "--replace`, and it takes its place again under a new id";

}  // namespace

// Opens every journal file of a folder; in the journal's own, those without a header become spares.
Task<Status> Journal::open_folder(std::string dir, bool foreign, std::vector<JournalFile>& used) {
  auto listed = co_await disk_.list(dir);
  if (foreign && listed.is(ErrorCode::kNotFound)) co_return Status();
  CO_TRY(std::vector<std::string> names, std::move(listed));
  std::vector<std::pair<std::string, Blob>> headless;
  for (std::string& name : names) {
    if (!name.starts_with("journal-") || name.ends_with(".new")) continue;
    uint64_t number = std::strtoull(name.c_str() + 8, nullptr, 10);
    if (!foreign) next_name_ = std::max(next_name_, number + 1);
    JournalFile found;
    found.path = dir + "/" + name;
    found.foreign = foreign;
    Disk::Open mode = options_.keep_all ? Disk::Open::kRead : Disk::Open::kReadWrite;
    CO_TRY(found.file, co_await disk_.open(found.path, mode));
    CO_TRY(Blob start, co_await found.file->read(0, 2 * kJournalSectorBytes));
    CO_TRY(std::optional<JournalHeader> header, decode_journal_header(start.view()));
    if (header) {
      found.header = *header;
      last_generation_ = std::max(last_generation_, header->generation);
      used.push_back(std::move(found));
      continue;
    }
    headless.emplace_back(found.path, start);
    if (foreign && !options_.keep_all) to_remove_.push_back(found.path);  // a spare, never used
    if (foreign || options_.keep_all) continue;
    if (found.file->size() < options_.file_bytes) {
      Status allocated = co_await found.file->allocate(options_.file_bytes);
      if (!allocated && !allocated.is(ErrorCode::kNoSpace)) co_return allocated;
      if (!allocated) continue;
      CO_TRY_STATUS(co_await found.file->sync());
    }
    spares_.push_back(std::move(found));
  }
  for (auto& [path, start] : headless) {
    if (options_.until_damage || !claims_later_generation(start.view(), last_generation_)) continue;
    co_return fail(ErrorCode::kCorrupt,
                   fmt::format("the header of {} is damaged; {}", path, kAdvice));
  }
  co_return Status();
}

Task<Status> Journal::load(std::optional<FoldPosition> position) {
  CO_TRY_STATUS(co_await disk_.make_dir(options_.dir));
  CO_TRY_STATUS(co_await find_archived());
  std::vector<JournalFile> used;
  CO_TRY_STATUS(co_await open_folder(options_.dir, false, used));
  for (const std::string& dir : options_.other_dirs) {
    CO_TRY_STATUS(co_await open_folder(dir, true, used));
  }
  std::stable_sort(used.begin(), used.end(), [](const JournalFile& a, const JournalFile& b) {
    return a.header.generation < b.header.generation;
  });
  uint64_t first_needed = position ? position->generation : 1;
  last_sequence_ = position ? position->sequence : options_.first_sequence - 1;
  released_before_ = first_needed;
  for (JournalFile& file : used) {
    uint64_t generation = file.header.generation;
    bool twice = !closed_.empty() && closed_.back().header.generation == generation;
    if (generation >= first_needed && !twice) {
      closed_.push_back(std::move(file));
    } else if (options_.keep_all || twice) {
      if (!options_.keep_all && file.foreign) to_remove_.push_back(file.path);
    } else if (!in_archive(generation)) {
      retired_.push_back(std::move(file));
    } else if (file.foreign) {
      to_remove_.push_back(file.path);  // once its rows are safe elsewhere
    } else {
      spares_.push_back(std::move(file));
    }
  }
  // A file of another size (the setting was changed) is read once more, then replaced.
  std::erase_if(spares_, [&](JournalFile& f) { return f.file->size() < options_.file_bytes; });
  Status whole = check_chain(position, first_needed);
  if (!whole && options_.until_damage) {
    damage_ = whole.error().message;
    size_t sound = 0;
    while (sound < closed_.size() && closed_[sound].header.generation == first_needed + sound)
      ++sound;
    closed_.erase(closed_.begin() + static_cast<std::ptrdiff_t>(sound), closed_.end());
    co_return Status();
  }
  co_return whole;
}

Status Journal::check_chain(std::optional<FoldPosition> position, uint64_t first_needed) const {
  // The last generation is always in use: a copy of it is no end.
  bool open_one = !closed_.empty() && !closed_.back().path.starts_with(options_.archive_dir + "/");
  if (options_.keep_all && !open_one)
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("the open journal, with what was written last, is not in {}", options_.dir));
  if (closed_.empty() && position)
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("no journal file of generation {} or later in {} (is its disk mounted?); {}",
                    first_needed, options_.dir, kAdvice));
  for (size_t i = 0; i < closed_.size(); ++i) {
    if (closed_[i].header.generation != first_needed + i)
      return fail(ErrorCode::kCorrupt,
                  fmt::format("the journal file of generation {} is missing or damaged in {}; {}",
                              first_needed + i, options_.dir, kAdvice));
  }
  return {};
}

// The records of file i end at `at`: is that where they ended when they were written?
Status Journal::settle_end(std::string_view bytes, size_t at, size_t i) const {
  const JournalFile& file = closed_[i];
  for (size_t later = at; later < bytes.size(); later += kJournalSectorBytes) {
    auto record = decode_record(bytes, later, file.header);
    if (record && record->first_sequence > last_sequence_)
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{} is damaged at byte {}: acknowledged records follow at {}; {}",
                              file.path, at, later, kAdvice));
  }
  if (i + 1 < closed_.size() && closed_[i + 1].header.first_sequence > last_sequence_ + 1)
    return fail(ErrorCode::kCorrupt,
                fmt::format("{} ends at sequence {}, the next file starts at {}; {}", file.path,
                            last_sequence_, closed_[i + 1].header.first_sequence, kAdvice));
  return {};
}

Task<Status> Journal::replay(size_t i, std::function<void(uint64_t, WriteBatch)> apply) {
  if (options_.until_damage && !damage_.empty()) co_return Status();
  Status replayed = co_await replay_file(i, apply);
  if (!replayed.is(ErrorCode::kCorrupt) || !options_.until_damage) co_return replayed;
  damage_ = replayed.error().message;
  co_return Status();
}

Task<Status> Journal::replay_file(size_t i, std::function<void(uint64_t, WriteBatch)>& apply) {
  JournalFile& file = closed_[i];
  CO_TRY(Blob blob, co_await file.file->read(0, file.file->size()));
  std::string_view bytes = blob.view();
  if (file.header.first_sequence > last_sequence_ + 1)
    co_return fail(ErrorCode::kCorrupt,
                   fmt::format("{} starts at sequence {}, but only {} is known; {}", file.path,
                               file.header.first_sequence, last_sequence_, kAdvice));
  size_t at = kJournalHeaderBytes;
  uint64_t expected = file.header.first_sequence;
  while (auto record = decode_record(bytes, at, file.header)) {
    if (record->first_sequence != expected) break;
    std::string_view payload = record->payload;
    for (uint32_t n = 0; n < record->batches; ++n, ++expected) {
      std::optional<WriteBatch> batch = decode_batch(payload);
      if (!batch)
        co_return fail(ErrorCode::kCorrupt, fmt::format("{} has a malformed batch at byte {}; {}",
                                                        file.path, at, kAdvice));
      if (expected > last_sequence_) {
        last_sequence_ = expected;
        apply(expected, std::move(*batch));
      }
    }
    at += record->padded_bytes;
  }
  file.used = at;
  co_return settle_end(bytes, at, i);
}

}  // namespace covey
