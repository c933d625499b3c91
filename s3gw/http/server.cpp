#include "s3gw/http/server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/core/log.h"
#include "s3gw/http/response.h"

namespace covey {
namespace {

constexpr int kBacklog = 1024;
constexpr Duration kTick = std::chrono::seconds(1);

template <class Handle>
std::unique_ptr<uv_stream_t, void (*)(uv_stream_t*)> new_stream(uv_loop_t* loop,
                                                                int (*init)(uv_loop_t*, Handle*)) {
  auto* handle = new Handle;
  init(loop, handle);
  return {reinterpret_cast<uv_stream_t*>(handle),
          [](uv_stream_t* s) { delete reinterpret_cast<Handle*>(s); }};
}

int pipe_init(uv_loop_t* loop, uv_pipe_t* pipe) { return uv_pipe_init(loop, pipe, 0); }

std::string peer_of(uv_tcp_t* tcp) {
  sockaddr_storage from{};
  int size = sizeof from;
  char host[64] = "?";
  if (uv_tcp_getpeername(tcp, reinterpret_cast<sockaddr*>(&from), &size) != 0) return host;
  Address address;
  if (from.ss_family == AF_INET6) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&from);
    uv_ip6_name(v6, host, sizeof host);
    address.port = ntohs(v6->sin6_port);
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&from);
    uv_ip4_name(v4, host, sizeof host);
    address.port = ntohs(v4->sin_port);
  }
  address.host = host;
  return address.str();
}

}  // namespace

struct HttpServer::Listener {
  HttpServer* server;
  bool unix_socket;
  uv_stream_t* handle;  // freed when its close completes

  static void free_on_close(uv_handle_t* closed) {
    if (closed->type == UV_TCP) {
      delete reinterpret_cast<uv_tcp_t*>(closed);
    } else {
      delete reinterpret_cast<uv_pipe_t*>(closed);
    }
  }
  ~Listener() { uv_close(reinterpret_cast<uv_handle_t*>(handle), free_on_close); }
};

HttpServer::HttpServer(UvLoop& loop, HttpHandler& handler, HttpLimits limits)
    : loop_(loop), handler_(handler), limits_(std::move(limits)) {}

HttpServer::~HttpServer() {
  CHECK(connections_.empty());
  if (ticker_ != 0) loop_.cancel(ticker_);
}

Status HttpServer::listen(const Address& address) {
  sockaddr_storage at{};
  bool v6 = address.host.find(':') != std::string::npos;
  int parsed =
      v6 ? uv_ip6_addr(address.host.c_str(), address.port, reinterpret_cast<sockaddr_in6*>(&at))
         : uv_ip4_addr(address.host.c_str(), address.port, reinterpret_cast<sockaddr_in*>(&at));
  if (parsed != 0)
    return fail(ErrorCode::kInvalid, address.str() + " is not a numeric address and port");
  auto* tcp = new uv_tcp_t;
  uv_tcp_init(loop_.uv(), tcp);
  auto listener =
      std::unique_ptr<Listener>(new Listener{this, false, reinterpret_cast<uv_stream_t*>(tcp)});
  tcp->data = listener.get();
  int bound = uv_tcp_bind(tcp, reinterpret_cast<sockaddr*>(&at), v6 ? UV_TCP_IPV6ONLY : 0);
  if (bound == 0) {
    bound = uv_listen(listener->handle, kBacklog, [](uv_stream_t* stream, int status) {
      auto& from = *static_cast<Listener*>(stream->data);
      if (status == 0) from.server->accept(from);
    });
  }
  if (bound != 0) {
    return fail(bound == UV_EADDRINUSE ? ErrorCode::kAlreadyExists : ErrorCode::kInvalid,
                "cannot listen on " + address.str() + ": " + uv_strerror(bound));
  }
  sockaddr_storage name{};
  int size = sizeof name;
  uv_tcp_getsockname(tcp, reinterpret_cast<sockaddr*>(&name), &size);
  port_ = ntohs(v6 ? reinterpret_cast<sockaddr_in6*>(&name)->sin6_port
                   : reinterpret_cast<sockaddr_in*>(&name)->sin_port);
  listeners_.push_back(std::move(listener));
  if (ticker_ == 0) tick();
  return {};
}

