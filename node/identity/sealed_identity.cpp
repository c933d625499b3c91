#include "node/identity/sealed_identity.h"

#include <sodium.h>

#include <cstring>

#include "base/core/check.h"
#include "base/core/codec.h"

namespace covey {
namespace {

constexpr uint32_t kMagic = 0x4e595643;  // "CVYN"
constexpr uint32_t kFormat = 1;
static_assert(kSealNonceBytes == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
constexpr size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr size_t kNameBytesMax = 63;

const uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

}  // namespace

std::string seal_identity(const NodeIdentity& identity, const ClusterSecret& secret,
                          const std::string& name, std::string_view nonce) {
  CHECK(sodium_init() >= 0);
  CHECK(nonce.size() == kSealNonceBytes);
  std::string out;
  Writer w(out);
  w.u32(kMagic);
  w.u32(kFormat);
  w.bytes(name);
  w.raw(nonce);
  std::string sealed(identity.seed.size() + kTagBytes, '\0');
  std::string key = derive_key(secret, SecretUse::kSealing);
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      reinterpret_cast<uint8_t*>(sealed.data()), nullptr, identity.seed.data(),
      identity.seed.size(), bytes_of(out), out.size(), nullptr, bytes_of(nonce), bytes_of(key));
  sodium_memzero(key.data(), key.size());
  w.raw(sealed);
  return out;
}

Result<IdentityCopy> open_identity(std::string_view bytes, const ClusterSecret& secret) {
  Reader r(bytes);
  uint32_t magic = r.u32(), format = r.u32();
  IdentityCopy copy;
  copy.name = r.bytes();
  std::string_view nonce = r.raw(kSealNonceBytes);
  std::string_view before = bytes.substr(0, bytes.size() - r.rest().size());
  std::string_view sealed = r.raw(copy.identity.seed.size() + kTagBytes);
  if (magic == kMagic && format != kFormat)
    return fail(ErrorCode::kInvalid, "has a format of a newer version: use that one");
  if (!r.done() || magic != kMagic || copy.name.size() > kNameBytesMax)
    return fail(ErrorCode::kCorrupt, "is damaged");
  std::string key = derive_key(secret, SecretUse::kSealing);
  int rc = crypto_aead_xchacha20poly1305_ietf_decrypt(
      copy.identity.seed.data(), nullptr, nullptr, bytes_of(sealed), sealed.size(),
      bytes_of(before), before.size(), bytes_of(nonce), bytes_of(key));
  sodium_memzero(key.data(), key.size());
  if (rc != 0)
    return fail(ErrorCode::kCorrupt,
                "cannot be opened: it is damaged, or secret_file holds another cluster's secret");
  return copy;
}

}  // namespace covey
