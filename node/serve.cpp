// `covey serve`: the process around a Server.
#include <signal.h>
#include <sodium.h>

#include <algorithm>
#include <thread>

#include "base/core/log.h"
#include "base/os/os_disk.h"
#include "base/os/os_rng.h"
#include "base/os/scheduling.h"
#include "base/os/signals.h"
#include "base/os/uv_pool.h"
#include "node/cli/cli.h"
#include "node/damaged_start.h"
#include "node/grpc/library.h"
#include "node/identity/private_file.h"
#include "node/server.h"

namespace covey {
namespace {

constexpr size_t kDiskThreads = 4;

Task<void> wait_for(Event& event) { co_await event.wait(); }

}  // namespace

int serve_node(const Config& config) {
  log_to_stderr();
  ignore_sigpipe();
  schedule_for_throughput();  // before there are other threads: they inherit it
  CHECK(sodium_init() >= 0);
  set_log_level(config.log_level);
  size_t cores = std::max(1u, std::thread::hardware_concurrency());
  UvLoop loop("covey");
  GrpcLibrary grpc;  // its threads post to the loop
  UvPool cpu("cpu", std::min<size_t>(cores, 8)), io("disk", kDiskThreads);
  OsDisk disk(io);
  OsRng rng;
  int code = kExitOk;
  for (bool again = true; again;) {
    Event stop;
    Server server(config, loop, cpu, disk, rng);
    Signals signals(loop);
    for (int number : {SIGTERM, SIGINT}) signals.on(number, [&stop] { stop.set(); });
    signals.on(SIGHUP, [&server] { server.reload(); });
    Status started = run_task(loop, server.start());
    if (started) {
      run_task(loop, wait_for(stop));
      log_info("stopping");
    } else if (!server.damaged()) {
      log_error("{}", started.error().message);
      code = kExitFailed;
    }
    run_task(loop, server.stop());
    again = server.reborn();
    if (started || !server.damaged() || stop.is_set()) continue;
    DamagedStart damaged(config, Runtime{loop, loop, rng, cpu, disk}, *server.damaged());
    for (int number : {SIGTERM, SIGINT}) signals.on(number, [&damaged] { damaged.request_stop(); });
    auto planned = run_task(loop, damaged.run());
    again = planned && *planned;
    if (planned) continue;
    log_error("{}", planned.error().message);
    (void)replace_private(config.damage_note(), planned.error().message + "\n");
    code = kExitFailed;
  }
  log_info("stopped");
  return code;
}

}  // namespace covey
