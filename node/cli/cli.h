// The `covey` command line. Every command but `serve`, `init`, `join` and `version` asks the
// running node through its admin socket.
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

// Parses the arguments and runs one command; `serve` runs the node. No exception leaves it.
int run_cli(int argc, char** argv, const std::function<int(const Config&)>& serve);

}  // namespace covey
