// HttpServer: listens on TCP addresses or a Unix socket and hands requests to one handler.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/async/net.h"
#include "base/async/scope.h"
#include "s3gw/http/connection.h"

namespace covey {

class HttpServer : private HttpHost {
 public:
  // Everything outlives it. Loop thread only, the destructor too.
  HttpServer(UvLoop& loop, HttpHandler& handler, HttpLimits limits = {});
  // REQUIRES: stop() has completed, or nothing was ever listened on.
  ~HttpServer() override;

  // Numeric address; port 0 takes a free one (see port()). Errors: kInvalid (bad address),
  // kAlreadyExists (in use).
  Status listen(const Address& address);
  // Replaces a socket file that nobody listens on; mode 0600.
  Status listen_unix(const std::string& path);
  uint16_t port() const { return port_; }

  // New connections speak TLS under this certificate; null: plain. May change while serving.
  void set_tls(std::shared_ptr<TlsContext> tls) { tls_ = std::move(tls); }

  size_t connections() const { return connections_.size(); }

  // No new connections or requests; what is under way may finish until the deadline, then it is cut
  // off.
  Task<void> stop(TimePoint deadline);

 private:
  struct Listener;
  UvLoop& loop() override { return loop_; }
  HttpHandler& handler() override { return handler_; }
  const HttpLimits& limits() const override { return limits_; }
  bool draining() const override { return draining_; }
  std::string_view date() override;
  void start(Task<void> task) override { scope_.spawn(std::move(task)); }
  void closed(HttpConnection& connection) override { connections_.erase(&connection); }

  void accept(Listener& listener);
  void tick();

  UvLoop& loop_;
  HttpHandler& handler_;
  HttpLimits limits_;
  std::shared_ptr<TlsContext> tls_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unordered_set<HttpConnection*> connections_;
  Scope scope_;
  TimerId ticker_ = 0;
  int64_t date_second_ = -1;
  std::string date_;
  uint16_t port_ = 0;
  bool draining_ = false;
};

}  // namespace covey
