#include "store/meta/journal.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/core/log.h"
#include "base/core/seeded_bug.h"

namespace covey {

Task<Status> Journal::make_spare() {
  std::string name = fmt::format("journal-{:06}", next_name_++);
  // A file left by a crash while it was made is found by load(); names are not used twice.
  CO_TRY(std::unique_ptr<File> file, co_await disk_.open(path(name), Disk::Open::kCreate));
  Status allocated = co_await file->allocate(options_.file_bytes);
  if (!allocated) {
    file.reset();
    CO_TRY_STATUS(co_await disk_.remove(path(name)));
    co_return allocated;
  }
  CO_TRY_STATUS(co_await file->sync());
  if (!SEEDED_BUG("meta-dir-unsynced")) {
    CO_TRY_STATUS(co_await disk_.sync_dir(options_.dir));
  }
  JournalFile spare;
  spare.path = path(name);
  spare.file = std::move(file);
  spares_.push_back(std::move(spare));
  co_return Status();
}

bool Journal::wants_spare() const {
  return spares_.size() < options_.spares_wanted &&
         spares_.size() + closed_.size() + retired_.size() + 1 < options_.files_max;
}

Task<Status> Journal::advance() {
  CHECK(!spares_.empty());
  auto next = std::make_unique<JournalFile>(std::move(spares_.front()));
  spares_.erase(spares_.begin());
  next->header.generation = last_generation_ + 1;
  next->header.first_sequence = last_sequence_ + 1;
  next->header.salt = static_cast<uint32_t>(rng_.next());
  std::vector<Blob> pieces;
  pieces.push_back(Blob::own(encode_journal_header(next->header)));
  CO_TRY_STATUS(co_await next->file->write_sync(0, std::move(pieces)));
  if (current_) {
    current_->used = end_;
    closed_.push_back(std::move(*current_));
  }
  last_generation_ = next->header.generation;
  current_ = std::move(next);
  end_ = kJournalHeaderBytes;
  co_return Status();
}

Task<Status> Journal::append(std::string record, uint64_t first_sequence, uint32_t batches) {
  CHECK(first_sequence == last_sequence_ + 1);
  if (journal_padded(record.size()) > room()) {
    CO_TRY_STATUS(co_await advance());
  }
  CHECK(journal_padded(record.size()) <= room());
  seal_record(record, current_->header, first_sequence, batches);
  uint64_t at = end_;
  end_ += record.size();
  std::vector<Blob> pieces;
  pieces.push_back(Blob::own(std::move(record)));
  if (SEEDED_BUG("meta-ack-before-sync")) {
    CO_TRY_STATUS(co_await current_->file->write(at, std::move(pieces)));
  } else {
    CO_TRY_STATUS(co_await current_->file->write_sync(at, std::move(pieces)));
  }
  last_sequence_ = first_sequence + batches - 1;
  co_return Status();
}

uint64_t Journal::held_bytes() const {
  uint64_t files = 0;
  for (const JournalFile& file : closed_) files += file.header.generation >= released_before_;
  return files * options_.file_bytes + end_;
}

void Journal::release_before(uint64_t generation) {
  released_before_ = std::max(released_before_, generation);
  recycle();
}

Task<Status> Journal::start() {
  for (JournalFile& file : closed_) {
    if (SEEDED_BUG("meta-replayed-unsynced")) break;
    if (options_.keep_all) break;  // another process will, or the node that is rebuilt
    // What was replayed may stand in the page cache only, left there by a process that died or
    // whose sync failed: the kernel takes such pages for clean, so that only writing them again,
    // not another sync, makes them durable.
    CO_TRY(Blob bytes, co_await file.file->read(0, file.used));
    std::vector<Blob> pieces;
    pieces.push_back(std::move(bytes));
    CO_TRY_STATUS(co_await file.file->write_sync(0, std::move(pieces)));
  }
  if (spares_.empty()) {
    CO_TRY_STATUS(co_await make_spare());
  }
  if (!SEEDED_BUG("meta-dir-unsynced")) {
    CO_TRY_STATUS(co_await disk_.sync_dir(options_.dir));
  }
  co_return co_await advance();
}

}  // namespace covey
