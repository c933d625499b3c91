// Recorder: turns the calls below a folder into DiskOps, in the order in which they were made.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/crash/disk_model.h"
#include "tests/crash/syscalls.h"

namespace covey {

class Recorder : public SysHook {
 public:
  // `start`: what is in the folder `root` now.
  Recorder(std::string root, const DiskImage& start);
  ~Recorder() override { stop(); }
  void stop() { set_sys_hook(nullptr, ""); }

  // Positions in it are the harness's clock.
  const std::vector<DiskOpRef>& ops() const { return ops_; }
  size_t now() const { return ops_.size(); }

  std::optional<long> before(SysCall& call) override;
  void after(SysCall& call, long result) override;

 private:
  std::string relative(const std::string& path) const;
  DiskOp& add(DiskOp::Kind kind, const std::string& path);

  std::string root_;
  std::map<std::string, uint64_t> names_;
  uint64_t last_file_ = 0;
  std::vector<DiskOpRef> ops_;
};

// Answers what costs time and changes nothing while a crash state is looked at: syncs, space
// allocated behind a file's end.
class NoSyncs final : public SysHook {
 public:
  explicit NoSyncs(std::string root) { set_sys_hook(this, std::move(root)); }
  ~NoSyncs() override { set_sys_hook(nullptr, ""); }
  std::optional<long> before(SysCall& call) override;
};

}  // namespace covey
