#include "node/identity/invitation.h"

#include <sodium.h>

#include <cstring>

#include "base/core/check.h"
#include "base/core/codec.h"

namespace covey {
namespace {

constexpr std::string_view kPrefix = "covey2-";
constexpr size_t kTokenBytesMax = 2048;
constexpr size_t kChecksumBytes = 16;
constexpr size_t kIdBytes = 8, kNumberBytes = 16, kKeyBytes = 32;
constexpr size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr size_t kAskPlainBytes = 640;  // as much as any welcome is longer than its head
constexpr size_t kAskHeadBytes = 1 + kIdBytes + kNumberBytes + 8;
constexpr size_t kAskBytes = kAskHeadBytes + kNonceBytes + kAskPlainBytes + kTagBytes;
constexpr size_t kWelcomeHeadBytes = 1 + kNumberBytes;

enum class Refusal : uint8_t { kExpired = 1, kOtherSecret = 2, kRotating = 3, kForged = 4 };

const uint8_t* raw(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }
uint8_t* raw(std::string& text) { return reinterpret_cast<uint8_t*>(text.data()); }

std::string checksum(std::string_view bytes) {
  std::string out(kChecksumBytes, '\0');
  crypto_generichash(raw(out), out.size(), raw(bytes), bytes.size(), nullptr, 0);
  return out;
}

std::string random_bytes(size_t size) {
  std::string out(size, '\0');
  randombytes_buf(out.data(), out.size());
  return out;
}

// Everything a token says of itself goes in: whoever changes it has another key.
std::string key_of(const ClusterSecret& secret, std::string_view number, uint64_t expires_s) {
  std::string root = derive_key(secret, SecretUse::kInvitations), said(number),
              key(kKeyBytes, '\0');
  Writer(said).u64(expires_s);
  crypto_generichash(raw(key), key.size(), raw(said), said.size(), raw(root), root.size());
  sodium_memzero(root.data(), root.size());
  return key;
}

// `head` | nonce | sealed.
std::string sealed(std::string head, std::string_view plain, std::string_view key) {
  std::string nonce = random_bytes(kNonceBytes), box(plain.size() + kTagBytes, '\0');
  crypto_aead_xchacha20poly1305_ietf_encrypt(raw(box), nullptr, raw(plain), plain.size(), raw(head),
                                             head.size(), nullptr, raw(nonce), raw(key));
  return std::move(head) + nonce + box;
}

std::optional<std::string> opened(std::string_view datagram, size_t head_bytes,
                                  std::string_view key) {
  if (datagram.size() < head_bytes + kNonceBytes + kTagBytes) return std::nullopt;
  std::string_view head = datagram.substr(0, head_bytes), box = datagram.substr(head_bytes);
  std::string_view nonce = box.substr(0, kNonceBytes);
  box.remove_prefix(kNonceBytes);
  std::string plain(box.size() - kTagBytes, '\0');
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(raw(plain), nullptr, nullptr, raw(box), box.size(),
                                                 raw(head), head.size(), raw(nonce), raw(key)) != 0)
    return std::nullopt;
  return plain;
}

void put_seeds(Writer& writer, const std::vector<std::string>& seeds) {
  std::vector<std::string> few;
  for (const std::string& seed : seeds)
    if (few.size() < kInvitationSeedsMax && seed.size() <= kInvitationSeedBytesMax)
      few.push_back(seed);
  writer.varint(few.size());
  for (const std::string& seed : few) writer.bytes(seed);
}

std::vector<std::string> get_seeds(Reader& reader) {
  std::vector<std::string> seeds;
  uint64_t count = reader.varint();
  for (uint64_t i = 0; i < count && i < kInvitationSeedsMax; ++i)
    seeds.emplace_back(reader.bytes());
  return seeds;
}

std::string refusal(std::string_view number, Refusal reason) {
  std::string out;
  Writer writer(out);
  writer.u8(kRefusalVersion);
  writer.raw(number);
  writer.u8(static_cast<uint8_t>(reason));
  return out;
}

std::string_view text_of(Refusal reason) {
  switch (reason) {
    case Refusal::kExpired:
      return "this invitation has expired; make a new one with `covey invite`";
    case Refusal::kOtherSecret:
      return "this invitation was made for another secret: the cluster's has been rotated since, "
             "or "
             "it is of another cluster; make a new one with `covey invite`";
    case Refusal::kRotating:
      return "the cluster's secret is being rotated; try again with a new invitation when `covey "
             "status` there says nothing of it any more";
    default: return "the node did not make this invitation; copy the whole token again";
  }
}

}  // namespace

std::string make_invitation(const ClusterSecret& secret, WallTime expires,
                            const std::vector<std::string>& seeds) {
  CHECK(sodium_init() >= 0);
  std::string bytes, number = random_bytes(kNumberBytes);
  auto expires_s = static_cast<uint64_t>(std::max<int64_t>(expires.ms, 0)) / 1000;
  Writer writer(bytes);
  writer.raw(secret_id(secret));
  writer.raw(number);
  writer.u64(expires_s);
  writer.raw(key_of(secret, number, expires_s));
  put_seeds(writer, seeds);
  writer.raw(checksum(bytes));
  constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  std::string text(sodium_base64_encoded_len(bytes.size(), kVariant), '\0');
  sodium_bin2base64(text.data(), text.size(), raw(bytes), bytes.size(), kVariant);
  text.pop_back();  // the terminating zero
  return std::string(kPrefix) + text;
}

