#include "node/memory_guard.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/async/memory_budget.h"
#include "base/core/limits.h"
#include "base/core/log.h"
#include "node/allocator.h"

namespace covey {
namespace {
constexpr Duration kSampleEvery = std::chrono::milliseconds(100);
constexpr Duration kGiveBackEvery = std::chrono::seconds(1);
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
  TimePoint now = clock_.now();
  if (used > cap_bytes_ / 8 * 5 && now - given_back_ >= kGiveBackEvery) {
    return_free_memory();  // what the allocator keeps is most of what goes beyond the budget
    given_back_ = now;
    used = anonymous_bytes();
  }
  bool over = used > cap_bytes_ / 16 * 15;
  if (over && !over_)
    log_warn("{} MiB of memory in use, memory_cap is {} MiB: new requests are told to slow down",
             used >> 20, cap_bytes_ >> 20);
  over_ = over;
  short_ = used > cap_bytes_ / 8 * 7;
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
  constexpr auto kSmall = static_cast<int64_t>(MemoryBudget::kSmallBodyBytes);
  bool large = request.chunked || request.content_length > kSmall;
  if (short_ && large) co_return slow_down();
  co_return co_await inner_.handle(request);
}

}  // namespace covey
