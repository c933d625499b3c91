#include "store/objects/key_users.h"

#include <sodium.h>

#include <algorithm>

#include "base/core/check.h"
#include "base/core/ids.h"
#include "base/core/log.h"
#include "proto/rows.pb.h"

namespace covey {
namespace {

constexpr char kTable[] = "keys";
constexpr size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr size_t kTagBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr size_t kAccessKeyBytesMin = 3, kAccessKeyBytesMax = 128, kSecretBytesMin = 8,
                 kSecretBytesMax = 128;

const unsigned char* bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string random_text(size_t size, std::string_view alphabet) {
  std::string text;
  for (size_t i = 0; i < size; ++i) {
    text.push_back(alphabet[randombytes_uniform(static_cast<uint32_t>(alphabet.size()))]);
  }
  return text;
}

// Access keys stand in headers and URLs; secrets only in configuration files.
bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c > ' ' && c < 127 && c != '/' && c != ','; });
}

}  // namespace

KeyUsers::KeyUsers(ControlTables& tables, const std::vector<std::string>& cluster_secrets)
    : tables_(tables) {
  use_secrets(cluster_secrets);
  tables_.on_change(kTable, [this](std::string_view access_key) { reload(access_key); });
}

void KeyUsers::use_secrets(const std::vector<std::string>& cluster_secrets) {
  static constexpr std::string_view kPurpose = "covey access keys 1";
  CHECK(!cluster_secrets.empty());
  sealing_keys_.clear();
  for (const std::string& secret : cluster_secrets) {
    CHECK(!secret.empty());
    SealingKey key;
    CHECK(crypto_generichash(key.data(), key.size(), bytes(secret), secret.size(), bytes(kPurpose),
                             kPurpose.size()) == 0);
    sealing_keys_.push_back(key);
  }
  for (const auto& [access_key, row] : tables_.list(kTable)) reload(access_key);
}

void KeyUsers::reload(std::string_view access_key) {
  auto row = tables_.get(kTable, access_key);
  auto unsealed = row ? unseal(access_key, *row) : std::nullopt;
  std::string name(access_key);
  if (unsealed && unsealed->under_other) {
    to_reseal_.insert(name);
  } else {
    to_reseal_.erase(name);
  }
  if (unsealed) {
    keys_[name] = std::move(unsealed->key);
  } else {
    keys_.erase(name);
  }
}

std::optional<KeyUsers::Unsealed> KeyUsers::unseal(std::string_view access_key,
                                                   std::string_view bytes_of_row) const {
  rows::UserKeyRow row;
  if (!row.ParseFromArray(bytes_of_row.data(), static_cast<int>(bytes_of_row.size())))
    return std::nullopt;
  const std::string& sealed = row.sealed_secret();
  if (sealed.size() < kNonceBytes + kTagBytes) return std::nullopt;
  Unsealed unsealed;
  AccessKey& key = unsealed.key;
  key.secret_key.resize(sealed.size() - kNonceBytes - kTagBytes);
  auto opens = [&](const SealingKey& sealing_key) {
    return crypto_aead_xchacha20poly1305_ietf_decrypt(
               reinterpret_cast<unsigned char*>(key.secret_key.data()), nullptr, nullptr,
               bytes(sealed) + kNonceBytes, sealed.size() - kNonceBytes, bytes(access_key),
               access_key.size(), bytes(sealed), sealing_key.data()) == 0;
  };
  auto sealing_key = std::find_if(sealing_keys_.begin(), sealing_keys_.end(), opens);
  if (sealing_key == sealing_keys_.end()) {
    log_error("access key {} was sealed under another cluster secret: import it again", access_key);
    return std::nullopt;
  }
  unsealed.under_other = sealing_key != sealing_keys_.begin();
  key.access_key = std::string(access_key);
  key.user_id = row.user_id();
  key.display_name = row.display_name();
  key.create_buckets = row.create_buckets();
  key.created = {row.created_ms()};
  return unsealed;
}