Result<Invitation> read_invitation(std::string_view token) {
  auto wrong = fail(ErrorCode::kInvalid,
                    "this is not a whole invitation; copy the token that `covey invite` prints on "
                    "a node of the cluster");
  if (!token.starts_with(kPrefix) || token.size() > kTokenBytesMax) return wrong;
  token.remove_prefix(kPrefix.size());
  std::string bytes(token.size(), '\0');
  size_t size = 0;
  if (sodium_base642bin(raw(bytes), bytes.size(), token.data(), token.size(), nullptr, &size,
                        nullptr, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
      size < kChecksumBytes)
    return wrong;
  bytes.resize(size);
  std::string_view content = std::string_view(bytes).substr(0, size - kChecksumBytes);
  if (checksum(content) != bytes.substr(size - kChecksumBytes)) return wrong;
  Reader reader(content);
  Invitation invitation;
  invitation.secret_id = std::string(reader.raw(kIdBytes));
  invitation.number = std::string(reader.raw(kNumberBytes));
  invitation.expires_s = reader.u64();
  invitation.key = std::string(reader.raw(kKeyBytes));
  invitation.seeds = get_seeds(reader);
  if (!reader.done()) return wrong;
  return invitation;
}

std::string answer_invitation(const SecretRing& secrets, std::string_view datagram, WallTime now,
                              const std::vector<std::string>& seeds) {
  if (datagram.size() != kAskBytes || static_cast<uint8_t>(datagram[0]) != kAskVersion) return {};
  Reader reader(datagram.substr(1));
  std::string_view id = reader.raw(kIdBytes), number = reader.raw(kNumberBytes);
  uint64_t expires_s = reader.u64();
  if (id != secret_id(secrets.use)) return refusal(number, Refusal::kOtherSecret);
  std::string key = key_of(secrets.use, number, expires_s);
  auto plain = opened(datagram, kAskHeadBytes, key);
  if (!plain) return refusal(number, Refusal::kForged);
  if (static_cast<int64_t>(expires_s) <= now.ms / 1000) return refusal(number, Refusal::kExpired);
  // What is in use now is not for long, and a box that is no member yet would not be told the next.
  if (secrets.phase == SecretRing::Phase::kStaged) return refusal(number, Refusal::kRotating);
  std::string content;
  Writer writer(content);
  writer.raw(raw_secret(secrets.use));
  put_seeds(writer, seeds);
  std::string box(content.size() + crypto_box_SEALBYTES, '\0');
  if (crypto_box_seal(raw(box), raw(content), content.size(), raw(*plain)) != 0) return {};
  sodium_memzero(content.data(), content.size());
  std::string head;
  Writer(head).u8(kWelcomeVersion);
  head.append(number);
  std::string welcome = sealed(std::move(head), box, key);
  return welcome.size() <= datagram.size() ? welcome : std::string();
}

JoinRequest::JoinRequest(Invitation invitation) : invitation_(std::move(invitation)) {
  CHECK(sodium_init() >= 0);
  crypto_box_keypair(public_key_.data(), secret_key_.data());
  Writer writer(datagram_);
  writer.u8(kAskVersion);
  writer.raw(invitation_.secret_id);
  writer.raw(invitation_.number);
  writer.u64(invitation_.expires_s);
  std::string plain(kAskPlainBytes, '\0');
  std::memcpy(plain.data(), public_key_.data(), public_key_.size());
  datagram_ = sealed(std::move(datagram_), plain, invitation_.key);
}

Result<std::optional<Welcome>> JoinRequest::read(std::string_view datagram) const {
  Reader reader(datagram);
  uint8_t version = reader.u8();
  if (reader.raw(kNumberBytes) != invitation_.number) return std::optional<Welcome>();
  if (version == kRefusalVersion)
    return fail(ErrorCode::kDenied, std::string(text_of(static_cast<Refusal>(reader.u8()))));
  auto box = version == kWelcomeVersion ? opened(datagram, kWelcomeHeadBytes, invitation_.key)
                                        : std::nullopt;
  if (!box || box->size() < crypto_box_SEALBYTES) return std::optional<Welcome>();
  std::string content(box->size() - crypto_box_SEALBYTES, '\0');
  if (crypto_box_seal_open(raw(content), raw(*box), box->size(), public_key_.data(),
                           secret_key_.data()) != 0)
    return std::optional<Welcome>();
  Reader inside(content);
  Welcome welcome;
  std::string_view secret = inside.raw(welcome.secret.bytes.size());
  welcome.seeds = get_seeds(inside);
  if (!inside.done()) return std::optional<Welcome>();
  std::memcpy(welcome.secret.bytes.data(), secret.data(), secret.size());
  return std::optional<Welcome>(std::move(welcome));
}

}  // namespace covey
