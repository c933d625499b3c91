// SimFile: an open file of a SimDisk; dead after the disk's next crash.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/sim_disk.h"

namespace covey {

class SimFile : public File {
 public:
  SimFile(SimDisk& disk, std::string path, std::shared_ptr<SimDisk::Inode> inode, uint64_t epoch)
      : disk_(disk), path_(std::move(path)), inode_(std::move(inode)), epoch_(epoch) {}

  Task<Result<Blob>> read(uint64_t offset, size_t size_bytes) override;
  Result<Blob> read_now(uint64_t offset, size_t size_bytes) override;
  Task<Result<Blob>> read_once(uint64_t offset, size_t size_bytes) override;
  Task<Status> write(uint64_t offset, std::vector<Blob> pieces) override;
  Task<Status> sync() override;
  Task<Status> write_sync(uint64_t offset, std::vector<Blob> pieces) override;
  Task<Status> allocate(uint64_t size_bytes) override;
  Task<Status> truncate(uint64_t size_bytes) override;
  uint64_t size() const override { return inode_->size; }

 private:
  SimDisk& disk_;
  std::string path_;  // as it was opened
  std::shared_ptr<SimDisk::Inode> inode_;
  uint64_t epoch_;
};

}  // namespace covey
