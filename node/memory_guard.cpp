#include "node/memory_guard.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "base/core/log.h"
#include "node/allocator.h"

namespace covey {
namespace {
constexpr Duration kSampleEvery = std::chrono::milliseconds(250);
}

uint64_t anonymous_bytes() {
  char text[4096];
  int fd = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t n = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (n <= 0) return 0;
  text[n] = '\0';
  std::string_view status(text, static_cast<size_t>(n));
  size_t at = status.find("RssAnon:");
  if (at == std::string_view::npos) return 0;
  return std::strtoull(text + at + 8, nullptr, 10) * 1024;
}

void MemoryGuard::start() { sample(); }

void MemoryGuard::stop() {
  if (timer_ != 0) clock_.cancel(std::exchange(timer_, 0));
}

void MemoryGuard::sample() {
  uint64_t used = anonymous_bytes();
  bool over = used > cap_bytes_;
  if (over && !over_) {
    return_free_memory();  // what the allocator keeps does not count
    used = anonymous_bytes();
    over = used > cap_bytes_;
    if (over)
      log_warn("{} MiB of memory in use, memory_cap is {} MiB: new requests are told to slow down",
               used >> 20, cap_bytes_ >> 20);
  }
  over_ = over;
  timer_ = clock_.schedule(clock_.after(kSampleEvery), [this] { sample(); });
}

Task<HttpResponse> MemoryGuard::handle(HttpRequest& request) {
  if (over_) {
    ++refused_;
    HttpResponse slow_down = inner_.refuse(503, "This node is short of memory; please slow down.");
    slow_down.set("Retry-After", "1");
    co_return slow_down;
  }
  co_return co_await inner_.handle(request);
}

}  // namespace covey
