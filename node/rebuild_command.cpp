// `covey meta rebuild`: the process around a Rebuild.
#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/core/log.h"
#include "base/os/os_disk.h"
#include "base/os/os_rng.h"
#include "base/os/uv_pool.h"
#include "node/rebuild.h"
#include "node/server.h"

namespace covey {
namespace {

// The lock that a running node holds; -1 when one does.
int take_lock(const Config& config) {
  int fd = ::open((config.meta_dir + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd >= 0 && ::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    fd = -1;
  }
  return fd;
}

Task<Status> with_lock(Runtime runtime, const Config& config, Rebuild& rebuild) {
  CO_TRY_STATUS(co_await runtime.disk.make_dir(config.meta_dir));
  int lock = take_lock(config);
  if (lock < 0)
    co_return fail(ErrorCode::kAlreadyExists, "a node runs on " + config.meta_dir +
                                                  ", or its folder is not this user's: stop "
                                                  "the node first");
  Status done = co_await rebuild.run();
  ::close(lock);
  co_return done;
}

}  // namespace

int rebuild_command(const Config& config, const RebuildWish& wish) {
  log_to_stderr();
  set_log_level(config.log_level);
  CHECK(sodium_init() >= 0);
  UvLoop loop("covey");
  UvPool cpu("cpu", 1), io("disk", 2);
  OsDisk disk(io);
  OsRng rng;
  Runtime runtime{loop, loop, rng, cpu, disk};
  Rebuild rebuild(runtime, config, wish);
  Status done = run_task(loop, with_lock(runtime, config, rebuild));
  for (const std::string& line : rebuild.story()) fmt::print("{}\n", line);
  if (done) return kExitOk;
  fmt::print(stderr, "covey: {}\n", done.error().message);
  return kExitFailed;
}

}  // namespace covey
