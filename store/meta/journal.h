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
  // Where journals may stand from before (settings or releases); they are read, and removed once
  // nothing needs them.
  std::vector<std::string> other_dirs;
  // A file is copied here, as `archive_name` of its generation, before it is used again; empty:
  // never. The folder is made.
  std::string archive_dir;
  // Rebuilding: no file that was found is ever overwritten, copied or removed.
  bool keep_all = false;
  // Rebuilding what is damaged: what follows a gap or damage counts as never written.
  bool until_damage = false;
  uint64_t first_sequence = 1;  // of a journal in which nothing is
  uint64_t file_bytes = 16 << 20;
  size_t files_max = 6;
  size_t spares_wanted = 2;  // one for any write, one more for batches that may use the reserve
};

// The name of the copy of a closed journal, and the generation such a name says.
std::string archive_name(uint64_t generation);
std::optional<uint64_t> archived_generation(std::string_view name);

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
  uint64_t held_bytes() const;

  // Files of generations before this one are no longer needed, once they are archived.
  void release_before(uint64_t generation);
  // There is a closed file that has no copy yet.
  bool wants_archiving() const;
  // Copies the oldest of these, verified. Errors: kNoSpace, kCorrupt (then skip it), kIo.
  Task<Status> archive_next();
  // The oldest of these gets no copy: a rebuild cannot go beyond it.
  void skip_archiving();
  // The first generation that has no copy in the archive yet, and was not skipped.
  uint64_t first_unarchived() const;
  // The generation after the last one that was skipped; 0: none was.
  uint64_t after_skipped() const { return after_skipped_; }
  // What was damaged or missing when it was opened (until_damage); empty: nothing.
  const std::string& damage() const { return damage_; }
  // Removes files of other folders that are not needed any more.
  Task<void> remove_foreign();
  bool wants_spare() const;
  // Makes one more spare. Errors: kNoSpace (try later), kIo.
  Task<Status> make_spare();

 private:
  struct JournalFile {
    std::string path;
    std::unique_ptr<File> file;
    JournalHeader header;
    uint64_t used = 0;     // bytes of its header and records, as replay() found them
    bool foreign = false;  // stands in another folder: never written
  };

  std::string path(const std::string& name) const { return options_.dir + "/" + name; }
  Task<Status> open_folder(std::string dir, bool foreign, std::vector<JournalFile>& used);
  Task<Status> find_archived();
  bool in_archive(uint64_t generation) const { return generation <= archived_through_; }
  // The oldest closed file without a copy.
  const JournalFile* next_to_archive() const;
  void recycle();
  Status check_chain(std::optional<FoldPosition> position, uint64_t first_needed) const;
  Status settle_end(std::string_view bytes, size_t at, size_t i) const;
  Task<Status> replay_file(size_t i, std::function<void(uint64_t, WriteBatch)>& apply);
  // Opens the next generation in a spare file.
  Task<Status> advance();

  Disk& disk_;
  Rng& rng_;
  JournalOptions options_;
  uint64_t last_sequence_ = 0;  // of the last batch recovered or written
  uint64_t last_generation_ = 0;
  uint64_t next_name_ = 1;
  std::vector<JournalFile> closed_;   // by generation
  std::vector<JournalFile> retired_;  // by generation: released when they were found, no copy yet
  std::unique_ptr<JournalFile> current_;
  uint64_t end_ = 0;  // of the current file
  std::vector<JournalFile> spares_;
  std::vector<std::string> to_remove_;  // of other folders
  uint64_t released_before_ = 0;
  uint64_t archived_through_ = UINT64_MAX;
  uint64_t after_skipped_ = 0;
  std::string damage_;
};

}  // namespace covey
