#include "store/meta/lmdb_space.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>

namespace covey {
namespace {

constexpr uint64_t kStepBytesMin = 1 * kMiB;

uint64_t used_bytes(MDB_env* env) {
  MDB_envinfo info;
  MDB_stat stat;
  mdb_env_info(env, &info);
  mdb_env_stat(env, &stat);
  return (uint64_t{info.me_last_pgno} + 1) * stat.ms_psize;
}

}  // namespace

bool LmdbSpace::allocate(uint64_t from, uint64_t bytes) {
  mdb_filehandle_t fd;
  if (mdb_env_get_fd(env_, &fd) != 0) return false;
  int rc;
  do {
    rc = ::fallocate(fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(from), static_cast<off_t>(bytes));
  } while (rc != 0 && errno == EINTR);
  if (rc != 0 && errno != ENOSPC && errno != EDQUOT) unsupported_ = true;
  return rc == 0;
}

void LmdbSpace::top_up() {
  uint64_t used = used_bytes(env_);
  if (unsupported_ || used + kLmdbAheadBytes / 2 <= allocated_end_) return;
  for (uint64_t bytes = kLmdbAheadBytes; bytes >= kStepBytesMin && !unsupported_; bytes /= 2) {
    if (used + bytes <= allocated_end_) break;
    if (!allocate(used, bytes)) continue;
    allocated_end_ = used + bytes;
    break;
  }
  ahead_ = unsupported_ ? kLmdbAheadBytes : allocated_end_ - std::min(allocated_end_, used);
}

bool LmdbSpace::disk_full() const {
  mdb_filehandle_t fd;
  struct statvfs space;
  if (mdb_env_get_fd(env_, &fd) != 0 || ::fstatvfs(fd, &space) != 0) return false;
  return uint64_t{space.f_bavail} * space.f_frsize < kLmdbAheadBytes;
}

}  // namespace covey
