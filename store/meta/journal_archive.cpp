// Journal: keeping closed files for rebuilds. A file is copied before it is used again; renaming it
// instead would make every generation write to freshly allocated space, and each of its syncs two
// flushes (docs/adr/0006-rebuild.md).
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/core/check.h"
#include "base/core/log.h"
#include "store/meta/journal.h"

namespace covey {
namespace {

constexpr std::string_view kArchivePrefix = "journal-";
constexpr size_t kGenerationDigits = 16;
// Written and synced at a time, so that the journal's own syncs come in between.
constexpr size_t kCopyStepBytes = 1 << 20;

// Where the valid records of a file's bytes end.
size_t records_end(std::string_view bytes, const JournalHeader& header) {
  size_t at = kJournalHeaderBytes;
  uint64_t expected = header.first_sequence;
  while (auto record = decode_record(bytes, at, header)) {
    if (record->first_sequence != expected) break;
    expected += record->batches;
    at += record->padded_bytes;
  }
  return at;
}

}  // namespace

std::string archive_name(uint64_t generation) {
  return fmt::format("{}{:0{}x}", kArchivePrefix, generation, kGenerationDigits);
}

std::optional<uint64_t> archived_generation(std::string_view name) {
  if (name.size() != kArchivePrefix.size() + kGenerationDigits || !name.starts_with(kArchivePrefix))
    return std::nullopt;
  name.remove_prefix(kArchivePrefix.size());
  uint64_t generation = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), generation, 16);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return generation;
}

Task<Status> Journal::find_archived() {
  if (options_.archive_dir.empty() || options_.keep_all) co_return Status();
  CO_TRY_STATUS(co_await disk_.make_dir(options_.archive_dir));
  CO_TRY(std::vector<std::string> names, co_await disk_.list(options_.archive_dir));
  archived_through_ = 0;
  for (const std::string& name : names) {
    if (auto generation = archived_generation(name)) {
      archived_through_ = std::max(archived_through_, *generation);
    } else if (name.ends_with(".new")) {  // a copy that was not finished
      CO_TRY_STATUS(co_await disk_.remove(options_.archive_dir + "/" + name));
    }
  }
  co_return Status();
}

const Journal::JournalFile* Journal::next_to_archive() const {
  for (const std::vector<JournalFile>* files : {&retired_, &closed_})
    for (const JournalFile& file : *files)
      if (!in_archive(file.header.generation)) return &file;
  return nullptr;
}

bool Journal::wants_archiving() const { return next_to_archive() != nullptr; }

uint64_t Journal::first_unarchived() const {
  const JournalFile* file = next_to_archive();
  if (file) return file->header.generation;
  return current_ ? current_->header.generation : last_generation_ + 1;
}

Task<Status> Journal::archive_next() {
  const JournalFile* file = next_to_archive();
  CHECK(file);
  // The entry may move meanwhile; the open file stays until it is archived.
  File* source = file->file.get();
  const JournalHeader header = file->header;
  const uint64_t used = file->used;
  const std::string name = file->path;
  const std::string to = options_.archive_dir + "/" + archive_name(header.generation);
  CO_TRY(Blob bytes, co_await source->read(0, used != 0 ? used : source->size()));
  const size_t end = records_end(bytes.view(), header);
  if (used != 0 && end != used)
    co_return fail(ErrorCode::kCorrupt,
                   fmt::format("{} is damaged at byte {}: it is not kept", name, end));
  std::string fresh = to + ".new";
  Status gone = co_await disk_.remove(fresh);
  if (!gone && !gone.is(ErrorCode::kNotFound)) co_return gone;
  CO_TRY(std::unique_ptr<File> copy, co_await disk_.open(fresh, Disk::Open::kCreate));
  Status written;
  for (size_t at = 0; at < end && written; at += kCopyStepBytes) {
    std::vector<Blob> piece;
    piece.push_back(bytes.slice(at, std::min(kCopyStepBytes, end - at)));
    written = co_await copy->write_sync(at, std::move(piece));
  }
  copy.reset();
  if (!written) {
    (void)co_await disk_.remove(fresh);
    co_return written;
  }
  CO_TRY_STATUS(co_await disk_.rename(std::move(fresh), to));
  CO_TRY_STATUS(co_await disk_.sync_dir(options_.archive_dir));
  archived_through_ = std::max(archived_through_, header.generation);
  recycle();
  co_return Status();
}

void Journal::skip_archiving() {
  const JournalFile* file = next_to_archive();
  CHECK(file);
  archived_through_ = file->header.generation;
  after_skipped_ = archived_through_ + 1;
  recycle();
}

void Journal::recycle() {
  if (options_.keep_all) return;
  for (std::vector<JournalFile>* files : {&retired_, &closed_}) {
    while (!files->empty() && files->front().header.generation < released_before_ &&
           in_archive(files->front().header.generation)) {
      JournalFile file = std::move(files->front());
      files->erase(files->begin());
      bool usable = !file.foreign && file.file->size() >= options_.file_bytes;
      if (usable)
        spares_.push_back(std::move(file));
      else
        to_remove_.push_back(std::move(file.path));
    }
  }
}

Task<void> Journal::remove_foreign() {
  CHECK(!options_.keep_all || to_remove_.empty());
  std::vector<std::string> paths = std::exchange(to_remove_, {});
  for (std::string& path : paths) {
    std::string name = path;
    Status removed = co_await disk_.remove(std::move(path));
    if (!removed && !removed.is(ErrorCode::kNotFound))
      log_warn("{} is not needed any more and stays: {}", name, to_string(removed.error()));
  }
}

}  // namespace covey
