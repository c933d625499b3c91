// UvDatagrams: one UDP socket on a loop.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <string_view>

#include "base/async/net.h"
#include "base/core/result.h"
#include "base/os/handle.h"
#include "base/os/uv_loop.h"

namespace covey {

class UvDatagrams final : public Datagrams {
 public:
  // Binds to a numeric address ("::" takes IPv4 too; port 0: the system picks one) and starts to
  // receive. Make and destroy it on `loop`'s thread, or while the loop does not run.
  // Errors: kInvalid, kUnavailable (the address is taken or not ours).
  static Result<std::unique_ptr<UvDatagrams>> bind(UvLoop& loop, Address address);

  void send(const Address& to, std::string_view bytes) override;
  void on_receive(
      std::function<void(const Address& from, std::string_view bytes)> receiver) override {
    receiver_ = std::move(receiver);
  }
  // The address bound to, with its real port.
  const Address& local() const { return local_; }

 private:
  UvDatagrams() = default;
  void received(ssize_t size_bytes, const uv_buf_t* buffer, const sockaddr* from, unsigned flags);

  UvHandle<uv_udp_t> socket_;
  std::unique_ptr<char[]> buffer_;  // of one datagram
  std::function<void(const Address&, std::string_view)> receiver_;
  Address local_;
  bool ipv6_ = false;
};

}  // namespace covey
