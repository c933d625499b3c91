// Signals as callbacks on a loop.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <vector>

#include "base/os/handle.h"
#include "base/os/uv_loop.h"

namespace covey {

// A write to a closed socket is then an error of that write and not the end of the process. Call it
// first in main().
void ignore_sigpipe();

class Signals {
 public:
  explicit Signals(UvLoop& loop) : loop_(loop) {}
  // Runs `fn` on the loop each time the signal comes, for as long as this object lives. On the
  // loop's thread, or while the loop does not run.
  void on(int signal_number, std::function<void()> fn);

 private:
  struct Watch {
    UvHandle<uv_signal_t> handle;
    std::function<void()> fn;
  };
  UvLoop& loop_;
  std::vector<std::unique_ptr<Watch>> watches_;
};

}  // namespace covey
