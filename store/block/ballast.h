// Ballast: the space of one segment, preallocated in each data directory as DIR/ballast. On a full
// disk compaction turns it into the segment that it moves live records to; the segment that this
// frees pays it back. Puts get new segments only while the ballast is there.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/async/disk.h"

namespace covey {

class Ballast {
 public:
  Ballast(Disk& disk, std::vector<std::string> dirs, uint64_t bytes);

  // Looks at what earlier processes left in the directory and makes what is missing; that there is
  // no space for it is no error, has() says so. Errors: kIo.
  Task<Status> open(size_t dir);
  bool has(size_t dir) const { return there_[dir]; }
  // Makes it unless it is there. Errors: kNoSpace, kIo.
  Task<Status> restore(size_t dir);
  // Gives the file away under the name `to` in the same file system; it holds zeros only.
  // REQUIRES: has(dir). Errors: kIo; then it may be gone.
  Task<Status> take(size_t dir, std::string to);

 private:
  std::string path(size_t dir) const { return dirs_[dir] + "/ballast"; }

  Disk& disk_;
  std::vector<std::string> dirs_;
  uint64_t bytes_;
  std::vector<bool> there_, busy_;
};

}  // namespace covey
