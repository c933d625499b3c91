// OsDisk: base/async/disk.h on the real file system. Every blocking call runs on the pool handed
// in, which should serve nothing else.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/async/disk.h"
#include "base/async/loop.h"

namespace covey {

class OsDisk final : public Disk {
 public:
  // Aligned writes of at least `direct_from_bytes` go past the page cache.
  explicit OsDisk(Pool& io, size_t direct_from_bytes = kDirectBytesMin)
      : io_(io), direct_from_bytes_(direct_from_bytes) {}

  Task<Result<std::unique_ptr<File>>> open(std::string path, Open mode) override;
  Task<Status> rename(std::string from, std::string to) override;
  Task<Status> remove(std::string path) override;
  Task<Status> make_dir(std::string path) override;
  Task<Status> sync_dir(std::string path) override;
  Task<Result<std::vector<std::string>>> list(std::string path) override;
  Task<Result<DiskSpace>> space(std::string path) override;

 private:
  Pool& io_;
  const size_t direct_from_bytes_;
};

}  // namespace covey
