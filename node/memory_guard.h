// MemoryGuard: the last resort behind MemoryBudget, which paces what is under way. It gives back
// what the allocator keeps when that is much, and stands before the S3 gateway to tell clients to
// slow down while the process all the same holds nearly as much as memory_cap allows. Requests
// without a large body are told later than those with one.
#pragma once

#include <cstdint>

#include "base/async/clock.h"
#include "s3gw/http/http.h"

namespace covey {

// Anonymous memory of this process (RssAnon): what mapped files occupy the kernel takes back by
// itself.
uint64_t anonymous_bytes();

class MemoryGuard final : public HttpHandler {
 public:
  MemoryGuard(HttpHandler& inner, Clock& clock, uint64_t cap_bytes)
      : inner_(inner), clock_(clock), cap_bytes_(cap_bytes) {}
  ~MemoryGuard() override { stop(); }
  // Samples from now on. Loop thread only.
  void start();
  void stop();

  Task<HttpResponse> handle(HttpRequest& request) override;
  HttpResponse refuse(int status, std::string_view why) override {
    return inner_.refuse(status, why);
  }
  void set_cap(uint64_t cap_bytes) { cap_bytes_ = cap_bytes; }
  uint64_t refused() const { return refused_; }

 private:
  void sample();
  HttpResponse slow_down();

  HttpHandler& inner_;
  Clock& clock_;
  uint64_t cap_bytes_;
  TimerId timer_ = 0;
  bool short_ = false, over_ = false;  // for large bodies, for every request
  TimePoint given_back_;
  uint64_t refused_ = 0;
};

}  // namespace covey
