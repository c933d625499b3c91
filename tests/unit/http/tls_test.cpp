// TLS sessions over memory buffers, and a server that speaks TLS: what is said at the end, records
// that belong to no response, and bodies larger than any buffer.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdio>
#include <cstdlib>

#include "tests/unit/http/client.h"

using namespace covey;
using namespace covey::test;

namespace {

// A key and a certificate signed by itself, in files of their own.
class Certificate {
 public:
  Certificate() {
    char dir[] = "/tmp/covey-tls-XXXXXX";
    REQUIRE(mkdtemp(dir) != nullptr);
    dir_ = dir;
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* x = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME* name = X509_get_subject_name(x);
    const auto* host = reinterpret_cast<const unsigned char*>("localhost");
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, host, -1, -1, 0);
    X509_set_issuer_name(x, name);
    REQUIRE(X509_sign(x, key, EVP_sha256()) > 0);
    FILE* out = std::fopen(cert().c_str(), "w");
    REQUIRE(PEM_write_X509(out, x) == 1);
    std::fclose(out);
    out = std::fopen(this->key().c_str(), "w");
    REQUIRE(PEM_write_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
    std::fclose(out);
    X509_free(x);
    EVP_PKEY_free(key);
  }
  ~Certificate() {
    unlink(cert().c_str());
    unlink(key().c_str());
    rmdir(dir_.c_str());
  }
  std::string cert() const { return dir_ + "/cert.pem"; }
  std::string key() const { return dir_ + "/key.pem"; }
  std::shared_ptr<TlsContext> context() const {
    auto made = TlsContext::load(cert(), key());
    REQUIRE(made.has_value());
    return *made;
  }

 private:
  std::string dir_;
};

struct ClientTls {
  ClientTls() : context(SSL_CTX_new(TLS_client_method())), ssl(SSL_new(context)) {}
  ~ClientTls() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
  SSL_CTX* context;
  SSL* ssl;
};

// A blocking TLS client.
class TlsClient : ClientTls {
 public:
  explicit TlsClient(uint16_t port) : socket_(port) {
    SSL_set_fd(ssl, socket_.fd());
    REQUIRE(SSL_connect(ssl) == 1);
  }
  bool send(std::string_view bytes) {
    return SSL_write(ssl, bytes.data(), static_cast<int>(bytes.size())) > 0;
  }
  // Everything up to the end; `clean`: the server said that it was the end.
  std::string read_all(bool& clean) {
    std::string all;
    char piece[16384];
    int got;
    while ((got = SSL_read(ssl, piece, sizeof piece)) > 0)
      all.append(piece, static_cast<size_t>(got));
    clean = SSL_get_error(ssl, got) == SSL_ERROR_ZERO_RETURN;
    return all;
  }
  bool update_keys() { return SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1; }
  void finish() { SSL_shutdown(ssl); }
  Client& socket() { return socket_; }

 private:
  Client socket_;
};

}  // namespace

TEST_CASE("a session byte by byte: handshake, data both ways, close_notify both ways") {
  Certificate certificate;
  TlsSession session(certificate.context());
  ClientTls client;
  BIO* in = BIO_new(BIO_s_mem());
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(client.ssl, in, out);
  SSL_set_connect_state(client.ssl);
  std::string plain;
  auto carry = [&] {
    char byte;
    while (BIO_read(out, &byte, 1) == 1) REQUIRE(session.receive({&byte, 1}, plain));
    std::string back = session.take_output();
    if (!back.empty()) BIO_write(in, back.data(), static_cast<int>(back.size()));
  };
  EXPECT(!session.send("too early"));
  session.finish();  // nothing to say before the handshake
  for (int i = 0; i < 10 && SSL_do_handshake(client.ssl) != 1; ++i) carry();
  carry();
  REQUIRE(SSL_is_init_finished(client.ssl));
  REQUIRE(SSL_write(client.ssl, "ping", 4) == 4);
  carry();
  EXPECT(plain == "ping");
  std::string large(1'000'000, 'z'), got;
  REQUIRE(session.send(large));
  carry();
  char piece[4096];
  int n;
  while ((n = SSL_read(client.ssl, piece, sizeof piece)) > 0) got.append(piece, n);
  EXPECT(got == large);
  EXPECT(!session.peer_finished());
  SSL_shutdown(client.ssl);
  carry();
  EXPECT(session.peer_finished());
  session.finish();
  carry();
  EXPECT(SSL_read(client.ssl, piece, sizeof piece) == 0);
  EXPECT(SSL_get_shutdown(client.ssl) == (SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN));
}

TEST_CASE("a session refuses what is not TLS") {
  Certificate certificate;
  TlsSession session(certificate.context());
  std::string plain;
  EXPECT(!session.receive("GET / HTTP/1.1\r\nHost: a\r\n\r\n", plain));
  EXPECT(plain.empty());
}

TEST_CASE("a certificate that is not there, and a key of another one, are named") {
  Certificate one, two;
  EXPECT(!TlsContext::load("/nonexistent.pem", one.key()).has_value());
  auto mixed = TlsContext::load(one.cert(), two.key());
  REQUIRE(!mixed.has_value());
  EXPECT(mixed.error().message.find(two.key()) != std::string::npos);
}

TEST_CASE(
    "a large answer over TLS arrives whole, with key updates in its midst, and ends cleanly") {
  Certificate certificate;
  Server server;
  server.set_tls(certificate.context());
  TlsClient client(server.port());
  REQUIRE(client.send("GET /stream/20000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
  for (int i = 0; i < 3; ++i) {  // each wants an answer while the response fills the socket
    std::this_thread::sleep_for(20ms);
    REQUIRE(client.update_keys());
    REQUIRE(client.send("\r\n"));
  }
  bool clean = false;
  std::string all = client.read_all(clean);
  EXPECT(clean);
  EXPECT(all.size() - all.find("\r\n\r\n") - 4 == 20'000'000);
}

TEST_CASE("a body over TLS arrives whole; an answer cut off does not end cleanly") {
  Certificate certificate;
  Server server;
  server.set_tls(certificate.context());
  std::string body(3'000'000, 'b');
  TlsClient echo(server.port());
  REQUIRE(
      echo.send("PUT /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3000000"
                "\r\n\r\n"));
  REQUIRE(echo.send(body));
  bool clean = false;
  std::string all = echo.read_all(clean);
  EXPECT(clean);
  EXPECT(all.ends_with(body));
  TlsClient cut(server.port());
  REQUIRE(cut.send("GET /fails/1000000 HTTP/1.1\r\nHost: a\r\n\r\n"));
  cut.read_all(clean);
  EXPECT(!clean);
}

TEST_CASE("a client that says goodbye between requests is let go at once") {
  Certificate certificate;
  Server server;
  server.set_tls(certificate.context());
  TlsClient client(server.port());
  client.finish();
  EXPECT(eventually([&] { return server.connections() == 0; }));
  Client plain(server.port());
  REQUIRE(plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT(eventually([&] { return server.connections() == 0; }));
}
