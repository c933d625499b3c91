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
  explicit OsDisk(Pool& io) : io_(io) {}

  Task<Result<std::unique_ptr<File>>> open(std::string path, Open mode) override;
  Task<Status> rename(std::string from, std::string to) override;
  Task<Status> remove(std::string path) override;
  Task<Status> make_dir(std::string path) override;
  Task<Status> sync_dir(std::string path) override;
  Task<Result<std::vector<std::string>>> list(std::string path) override;
  Task<Result<DiskSpace>> space(std::string path) override;

 private:
  Pool& io_;
};

}  // namespace covey
