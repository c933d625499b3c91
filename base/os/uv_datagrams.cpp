#include "base/os/uv_datagrams.h"

#include <fmt/core.h>

#include <string>
#include <utility>

#include "base/os/address.h"

namespace covey {

namespace {
constexpr size_t kDatagramBytesMax = 65536;
constexpr size_t kSendQueueBytesMax = 256 * 1024;  // beyond it datagrams are dropped

struct SendRequest {
  uv_udp_send_t request;
  std::string bytes;
};
}  // namespace

Result<std::unique_ptr<UvDatagrams>> UvDatagrams::bind(UvLoop& loop, Address address) {
  auto where = to_sockaddr(address);
  if (!where) {
    return fail(ErrorCode::kInvalid,
                fmt::format("cannot listen on '{}': give a numeric address", address.str()));
  }
  std::unique_ptr<UvDatagrams> self(new UvDatagrams);
  auto* socket = new uv_udp_t;
  if (int rc = uv_udp_init(loop.uv(), socket); rc != 0) {
    delete socket;
    return fail(ErrorCode::kUnavailable, fmt::format("cannot make a socket: {}", uv_strerror(rc)));
  }
  socket->data = self.get();
  self->socket_.reset(socket);
  self->buffer_ = std::make_unique_for_overwrite<char[]>(kDatagramBytesMax);
  self->ipv6_ = where->ss_family == AF_INET6;
  int rc = uv_udp_bind(socket, reinterpret_cast<sockaddr*>(&*where), 0);
  if (rc == 0) {
    rc = uv_udp_recv_start(
        socket,
        [](uv_handle_t* h, size_t, uv_buf_t* buffer) {
          auto* owner = static_cast<UvDatagrams*>(h->data);
          *buffer = uv_buf_init(owner->buffer_.get(), kDatagramBytesMax);
        },
        [](uv_udp_t* h, ssize_t n, const uv_buf_t* buffer, const sockaddr* from, unsigned flags) {
          static_cast<UvDatagrams*>(h->data)->received(n, buffer, from, flags);
        });
  }
  if (rc != 0) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("cannot listen on udp {}: {}", address.str(), uv_strerror(rc)));
  }
  sockaddr_storage bound{};
  int size = sizeof bound;
  uv_udp_getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &size);
  self->local_ = from_sockaddr(reinterpret_cast<sockaddr*>(&bound));
  return self;
}

void UvDatagrams::send(const Address& to, std::string_view bytes) {
  bool v4 = to.host.find(':') == std::string::npos;
  if (bytes.size() >= kDatagramBytesMax || (!ipv6_ && !v4)) return;
  auto where = to_sockaddr(ipv6_ && v4 ? Address{"::ffff:" + to.host, to.port} : to);
  if (!where) return;
  auto* address = reinterpret_cast<sockaddr*>(&*where);
  uv_buf_t piece =
      uv_buf_init(const_cast<char*>(bytes.data()), static_cast<unsigned>(bytes.size()));
  if (uv_udp_try_send(socket_.get(), &piece, 1, address) != UV_EAGAIN) return;
  if (uv_udp_get_send_queue_size(socket_.get()) > kSendQueueBytesMax) return;
  auto* queued = new SendRequest{{}, std::string(bytes)};
  queued->request.data = queued;
  piece = uv_buf_init(queued->bytes.data(), static_cast<unsigned>(queued->bytes.size()));
  int rc = uv_udp_send(&queued->request, socket_.get(), &piece, 1, address,
                       [](uv_udp_send_t* r, int) { delete static_cast<SendRequest*>(r->data); });
  if (rc != 0) delete queued;
}

void UvDatagrams::received(ssize_t size_bytes, const uv_buf_t* buffer, const sockaddr* from,
                           unsigned flags) {
  // No sender: nothing more to read now, or an ICMP error of an earlier send.
  if (size_bytes < 0 || !from || (flags & UV_UDP_PARTIAL) || !receiver_) return;
  receiver_(from_sockaddr(from), std::string_view(buffer->base, static_cast<size_t>(size_bytes)));
}

}  // namespace covey
