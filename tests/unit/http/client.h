// A server on a loop of its own, and a blocking client for it.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/os/uv_loop.h"
#include "s3gw/http/server.h"
#include "tests/unit/test.h"

namespace covey::test {

using namespace std::chrono_literals;

class Client {
 public:
  explicit Client(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(connect(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    timeval patience{60, 0};  // a server that hangs fails the test instead of hanging it
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  }
  Client(const Client&) = delete;
  ~Client() { close(); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  int fd() const { return fd_; }

  // false: the server has closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  void half_close() { shutdown(fd_, SHUT_WR); }

  struct Response {
    int status = 0;
    std::string head, body;
    bool complete = false;
    bool has(std::string_view text) const { return head.find(text) != std::string::npos; }
  };
  // The next response; chunks joined. `complete` is false if the connection ended before its end.
  Response read(bool head_only = false) {
    Response r;
    size_t end;
    while ((end = in_.find("\r\n\r\n")) == std::string::npos)
      if (!more()) return r;
    r.head = in_.substr(0, end + 4);
    in_.erase(0, end + 4);
    r.status = std::atoi(r.head.c_str() + 9);
    size_t at = r.head.find("Content-Length: ");
    if (head_only || r.status == 100 || r.status == 204 || r.status == 304) {
      r.complete = true;
    } else if (at != std::string::npos) {
      size_t length = std::stoul(r.head.substr(at + 16));
      while (in_.size() < length)
        if (!more()) return r;
      r.body = in_.substr(0, length);
      in_.erase(0, length);
      r.complete = true;
    } else if (r.has("Transfer-Encoding: chunked")) {
      read_chunks(r);
    } else {
      while (more()) {
      }
      r.body = std::move(in_);
      r.complete = true;
    }
    return r;
  }
  // Whether the server closes without sending more.
  bool closed() { return in_.empty() && !more() && ended_; }
  bool quiet() {
    pollfd p{fd_, POLLIN, 0};
    return in_.empty() && poll(&p, 1, 50) == 0;
  }

 private:
  bool more() {
    char buffer[65536];
    ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
    if (n <= 0) {
      ended_ = n == 0 || errno == ECONNRESET;
      return false;
    }
    in_.append(buffer, static_cast<size_t>(n));
    return true;
  }
  void read_chunks(Response& r) {
    for (;;) {
      size_t end;
      while ((end = in_.find("\r\n")) == std::string::npos)
        if (!more()) return;
      size_t size = std::stoul(in_.substr(0, end), nullptr, 16);
      while (in_.size() < end + 2 + size + 2)
        if (!more()) return;
      r.body += in_.substr(end + 2, size);
      in_.erase(0, end + 2 + size + 2);
      if (size == 0) break;
    }
    r.complete = true;
  }
  int fd_;
  bool ended_ = false;
  std::string in_;
};

// Pieces of `total` bytes; fails after `fail_after` of them.
class Pattern : public HttpStream {
 public:
  Pattern(size_t total, size_t fail_after, std::atomic<size_t>& produced)
      : left_(total), fail_after_(fail_after), produced_(produced) {}
  Task<Result<Blob>> next() override {
    if (sent_ >= fail_after_) co_return fail(ErrorCode::kCorrupt, "bad block");
    size_t size = std::min<size_t>(left_, 100'000);
    left_ -= size;
    sent_ += size;
    produced_ += size;
    if (size == 0) co_return Blob();
    co_return Blob::own(std::string(size, 'p'));
  }

 private:
  size_t left_, fail_after_, sent_ = 0;
  std::atomic<size_t>& produced_;
};

class Handler : public HttpHandler {
 public:
  explicit Handler(UvLoop& loop) : loop_(loop) {}
  Task<HttpResponse> handle(HttpRequest& request) override {
    ++handled;
    HttpResponse out;
    std::string path = request.target;
    size_t number = 0;
    if (size_t slash = path.rfind('/'); slash != 0 && slash != std::string::npos) {
      number = std::stoul(path.substr(slash + 1));
      path.resize(slash);
    }
    if (path == "/echo") {
      std::string all;
      for (;;) {
        auto piece = co_await request.body->next(64 * 1024);
        if (!piece) {
          last_error = static_cast<int>(piece.code());
          ++failed;
          out.status = piece.is(ErrorCode::kTimeout) ? 408 : 400;
          co_return out;
        }
        if (piece->empty()) break;
        all.append(piece->view());
      }
      out.body = Blob::own(std::move(all));
    } else if (path == "/sleep") {
      co_await loop_.sleep(std::chrono::milliseconds(number));
      out.body = Blob::copy("slept");
    } else if (path == "/gate") {
      while (!gate_open) co_await loop_.sleep(5ms);
    } else if (path == "/status") {
      out.status = static_cast<int>(number);
      out.body = Blob::copy("must not be sent");
    } else if (path == "/stream") {
      out.stream = std::make_unique<Pattern>(number, SIZE_MAX, produced);
      out.content_length = static_cast<int64_t>(number);
    } else if (path == "/chunked") {
      out.stream = std::make_unique<Pattern>(number, SIZE_MAX, produced);
    } else if (path == "/fails") {
      out.stream = std::make_unique<Pattern>(number, number / 2, produced);
      out.content_length = static_cast<int64_t>(number);
    } else if (path == "/split") {
      out.set("X-Evil", "a\r\nInjected: yes");
    } else {
      out.body = Blob::copy("hello");
    }
    co_return out;
  }
  HttpResponse refuse(int status, std::string_view why) override {
    HttpResponse out;
    out.status = status;
    out.body = Blob::copy(why);
    return out;
  }
  std::atomic<int> handled = 0, failed = 0, last_error = 0;
  std::atomic<size_t> produced = 0;
  std::atomic<bool> gate_open = false;

 private:
  UvLoop& loop_;
};

class Server {
 public:
  explicit Server(HttpLimits limits = {}) : handler(loop_) {
    loop_.start();
    run_task(loop_, open(limits));
  }
  ~Server() {
    if (server_) stop(10s);
  }
  void stop(Duration grace) { run_task(loop_, close(grace)); }
  uint16_t port() const { return port_; }
  size_t connections() { return run_task(loop_, count()); }
  void set_tls(std::shared_ptr<TlsContext> tls) { run_task(loop_, use_tls(std::move(tls))); }
  Status listen_unix(std::string path) { return run_task(loop_, bind_unix(std::move(path))); }

 private:
  Task<void> use_tls(std::shared_ptr<TlsContext> tls) {
    server_->set_tls(std::move(tls));
    co_return;
  }
  Task<Status> bind_unix(std::string path) { co_return server_->listen_unix(path); }
  Task<void> open(HttpLimits limits) {
    server_ = std::make_unique<HttpServer>(loop_, handler, limits);
    Status listening = server_->listen(Address{"127.0.0.1", 0});
    CHECK(listening.has_value());
    port_ = server_->port();
    co_return;
  }
  Task<void> close(Duration grace) {
    co_await server_->stop(loop_.after(grace));
    server_.reset();
  }
  Task<size_t> count() { co_return server_->connections(); }

  UvLoop loop_{"http-test"};

 public:
  Handler handler;

 private:
  std::unique_ptr<HttpServer> server_;
  uint16_t port_ = 0;
};

// Waits for what another thread does; false after a minute.
template <class F>
bool eventually(F condition) {
  for (int i = 0; i < 6000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

}  // namespace covey::test
