#include "base/os/signals.h"

#include <signal.h>

#include <utility>

#include "base/core/check.h"

namespace covey {

void ignore_sigpipe() { CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR); }

void Signals::on(int signal_number, std::function<void()> fn) {
  auto watch = std::make_unique<Watch>();
  auto* handle = new uv_signal_t;
  CHECK(uv_signal_init(loop_.uv(), handle) == 0);
  watch->handle.reset(handle);
  watch->fn = std::move(fn);
  handle->data = watch.get();
  int rc = uv_signal_start(
      handle, [](uv_signal_t* h, int) { static_cast<Watch*>(h->data)->fn(); }, signal_number);
  CHECK(rc == 0);
  watches_.push_back(std::move(watch));
}

}  // namespace covey
