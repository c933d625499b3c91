#include <sodium.h>

#include "base/core/check.h"
#include "base/core/codec.h"
#include "node/cli/commands.h"

namespace covey {
namespace {
constexpr std::string_view kPrefix = "covey1-";
constexpr size_t kTokenBytesMax = 8192;
constexpr size_t kChecksumBytes = 16;

std::string checksum(std::string_view bytes) {
  std::string out(kChecksumBytes, '\0');
  crypto_generichash(reinterpret_cast<uint8_t*>(out.data()), out.size(),
                     reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), nullptr, 0);
  return out;
}
}  // namespace

std::string make_token(std::string_view secret, const std::vector<std::string>& seeds) {
  CHECK(sodium_init() >= 0 && secret.size() == 32);
  std::string raw;
  Writer writer(raw);
  writer.raw(secret);
  writer.varint(seeds.size());
  for (const std::string& seed : seeds) writer.bytes(seed);
  writer.raw(checksum(raw));
  std::string text(sodium_base64_encoded_len(raw.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                   '\0');
  sodium_bin2base64(text.data(), text.size(), reinterpret_cast<const uint8_t*>(raw.data()),
                    raw.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  text.pop_back();  // the terminating zero
  return std::string(kPrefix) + text;
}

Result<Invitation> read_token(std::string_view token) {
  auto wrong = fail(ErrorCode::kInvalid,
                    "this is not a whole invitation; copy the token that `covey invite` prints on "
                    "a node of the cluster");
  if (!token.starts_with(kPrefix) || token.size() > kTokenBytesMax) return wrong;
  token.remove_prefix(kPrefix.size());
  std::string raw(token.size(), '\0');
  size_t size = 0;
  if (sodium_base642bin(reinterpret_cast<uint8_t*>(raw.data()), raw.size(), token.data(),
                        token.size(), nullptr, &size, nullptr,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
      size < 32 + kChecksumBytes)
    return wrong;
  raw.resize(size);
  std::string_view content = std::string_view(raw).substr(0, size - kChecksumBytes);
  if (checksum(content) != raw.substr(size - kChecksumBytes)) return wrong;
  Reader reader(content);
  Invitation invitation;
  invitation.secret = std::string(reader.raw(32));
  uint64_t count = reader.varint();
  if (count > kSeedsMax) return wrong;
  for (uint64_t i = 0; i < count; ++i) invitation.seeds.emplace_back(reader.bytes());
  if (!reader.done()) return wrong;
  return invitation;
}

}  // namespace covey
