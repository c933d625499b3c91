// Journal: preallocated files that take one record per group commit and are used in turn. Each use
// of a file is a generation with a header that is synced before its first record. Files whose
// batches are all folded become spares and are overwritten by later generations.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/async/disk.h"
#include "base/async/rng.h"
#include "store/meta/fold_target.h"
#include "store/meta/journal_format.h"

namespace covey {

struct JournalOptions {
  std::string dir;
  uint64_t file_bytes = 16 << 20;
  size_t files_max = 6;
  size_t spares_wanted = 2;  // one for any write, one more for batches that may use the reserve
};

class Journal {
 public:
  Journal(Disk& disk, Rng& rng, JournalOptions options)
      : disk_(disk), rng_(rng), options_(std::move(options)) {}

  // Recovery, in this order. load() finds the files that hold what follows `position`; kCorrupt if
  // one is missing. replay(i) hands each batch after the position, in order, to `apply`; kCorrupt
  // when acknowledged records are damaged. start() opens a new generation after them.
  Task<Status> load(std::optional<FoldPosition> position);
  size_t loaded() const { return closed_.size(); }
  uint64_t loaded_generation(size_t i) const { return closed_[i].header.generation; }
  Task<Status> replay(size_t i, std::function<void(uint64_t, WriteBatch)> apply);
  Task<Status> start();

  // Writes and syncs one record; `record` begins with kRecordHeaderBytes free bytes. REQUIRES: none
  // is under way, and it fits: room() or a spare. Errors: kIo (stop for good).
  Task<Status> append(std::string record, uint64_t first_sequence, uint32_t batches);
  // The generation that takes the next record, or an earlier one.
  uint64_t generation() const { return current_->header.generation; }
  uint64_t last_sequence() const { return last_sequence_; }
  // What still fits into the current file, in padded bytes.
  uint64_t room() const { return options_.file_bytes - end_; }
  size_t spares() const { return spares_.size(); }
  // Bytes written to generations not yet released.
  uint64_t held_bytes() const { return closed_.size() * options_.file_bytes + end_; }

  // Files of generations before this one are no longer needed. (A copy of a closed file for
  // rebuilds would be taken here.)
  void release_before(uint64_t generation);
  bool wants_spare() const;
  // Makes one more spare. Errors: kNoSpace (try later), kIo.
  Task<Status> make_spare();

 private:
  struct JournalFile {
    std::string name;
    std::unique_ptr<File> file;
    JournalHeader header;
    uint64_t used = 0;  // bytes of its header and records, as replay() found them
  };

  std::string path(const std::string& name) const { return options_.dir + "/" + name; }
  Task<Status> open_files(std::vector<JournalFile>& used);
  Status check_chain(std::optional<FoldPosition> position, uint64_t last_generation);
  Status settle_end(std::string_view bytes, size_t at, size_t i) const;
  // Opens the next generation in a spare file.
  Task<Status> advance();

  Disk& disk_;
  Rng& rng_;
  JournalOptions options_;
  uint64_t last_sequence_ = 0;  // of the last batch recovered or written
  uint64_t last_generation_ = 0;
  uint64_t next_name_ = 1;
  std::vector<JournalFile> closed_;  // by generation
  std::unique_ptr<JournalFile> current_;
  uint64_t end_ = 0;  // of the current file
  std::vector<JournalFile> spares_;
};

}  // namespace covey
