// OsFile: one open file of OsDisk, and how errno becomes an Error.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/async/disk.h"
#include "base/async/loop.h"

namespace covey {

// "cannot write /data/x: No space left on device"; kNoSpace, kNotFound, kAlreadyExists or kIo.
Error disk_error(const char* verb, const std::string& path, int error_number);

// Reads what is in the page cache on the calling thread, and waits for the disk on the pool's.
// Large aligned writes and read_once() go past the page cache (O_DIRECT), where the file system
// can.
class OsFile final : public File {
 public:
  // Blocking. Aligned writes of at least `direct_from_bytes` go past the page cache. Errors:
  // kNotFound, kAlreadyExists, kIo, kNoSpace.
  static Result<std::unique_ptr<File>> open(Pool& io, std::string path, Disk::Open mode,
                                            size_t direct_from_bytes);
  ~OsFile() override;

  Task<Result<Blob>> read(uint64_t offset, size_t size_bytes) override;
  Result<Blob> read_now(uint64_t offset, size_t size_bytes) override;
  Task<Result<Blob>> read_once(uint64_t offset, size_t size_bytes) override;
  Task<Status> write(uint64_t offset, std::vector<Blob> pieces) override;
  Task<Status> sync() override;
  Task<Status> write_sync(uint64_t offset, std::vector<Blob> pieces) override;
  Task<Status> allocate(uint64_t size_bytes) override;
  Task<Status> truncate(uint64_t size_bytes) override;
  uint64_t size() const override { return size_bytes_.load(); }

 private:
  OsFile(Pool& io, std::string path, int fd, uint64_t size_bytes, size_t direct_from_bytes)
      : io_(io),
        path_(std::move(path)),
        fd_(fd),
        direct_from_bytes_(direct_from_bytes),
        size_bytes_(size_bytes) {}
  using Buffer = std::shared_ptr<char[]>;
  // No more than there is, so that a wrong length from a corrupt record allocates nothing.
  size_t available(uint64_t offset, size_t size_bytes) const;
  // Reads into buffer[got, size_bytes), which belongs at `offset` + got of the file.
  Result<Blob> read_rest(Buffer buffer, size_t got, uint64_t offset, size_t size_bytes);
  // These block; they run on the pool.
  Status write_blocking(uint64_t offset, const std::vector<Blob>& pieces);
  Status write_cached(uint64_t offset, const std::vector<Blob>& pieces);
  // The pieces have `left` bytes. nullopt: they cannot be written so.
  std::optional<Status> write_direct(uint64_t offset, const std::vector<Blob>& pieces, size_t left);
  Result<Blob> read_direct(uint64_t offset, size_t size_bytes);
  // A second descriptor of the same file, past the page cache; -1: there is none.
  int direct();
  Status sync_blocking();
  Status allocate_blocking(uint64_t size_bytes);
  Status truncate_blocking(uint64_t size_bytes);
  void grow_to(uint64_t size_bytes);

  Pool& io_;
  const std::string path_;
  const int fd_;
  const size_t direct_from_bytes_;
  std::atomic<uint64_t> size_bytes_;
  std::once_flag direct_opened_;
  int direct_fd_ = -1;
  std::atomic<bool> direct_refused_ = false;  // it opened, but takes no such call
};

}  // namespace covey
