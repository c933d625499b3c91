// TLS over memory buffers: the connection moves the bytes.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/core/result.h"

namespace covey {

// A certificate and its key, shared by all connections made under it.
class TlsContext {
 public:
  // PEM files; the certificate with its chain. kInvalid says which file is wrong and why.
  static Result<std::shared_ptr<TlsContext>> load(const std::string& certificate_file,
                                                  const std::string& key_file);
  SSL_CTX* get() const { return context_.get(); }

 private:
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_{nullptr, SSL_CTX_free};
};

class TlsSession {
 public:
  explicit TlsSession(std::shared_ptr<TlsContext> context);

  // Bytes from the network; what they decrypt to is appended to `plain`. False: the peer broke the
  // protocol.
  bool receive(std::string_view network, std::string& plain);
  // Encrypts; fails only before the handshake is done.
  bool send(std::string_view plain);
  // What must go to the network now (handshake records too). Empty when there is nothing.
  std::string take_output();
  // Says that no more will be sent (close_notify). Only after everything was sent: to a client it
  // is the sign that nothing was cut off.
  void finish();
  // The peer said so.
  bool peer_finished() const { return peer_finished_; }

 private:
  bool pump(std::string& plain);
  std::shared_ptr<TlsContext> context_;
  std::unique_ptr<SSL, void (*)(SSL*)> ssl_{nullptr, SSL_free};
  bool peer_finished_ = false;
};

}  // namespace covey
