// Certificates with OpenSSL. Everything about the CA is a function of the secret, byte for byte, so
// that every node trusts every other without having met it.
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>

#include "node/identity/secrets.h"

namespace covey {
namespace {

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* p) const {
    kFree(p);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;

constexpr const char* kIssuer = "covey cluster";

tl::unexpected<Error> openssl_failed(std::string_view what) {
  char text[256] = "unknown";
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  return fail(ErrorCode::kIo, "OpenSSL: " + std::string(what) + ": " + text);
}

Key ed25519_key(const uint8_t* seed) {
  return Key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed, 32));
}

Key ca_key_of(const ClusterSecret& secret) {
  std::string seed = derive_key(secret, SecretUse::kCertificates);
  Key key = ed25519_key(reinterpret_cast<const uint8_t*>(seed.data()));
  OPENSSL_cleanse(seed.data(), seed.size());
  return key;
}

std::optional<CaKey> public_key(EVP_PKEY* key) {
  CaKey raw;
  size_t size = raw.size();
  if (!key || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 ||
      EVP_PKEY_get_raw_public_key(key, raw.data(), &size) != 1 || size != raw.size())
    return std::nullopt;
  return raw;
}

bool add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_name(X509_NAME* name, const std::string& common_name) {
  return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                    reinterpret_cast<const uint8_t*>(common_name.data()),
                                    static_cast<int>(common_name.size()), -1, 0) == 1;
}

Certificate unsigned_certificate(EVP_PKEY* key, const std::string& common_name, int64_t serial,
                                 Validity validity = {}) {
  Certificate certificate(X509_new());
  bool ok = certificate && X509_set_version(certificate.get(), 2) &&
            ASN1_INTEGER_set_int64(X509_get_serialNumber(certificate.get()), serial) &&
            ASN1_TIME_set(X509_getm_notBefore(certificate.get()), validity.from_s) &&
            ASN1_TIME_set(X509_getm_notAfter(certificate.get()), validity.until_s) &&
            X509_set_pubkey(certificate.get(), key) &&
            set_name(X509_get_subject_name(certificate.get()), common_name);
  return ok ? std::move(certificate) : nullptr;
}

Certificate ca_certificate(EVP_PKEY* ca_key) {
  Certificate ca = unsigned_certificate(ca_key, kIssuer, 1);
  bool ok =
      ca && X509_set_issuer_name(ca.get(), X509_get_subject_name(ca.get())) &&
      add_extension(ca.get(), ca.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
      add_extension(ca.get(), ca.get(), NID_key_usage, "critical,keyCertSign") &&
      add_extension(ca.get(), ca.get(), NID_subject_key_identifier, "hash") &&
      X509_sign(ca.get(), ca_key, nullptr) > 0;
  return ok ? std::move(ca) : nullptr;
}

Certificate node_certificate(EVP_PKEY* node_key, const NodeId& id, X509* ca, EVP_PKEY* ca_key,
                             Validity validity) {
  Certificate node = unsigned_certificate(node_key, id.hex(), 2, validity);
  std::string dns = "DNS:" + tls_name(id);
  bool ok = node && X509_set_issuer_name(node.get(), X509_get_subject_name(ca)) &&
            add_extension(node.get(), ca, NID_basic_constraints, "critical,CA:FALSE") &&
            add_extension(node.get(), ca, NID_key_usage, "critical,digitalSignature") &&
            add_extension(node.get(), ca, NID_ext_key_usage, "serverAuth,clientAuth") &&
            add_extension(node.get(), ca, NID_subject_alt_name, dns.c_str()) &&
            // CAs all have one name: this tells which of two it is
            add_extension(node.get(), ca, NID_authority_key_identifier, "keyid:always") &&
            X509_sign(node.get(), ca_key, nullptr) > 0;
  return ok ? std::move(node) : nullptr;
}

template <class Write>
std::string pem(Write write) {
  Bio bio(BIO_new(BIO_s_mem()));
  if (!bio || write(bio.get()) != 1) return {};
  char* data = nullptr;
  long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace

Result<TlsMaterial> make_tls(const NodeIdentity& identity, const SecretRing& secrets,
                             Validity validity) {
  TlsMaterial tls;
  Key node_key = ed25519_key(identity.seed.data());
  if (!node_key) return openssl_failed("Ed25519 key");
  for (const ClusterSecret& secret : secrets.accepted()) {
    Key ca_key = ca_key_of(secret);
    if (!ca_key) return openssl_failed("Ed25519 key");
    Certificate ca = ca_certificate(ca_key.get());
    if (!ca) return openssl_failed("CA certificate");
    tls.ca_certificates += pem([&](BIO* out) { return PEM_write_bio_X509(out, ca.get()); });
    auto raw = public_key(ca_key.get());
    if (!raw) return openssl_failed("CA key");
    tls.ca_keys.push_back(*raw);
    if (!tls.certificate.empty()) continue;  // the first one is the one in use
    Certificate node =
        node_certificate(node_key.get(), identity.id, ca.get(), ca_key.get(), validity);
    if (!node) return openssl_failed("node certificate");
    tls.certificate = pem([&](BIO* out) { return PEM_write_bio_X509(out, node.get()); });
  }
  tls.private_key = pem([&](BIO* out) {
    return PEM_write_bio_PKCS8PrivateKey(out, node_key.get(), nullptr, nullptr, 0, nullptr,
                                         nullptr);
  });
  if (tls.ca_certificates.empty() || tls.certificate.empty() || tls.private_key.empty())
    return openssl_failed("PEM");
  return tls;
}

std::optional<CertifiedNode> certified_node(std::string_view text,
                                            const std::vector<CaKey>& trusted) {
  Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  Certificate certificate(bio ? PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!certificate) return std::nullopt;
  char name[2 * NodeId::kSize + 1] = "";
  int size = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName,
                                       name, sizeof name);
  auto id = size == 2 * NodeId::kSize
                ? NodeId::from_hex(std::string_view(name, static_cast<size_t>(size)))
                : std::nullopt;
  auto key = public_key(X509_get0_pubkey(certificate.get()));
  if (!id || !key || !std::equal(key->begin(), key->end(), id->bytes.begin(), id->bytes.end()))
    return std::nullopt;
  for (const CaKey& ca : trusted) {
    Key ca_key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, ca.data(), ca.size()));
    if (ca_key && X509_verify(certificate.get(), ca_key.get()) == 1) return CertifiedNode{*id, ca};
  }
  ERR_clear_error();
  return std::nullopt;
}

}  // namespace covey
