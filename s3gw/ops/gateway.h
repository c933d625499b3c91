// The S3 API: everything between an HTTP request and the object store.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/async/runtime.h"
#include "s3gw/auth/auth.h"
#include "s3gw/http/http.h"
#include "store/objects/objects.h"
#include "store/objects/users.h"

namespace covey {

struct GatewaySettings {
  std::string region = "us-east-1";
  // Host names of virtual-host style: "s3.example.org" makes "photos.s3.example.org" bucket photos.
  std::vector<std::string> domains;
  // Every call to the store that carries no body ends within this; 503 on the minority side comes
  // within 5 s.
  Duration call_timeout = std::chrono::seconds(4);
  // Transfers are bounded by their own progress (the store gives each step call_timeout, the HTTP
  // server a minimum rate), not by their length.
  Duration transfer_timeout = std::chrono::hours(24);
  // Checksum to compute for a PUT whose client sent none; empty: none.
  std::string default_checksum;
};

struct GatewayStats {
  std::atomic<uint64_t> requests{0}, client_errors{0}, server_errors{0};
};

struct Call;

// Lives on one loop; several gateways (one per loop) may share store and users when those allow it.
class Gateway : public HttpHandler {
 public:
  Gateway(Runtime runtime, ObjectStore& store, Users& users, GatewaySettings settings)
      : runtime_(runtime), store_(store), users_(users), settings_(std::move(settings)) {}

  Task<HttpResponse> handle(HttpRequest& request) override;
  HttpResponse refuse(int status, std::string_view why) override;

  Runtime& runtime() { return runtime_; }
  ObjectStore& store() { return store_; }
  Users& users() { return users_; }
  const GatewaySettings& settings() const { return settings_; }
  const GatewayStats& stats() const { return stats_; }

 private:
  void log_failure(const Call& call, const Error& error);

  Runtime runtime_;
  ObjectStore& store_;
  Users& users_;
  GatewaySettings settings_;
  GatewayStats stats_;
  TimePoint next_failure_log_;
  uint64_t failures_not_logged_ = 0;
};

}  // namespace covey
