#include "node/memory_guard.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/core/limits.h"
#include "base/core/log.h"
#include "node/allocator.h"

namespace covey {
namespace {
constexpr Duration kSampleEvery = std::chrono::milliseconds(100);
constexpr uint64_t kSmallBodyBytes = 64 * kKiB;
constexpr uint64_t kBodyBytes = 4 * kMiB;  // of one body in memory at once: queue and blocks
}  // namespace

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
  bool over = used > cap_bytes_ / 8 * 7;
  if (over && !over_) {
    return_free_memory();  // what the allocator keeps does not count
    used = anonymous_bytes();
    over = used > cap_bytes_ / 8 * 7;
    if (over)
      log_warn("{} MiB of memory in use, memory_cap is {} MiB: new requests are told to slow down",
               used >> 20, cap_bytes_ >> 20);
  }
  over_ = over;
  short_ = used > cap_bytes_ / 4 * 3;
  timer_ = clock_.schedule(clock_.after(kSampleEvery), [this] { sample(); });
}

HttpResponse MemoryGuard::slow_down() {
  ++refused_;
  HttpResponse response = inner_.refuse(503, "This node is short of memory; please slow down.");
  response.set("Retry-After", "1");
  return response;
}

Task<HttpResponse> MemoryGuard::handle(HttpRequest& request) {
  if (over_) co_return slow_down();
  uint64_t body = request.chunked
                      ? kBodyBytes
                      : static_cast<uint64_t>(std::max<int64_t>(request.content_length, 0));
  if (body <= kSmallBodyBytes) co_return co_await inner_.handle(request);
  uint64_t holds = std::min(body, kBodyBytes);
  bool fits = arriving_bytes_ == 0 || arriving_bytes_ + holds <= cap_bytes_ / 2;
  if (short_ || !fits) co_return slow_down();
  arriving_bytes_ += holds;
  HttpResponse response = co_await inner_.handle(request);
  arriving_bytes_ -= holds;
  co_return response;
}

}  // namespace covey
