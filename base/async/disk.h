// The file system, as far as Covey uses it. base/os implements it with real files on I/O threads,
// tests/sim with files that lose unsynced data, tear, fill up, flip bits and fail.
//
// Crash model: after a crash a file holds everything written before its last completed sync() and,
// of what was written later, any subset of its 512-byte sectors. A created or renamed entry is sure
// to exist only after sync_dir().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/async/task.h"
#include "base/core/blob.h"
#include "base/core/result.h"

namespace covey {

// A write of at least so many bytes, at an offset and of a size that are multiples of kDirectAlign,
// may pass the page cache by: copying into fresh pages and writing them back costs more CPU time
// than all else that is done to a block.
inline constexpr size_t kDirectAlign = 4096;
inline constexpr size_t kDirectBytesMin = 128 * 1024;

class File {
 public:
  // Closes the file. REQUIRES: no operation on it is under way.
  virtual ~File() = default;

  // Exactly `size_bytes` at `offset`, or what there is up to the end of the file. Errors: kIo.
  virtual Task<Result<Blob>> read(uint64_t offset, size_t size_bytes) = 0;
  // The same on the calling thread, for small reads that are probably cached (a thread hop costs
  // more).
  virtual Result<Blob> read_now(uint64_t offset, size_t size_bytes) = 0;
  // As read(), of what nobody is likely to read again soon: it takes no room in the page cache from
  // what is, and comes from the disk itself where that is possible.
  virtual Task<Result<Blob>> read_once(uint64_t offset, size_t size_bytes) = 0;
  // Writes the pieces one after the other at `offset`. Errors: kIo, kNoSpace (some of it may have
  // been written).
  virtual Task<Status> write(uint64_t offset, std::vector<Blob> pieces) = 0;
  // Durable once complete (fdatasync). Errors: kIo; then nobody knows what is on the disk: never
  // try again, stop.
  virtual Task<Status> sync() = 0;
  // write, then sync, in one hop.
  virtual Task<Status> write_sync(uint64_t offset, std::vector<Blob> pieces) = 0;
  // Reserves space so that writes below `size_bytes` cannot meet kNoSpace; the new range reads as
  // zeros.
  virtual Task<Status> allocate(uint64_t size_bytes) = 0;
  virtual Task<Status> truncate(uint64_t size_bytes) = 0;
  virtual uint64_t size() const = 0;
};

struct DiskSpace {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
};

class Disk {
 public:
  virtual ~Disk() = default;
  enum class Open { kRead, kReadWrite, kCreate };  // kCreate: must not exist yet

  // Errors: kNotFound, kAlreadyExists, kIo, kNoSpace.
  virtual Task<Result<std::unique_ptr<File>>> open(std::string path, Open mode) = 0;
  virtual Task<Status> rename(std::string from, std::string to) = 0;
  virtual Task<Status> remove(std::string path) = 0;  // kNotFound if it is not there
  // With its parents, durably; fine if it exists.
  virtual Task<Status> make_dir(std::string path) = 0;
  virtual Task<Status> sync_dir(std::string path) = 0;
  // The names in a folder, sorted.
  virtual Task<Result<std::vector<std::string>>> list(std::string path) = 0;
  virtual Task<Result<DiskSpace>> space(std::string path) = 0;
};

}  // namespace covey