// Makes room for a socket at `path`: a file left behind by a process that ended goes, one that
// somebody listens on stays.
static Status clear_socket_file(const std::string& path) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  if (path.size() >= sizeof at.sun_path)
    return fail(ErrorCode::kInvalid, path + " is too long for a socket: at most " +
                                         std::to_string(sizeof at.sun_path - 1) + " bytes");
  std::memcpy(at.sun_path, path.c_str(), path.size() + 1);
  struct stat seen {};
  if (lstat(path.c_str(), &seen) != 0) return {};
  if (!S_ISSOCK(seen.st_mode))
    return fail(ErrorCode::kAlreadyExists, path + " is there and is not a socket: remove it");
  int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (probe < 0) return fail(ErrorCode::kIo, std::string("socket: ") + std::strerror(errno));
  bool answered = connect(probe, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
  bool free = !answered && errno == ECONNREFUSED;
  ::close(probe);
  if (!free) return fail(ErrorCode::kAlreadyExists, "another process listens on " + path);
  unlink(path.c_str());
  return {};
}

Status HttpServer::listen_unix(const std::string& path) {
  TRY_STATUS(clear_socket_file(path));
  auto* pipe = new uv_pipe_t;
  uv_pipe_init(loop_.uv(), pipe, 0);
  auto listener =
      std::unique_ptr<Listener>(new Listener{this, true, reinterpret_cast<uv_stream_t*>(pipe)});
  pipe->data = listener.get();
  mode_t mask = umask(0177);
  int bound = uv_pipe_bind(pipe, path.c_str());
  umask(mask);
  if (bound == 0) {
    bound = uv_listen(listener->handle, kBacklog, [](uv_stream_t* stream, int status) {
      auto& from = *static_cast<Listener*>(stream->data);
      if (status == 0) from.server->accept(from);
    });
  }
  if (bound != 0)
    return fail(ErrorCode::kInvalid, "cannot listen on " + path + ": " + uv_strerror(bound));
  listeners_.push_back(std::move(listener));
  if (ticker_ == 0) tick();
  return {};
}

void HttpServer::accept(Listener& listener) {
  auto stream = listener.unix_socket ? new_stream<uv_pipe_t>(loop_.uv(), pipe_init)
                                     : new_stream<uv_tcp_t>(loop_.uv(), uv_tcp_init);
  auto drop = [](std::unique_ptr<uv_stream_t, void (*)(uv_stream_t*)> unwanted) {
    uv_close(reinterpret_cast<uv_handle_t*>(unwanted.release()), Listener::free_on_close);
  };
  if (uv_accept(listener.handle, stream.get()) != 0) return drop(std::move(stream));
  std::string remote = "unix";
  if (!listener.unix_socket) {
    auto* tcp = reinterpret_cast<uv_tcp_t*>(stream.get());
    uv_tcp_nodelay(tcp, 1);
    remote = peer_of(tcp);
  }
  if (connections_.size() >= limits_.connections_max || draining_) {
    if (!tls_) {
      HttpResponse busy = handler_.refuse(503, "too many connections");
      Framing framing;
      framing.close = true;
      framing.content_length = static_cast<int64_t>(busy.body.size());
      std::string bytes = format_head(busy, framing, date());
      bytes.append(busy.body.view());
      uv_buf_t out = uv_buf_init(bytes.data(), static_cast<unsigned>(bytes.size()));
      uv_try_write(stream.get(), &out, 1);
    }
    return drop(std::move(stream));
  }
  auto connection =
      std::make_shared<HttpConnection>(static_cast<HttpHost&>(*this), std::move(stream),
                                       std::move(remote), listener.unix_socket ? nullptr : tls_);
  connections_.insert(connection.get());
  connection->open();
}

void HttpServer::tick() {
  std::vector<std::shared_ptr<HttpConnection>> all;  // closing one changes the set
  all.reserve(connections_.size());
  for (HttpConnection* connection : connections_) all.push_back(connection->shared_from_this());
  for (const auto& connection : all) connection->check_time();
  ticker_ = loop_.schedule(loop_.after(kTick), [this] { tick(); });
}

std::string_view HttpServer::date() {
  WallTime now = loop_.wall_now();
  if (now.ms / 1000 != date_second_) {
    date_second_ = now.ms / 1000;
    date_ = http_date(now);
  }
  return date_;
}

Task<void> HttpServer::stop(TimePoint deadline) {
  draining_ = true;
  listeners_.clear();
  while (!connections_.empty()) {
    std::vector<std::shared_ptr<HttpConnection>> all;
    for (HttpConnection* connection : connections_) all.push_back(connection->shared_from_this());
    bool late = loop_.now() >= deadline;
    for (const auto& connection : all) {
      if (late || connection->idle()) connection->close();
    }
    all.clear();
    if (!connections_.empty()) co_await loop_.sleep(std::chrono::milliseconds(20));
  }
  co_await scope_.join();
}

}  // namespace covey
