#include "gossip/swim/seal.h"

#include <sodium.h>

#include <algorithm>

#include "base/core/check.h"
#include "base/core/codec.h"

namespace covey {
namespace {

constexpr size_t kHeaderBytes = 1 + 32 + 8 + 8;
constexpr size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
static_assert(kHeaderBytes + kNonceBytes + kTagBytes == kSealOverheadBytes);

const unsigned char* raw(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

Sealer::Sealer(std::string_view secret, NodeId self, uint64_t boot)
    : keys_{key_of(secret)}, self_(self), boot_(boot) {}

Sealer::~Sealer() { forget_keys(); }

Sealer::Key Sealer::key_of(std::string_view secret) {
  constexpr std::string_view kContext = "covey gossip v1";
  Key key;
  CHECK(crypto_generichash(key.data(), key.size(), raw(secret), secret.size(), raw(kContext),
                           kContext.size()) == 0);
  return key;
}

void Sealer::forget_keys() {
  for (Key& key : keys_) sodium_memzero(key.data(), key.size());
  keys_.clear();
}

void Sealer::set_secrets(const std::vector<std::string>& secrets) {
  CHECK(!secrets.empty());
  forget_keys();
  for (const std::string& secret : secrets) keys_.push_back(key_of(secret));
}

std::string Sealer::seal(std::string_view plain) {
  std::string out;
  Writer w(out);
  w.u8(kSealVersion);
  w.raw(self_.view());
  w.u64(boot_);
  w.u64(++sequence_);
  out.resize(kHeaderBytes + kNonceBytes + plain.size() + kTagBytes);
  auto* bytes = reinterpret_cast<unsigned char*>(out.data());
  randombytes_buf(bytes + kHeaderBytes, kNonceBytes);
  crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + kHeaderBytes + kNonceBytes, nullptr,
                                             raw(plain), plain.size(), bytes, kHeaderBytes, nullptr,
                                             bytes + kHeaderBytes, keys_.front().data());
  return out;
}

Result<Sealer::Opened> Sealer::open(std::string_view datagram) {
  if (datagram.size() < kSealOverheadBytes || static_cast<uint8_t>(datagram[0]) != kSealVersion)
    return fail(ErrorCode::kInvalid, "not a gossip datagram of this version");
  Reader r(datagram);
  r.u8();
  NodeId sender;
  if (auto id = NodeId::from_bytes(r.raw(NodeId::kSize))) sender = NodeId{*id};
  uint64_t boot = r.u64(), sequence = r.u64();
  Opened opened{sender, std::string(datagram.size() - kSealOverheadBytes, '\0')};
  auto opens = [&](const Key& key) {
    return crypto_aead_xchacha20poly1305_ietf_decrypt(
               reinterpret_cast<unsigned char*>(opened.plain.data()), nullptr, nullptr,
               raw(datagram) + kHeaderBytes + kNonceBytes,
               datagram.size() - kHeaderBytes - kNonceBytes, raw(datagram), kHeaderBytes,
               raw(datagram) + kHeaderBytes, key.data()) == 0;
  };
  auto key = std::find_if(keys_.begin(), keys_.end(), opens);
  if (key == keys_.end()) return fail(ErrorCode::kDenied, "sealed under another cluster secret");
  opened.secret = static_cast<size_t>(key - keys_.begin());
  if (!fresh(sender, boot, sequence)) return fail(ErrorCode::kStale, "replayed datagram");
  return opened;
}

bool Sealer::fresh(const NodeId& sender, uint64_t boot, uint64_t sequence) {
  if (!windows_.contains(sender) && windows_.size() >= kSealSendersMax) {
    auto oldest = std::min_element(windows_.begin(), windows_.end(),
                                   [](auto& a, auto& b) { return a.second.used < b.second.used; });
    windows_.erase(oldest);
  }
  Window& window = windows_[sender];
  window.used = ++uses_;
  if (boot < window.boot) return false;
  if (boot > window.boot || window.highest == 0) {
    window.boot = boot, window.highest = sequence, window.seen = 1;
    return true;
  }
  if (sequence > window.highest) {
    uint64_t by = sequence - window.highest;
    window.seen = by >= 64 ? 1 : window.seen << by | 1;
    window.highest = sequence;
    return true;
  }
  uint64_t back = window.highest - sequence;
  if (back >= 64 || (window.seen >> back & 1)) return false;
  window.seen |= uint64_t(1) << back;
  return true;
}

}  // namespace covey
