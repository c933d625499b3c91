#include "s3gw/http/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>

#include "base/core/check.h"

namespace covey {
namespace {

std::string openssl_error() {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  ERR_clear_error();
  return text;
}

// HTTP/1.1 is all that is spoken here.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* in, unsigned int in_size, void*) {
  static const unsigned char kOurs[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kOurs, sizeof kOurs - 1, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

Result<std::shared_ptr<TlsContext>> TlsContext::load(const std::string& certificate_file,
                                                     const std::string& key_file) {
  auto made = std::make_shared<TlsContext>();
  made->context_.reset(SSL_CTX_new(TLS_server_method()));
  SSL_CTX* context = made->context_.get();
  if (!context) return fail(ErrorCode::kInvalid, "TLS cannot start: " + openssl_error());
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context, certificate_file.c_str()) != 1) {
    return fail(ErrorCode::kInvalid,
                "the certificate " + certificate_file + " cannot be used: " + openssl_error());
  }
  if (SSL_CTX_use_PrivateKey_file(context, key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return fail(ErrorCode::kInvalid,
                "the key " + key_file + " cannot be used with its certificate: " + openssl_error());
  }
  return made;
}

TlsSession::TlsSession(std::shared_ptr<TlsContext> context) : context_(std::move(context)) {
  ssl_.reset(SSL_new(context_->get()));
  CHECK(ssl_ != nullptr);
  SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_accept_state(ssl_.get());
}

bool TlsSession::receive(std::string_view network, std::string& plain) {
  while (!network.empty()) {
    int taken =
        BIO_write(SSL_get_rbio(ssl_.get()), network.data(), static_cast<int>(network.size()));
    if (taken <= 0) return false;
    network.remove_prefix(static_cast<size_t>(taken));
  }
  return pump(plain);
}

bool TlsSession::pump(std::string& plain) {
  char piece[16 * 1024];
  while (true) {
    ERR_clear_error();
    int got = SSL_read(ssl_.get(), piece, sizeof piece);
    if (got > 0) {
      plain.append(piece, static_cast<size_t>(got));
      continue;
    }
    int why = SSL_get_error(ssl_.get(), got);
    if (why == SSL_ERROR_ZERO_RETURN) peer_finished_ = true;
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE || peer_finished_;
  }
}

bool TlsSession::send(std::string_view plain) {
  while (!plain.empty()) {
    ERR_clear_error();
    int sent = SSL_write(ssl_.get(), plain.data(),
                         static_cast<int>(std::min<size_t>(plain.size(), 1 << 30)));
    if (sent <= 0) return false;
    plain.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void TlsSession::finish() {
  ERR_clear_error();
  if (SSL_is_init_finished(ssl_.get())) SSL_shutdown(ssl_.get());
}

std::string TlsSession::take_output() {
  BIO* out = SSL_get_wbio(ssl_.get());
  std::string bytes(BIO_ctrl_pending(out), '\0');
  if (!bytes.empty()) {
    int got = BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
    bytes.resize(got > 0 ? static_cast<size_t>(got) : 0);
  }
  return bytes;
}

}  // namespace covey