std::string KeyUsers::sealed_row(const AccessKey& key) const {
  std::string sealed(kNonceBytes + key.secret_key.size() + kTagBytes, '\0');
  auto* out = reinterpret_cast<unsigned char*>(sealed.data());
  randombytes_buf(out, kNonceBytes);
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      out + kNonceBytes, nullptr, bytes(key.secret_key), key.secret_key.size(),
      bytes(key.access_key), key.access_key.size(), nullptr, out, sealing_keys_.front().data());
  rows::UserKeyRow row;
  row.set_user_id(key.user_id);
  row.set_display_name(key.display_name);
  row.set_sealed_secret(std::move(sealed));
  row.set_create_buckets(key.create_buckets);
  row.set_created_ms(key.created.ms);
  return row.SerializeAsString();
}

Task<Status> KeyUsers::reseal(TimePoint deadline) {
  std::vector<std::string> waiting(to_reseal_.begin(), to_reseal_.end());
  for (const std::string& access_key : waiting) {
    auto it = keys_.find(access_key);
    if (it == keys_.end() || !to_reseal_.contains(access_key)) continue;
    std::string row = sealed_row(it->second);
    Status done = co_await tables_.rewrite(kTable, access_key, std::move(row), deadline);
    if (!done && !done.is(ErrorCode::kNotFound)) co_return done;
  }
  co_return Status();
}

std::optional<AccessKey> KeyUsers::find(std::string_view access_key) const {
  auto it = keys_.find(std::string(access_key));
  if (it == keys_.end()) return std::nullopt;
  return it->second;
}

std::optional<std::string> KeyUsers::display_name(std::string_view user_id) const {
  for (const auto& [access_key, key] : keys_) {
    if (key.user_id == user_id) return key.display_name;
  }
  return std::nullopt;
}

std::vector<AccessKey> KeyUsers::list() const {
  std::vector<AccessKey> all;
  for (const auto& [access_key, key] : keys_) all.push_back(key);
  std::sort(all.begin(), all.end(),
            [](const AccessKey& a, const AccessKey& b) { return a.access_key < b.access_key; });
  return all;
}

Task<Status> KeyUsers::put(AccessKey key, TimePoint deadline) {
  bool good =
      key.access_key.size() >= kAccessKeyBytesMin && key.access_key.size() <= kAccessKeyBytesMax &&
      key.secret_key.size() >= kSecretBytesMin && key.secret_key.size() <= kSecretBytesMax &&
      printable(key.access_key) && !key.user_id.empty() && key.user_id.size() <= kSecretBytesMax;
  if (!good) {
    co_return fail(
        ErrorCode::kInvalid,
        "an access key has 3 to 128 printable characters without '/' and ',', a secret 8 to 128");
  }
  CO_TRY_STATUS(co_await tables_.confirm(deadline));
  if (tables_.get(kTable, key.access_key))
    co_return fail(ErrorCode::kAlreadyExists, "this access key exists");
  co_return co_await tables_.put(kTable, key.access_key, sealed_row(key), deadline);
}

Task<Status> KeyUsers::remove(std::string access_key, TimePoint deadline) {
  CO_TRY_STATUS(co_await tables_.confirm(deadline));
  if (!tables_.get(kTable, access_key)) co_return fail(ErrorCode::kNotFound, "no such access key");
  co_return co_await tables_.remove(kTable, std::move(access_key), deadline);
}

AccessKey KeyUsers::generate(std::string display_name, WallTime now) {
  static constexpr std::string_view kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  static constexpr std::string_view kMixed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  AccessKey key;
  key.access_key = "CV" + random_text(18, kUpper);
  key.secret_key = random_text(40, kMixed);
  std::string id(32, '\0');
  randombytes_buf(id.data(), id.size());
  key.user_id = hex_encode(id);
  key.display_name = std::move(display_name);
  key.created = now;
  return key;
}

}  // namespace covey
