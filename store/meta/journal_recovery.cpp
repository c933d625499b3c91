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
    "this node must not vote on what it may have forgotten: restore its metadata from a snapshot, "
    "or remove the node and let it join again under a new id";

}  // namespace

// Opens every journal file; those without a header become spares.
Task<Status> Journal::open_files(std::vector<JournalFile>& used) {
  CO_TRY(std::vector<std::string> names, co_await disk_.list(options_.dir));
  std::vector<std::pair<std::string, Blob>> headless;
  for (std::string& name : names) {
    if (!name.starts_with("journal-")) continue;
    next_name_ = std::max<uint64_t>(next_name_, std::strtoull(name.c_str() + 8, nullptr, 10) + 1);
    JournalFile found;
    found.name = name;
    CO_TRY(found.file, co_await disk_.open(path(name), Disk::Open::kReadWrite));
    CO_TRY(Blob start, co_await found.file->read(0, 2 * kJournalSectorBytes));
    CO_TRY(std::optional<JournalHeader> header, decode_journal_header(start.view()));
    if (header) {
      found.header = *header;
      last_generation_ = std::max(last_generation_, header->generation);
      used.push_back(std::move(found));
      continue;
    }
    headless.emplace_back(name, start);
    if (found.file->size() < options_.file_bytes) {
      Status allocated = co_await found.file->allocate(options_.file_bytes);
      if (!allocated && !allocated.is(ErrorCode::kNoSpace)) co_return allocated;
      if (!allocated) continue;
      CO_TRY_STATUS(co_await found.file->sync());
    }
    spares_.push_back(std::move(found));
  }
  for (auto& [name, start] : headless) {
    if (claims_later_generation(start.view(), last_generation_))
      co_return fail(ErrorCode::kCorrupt,
                     fmt::format("the header of {} is damaged; {}", path(name), kAdvice));
  }
  co_return Status();
}

Task<Status> Journal::load(std::optional<FoldPosition> position) {
  CO_TRY_STATUS(co_await disk_.make_dir(options_.dir));
  std::vector<JournalFile> used;
  CO_TRY_STATUS(co_await open_files(used));
  std::sort(used.begin(), used.end(), [](const JournalFile& a, const JournalFile& b) {
    return a.header.generation < b.header.generation;
  });
  uint64_t first_needed = position ? position->generation : 1;
  last_sequence_ = position ? position->sequence : 0;
  for (JournalFile& file : used)
    (file.header.generation < first_needed ? spares_ : closed_).push_back(std::move(file));
  // A file of another size (the setting was changed) is read once more, then replaced.
  std::erase_if(spares_, [&](JournalFile& f) { return f.file->size() < options_.file_bytes; });
  if (closed_.empty()) {
    if (position)
      co_return fail(ErrorCode::kCorrupt,
                     fmt::format("no journal file of generation {} or later in {}; {}",
                                 first_needed, options_.dir, kAdvice));
    co_return Status();
  }
  for (size_t i = 0; i < closed_.size(); ++i) {
    if (closed_[i].header.generation != first_needed + i)
      co_return fail(
          ErrorCode::kCorrupt,
          fmt::format("the journal file of generation {} is missing or damaged in {}; {}",
                      first_needed + i, options_.dir, kAdvice));
  }
  co_return Status();
}

// The records of file i end at `at`: is that where they ended when they were written?
Status Journal::settle_end(std::string_view bytes, size_t at, size_t i) const {
  const JournalFile& file = closed_[i];
  for (size_t later = at; later < bytes.size(); later += kJournalSectorBytes) {
    auto record = decode_record(bytes, later, file.header);
    if (record && record->first_sequence > last_sequence_)
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{} is damaged at byte {}: acknowledged records follow at {}; {}",
                              path(file.name), at, later, kAdvice));
  }
  if (i + 1 < closed_.size() && closed_[i + 1].header.first_sequence > last_sequence_ + 1)
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("{} ends at sequence {}, the next file starts at {}; {}", path(file.name),
                    last_sequence_, closed_[i + 1].header.first_sequence, kAdvice));
  return {};
}

Task<Status> Journal::replay(size_t i, std::function<void(uint64_t, WriteBatch)> apply) {
  JournalFile& file = closed_[i];
  CO_TRY(Blob blob, co_await file.file->read(0, file.file->size()));
  std::string_view bytes = blob.view();
  if (file.header.first_sequence > last_sequence_ + 1)
    co_return fail(
        ErrorCode::kCorrupt,
        fmt::format("{} starts at sequence {}, but only {} is known; {}", path(file.name),
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
                                                        path(file.name), at, kAdvice));
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
