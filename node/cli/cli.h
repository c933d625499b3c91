// The `covey` command line. Every command but `serve`, `init`, `join`, `meta rebuild` and `version`
// asks the running node through its admin socket.
#pragma once

#include <functional>

#include "node/config/config.h"

namespace covey {

// Exit codes, for scripts.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,  // the cluster said no, or is not healthy (status)
  kExitUsage = 2,   // wrong arguments or settings
  kExitNoNode = 3,  // no node answers on the admin socket
};

// `covey meta rebuild`.
struct RebuildWish {
  bool node = false, cluster = false;  // one of them
  bool replace = false;                // move metadata that is there out of the way
  bool accept_loss = false;
};

// What works on the node's own files. Each returns the exit code.
struct LocalCommands {
  std::function<int(const Config&)> serve;
  std::function<int(const Config&, const RebuildWish&)> rebuild;
};

// Parses the arguments and runs one command. No exception leaves it.
int run_cli(int argc, char** argv, const LocalCommands& local);

}  // namespace covey
