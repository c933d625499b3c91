#include "store/block/ballast.h"

#include "base/core/check.h"
#include "base/core/log.h"

namespace covey {

Ballast::Ballast(Disk& disk, std::vector<std::string> dirs, uint64_t bytes)
    : disk_(disk),
      dirs_(std::move(dirs)),
      bytes_(bytes),
      there_(dirs_.size()),
      busy_(dirs_.size()) {}

Task<Status> Ballast::open(size_t dir) {
  Status removed = co_await disk_.remove(path(dir) + ".new");
  if (!removed && !removed.is(ErrorCode::kNotFound)) co_return removed;
  auto file = co_await disk_.open(path(dir), Disk::Open::kRead);
  if (file) {
    there_[dir] = (*file)->size() == bytes_;
    file->reset();
    if (there_[dir]) co_return Status();
    CO_TRY_STATUS(co_await disk_.remove(path(dir)));  // of another segment size
  }
  Status made = co_await restore(dir);
  if (!made.is(ErrorCode::kNoSpace)) co_return made;
  log_warn("{}: no space for the ballast of {} MiB; no new blocks until compaction makes room",
           dirs_[dir], bytes_ >> 20);
  co_return Status();
}

Task<Status> Ballast::restore(size_t dir) {
  if (there_[dir]) co_return Status();
  if (busy_[dir]) co_return fail(ErrorCode::kNoSpace, "the ballast is being made");
  busy_[dir] = true;
  std::string fresh = path(dir) + ".new";
  Status done;
  auto file = co_await disk_.open(fresh, Disk::Open::kCreate);
  if (!file) {
    done = tl::unexpected<Error>(std::move(file).error());
  } else {
    done = co_await (*file)->allocate(bytes_);
    // Else a crash could leave a file whose space is not reserved.
    if (done) done = co_await (*file)->sync();
    file->reset();
    if (done) done = co_await disk_.rename(fresh, path(dir));
    if (done) done = co_await disk_.sync_dir(dirs_[dir]);
    if (!done) (void)co_await disk_.remove(fresh);
  }
  busy_[dir] = false;
  there_[dir] = done.has_value();
  co_return done;
}

Task<Status> Ballast::take(size_t dir, std::string to) {
  CHECK(there_[dir]);
  there_[dir] = false;
  co_return co_await disk_.rename(path(dir), std::move(to));
}

}  // namespace covey
