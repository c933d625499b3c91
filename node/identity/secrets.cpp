#include "node/identity/secrets.h"

#include <fmt/format.h>

#include "base/core/check.h"
#include "node/identity/private_file.h"

namespace covey {
namespace {

constexpr size_t kSecretIdBytes = 8;

std::string_view next_line(std::string_view& text) {
  size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  return line;
}

bool is_space(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

std::optional<SecretRing> parse(std::string_view text) {
  auto use = ClusterSecret::parse(next_line(text));
  if (!use) return std::nullopt;
  SecretRing ring(*use);
  if (is_space(text)) return ring;
  std::string_view line = next_line(text);
  for (auto [word, phase] : {std::pair(std::string_view("next "), SecretRing::Phase::kStaged),
                             std::pair(std::string_view("previous "), SecretRing::Phase::kActive)})
    if (line.starts_with(word)) {
      auto other = ClusterSecret::parse(line.substr(word.size()));
      if (!other) return std::nullopt;
      ring.phase = phase, ring.other = *other;
    }
  if (ring.settled()) return std::nullopt;
  if (is_space(text)) return ring;
  ring.forced = next_line(text) == "forced";
  return ring.forced && is_space(text) ? std::optional(ring) : std::nullopt;
}

std::string format(const SecretRing& ring) {
  std::string text = ring.use.hex() + "\n";
  if (ring.settled()) return text;
  text += (ring.phase == SecretRing::Phase::kStaged ? "next " : "previous ") + ring.other.hex();
  return text + (ring.forced ? "\nforced\n" : "\n");
}

}  // namespace

std::vector<ClusterSecret> SecretRing::accepted() const {
  std::vector<ClusterSecret> all = {use};
  if (!settled()) all.push_back(other);
  return all;
}

SecretRing SecretRing::staged(const ClusterSecret& next) const {
  SecretRing ring(use);
  ring.phase = Phase::kStaged, ring.other = next;
  return ring;
}

SecretRing SecretRing::activated() const {
  CHECK(phase == Phase::kStaged);
  SecretRing ring(other);
  ring.phase = Phase::kActive, ring.other = use, ring.forced = forced;
  return ring;
}

SecretRing SecretRing::settled_down() const {
  CHECK(phase == Phase::kActive);
  return SecretRing(use);
}

std::string raw_secret(const ClusterSecret& secret) {
  return {reinterpret_cast<const char*>(secret.bytes.data()), secret.bytes.size()};
}

std::vector<std::string> raw_secrets(const SecretRing& ring) {
  std::vector<std::string> raw;
  for (const ClusterSecret& secret : ring.accepted()) raw.push_back(raw_secret(secret));
  return raw;
}

std::string secret_id(const ClusterSecret& secret) {
  return derive_key(secret, SecretUse::kName).substr(0, kSecretIdBytes);
}

Result<SecretRing> load_secrets(const std::string& path) {
  TRY(std::string text, read_private(path));
  auto ring = parse(text);
  if (!ring)
    return fail(ErrorCode::kInvalid,
                path +
                    " must hold the cluster secret as 64 hexadecimal digits; copy it from "
                    "another node or run `covey join TOKEN`");
  return *ring;
}

Status replace_secrets(const std::string& path, const SecretRing& ring) {
  Status done = replace_private(path, format(ring));
  if (!done.is(ErrorCode::kDenied)) return done;
  return fail(ErrorCode::kDenied,
              done.error().message +
                  ": let the user that covey runs as own the secret and its folder (chown; in "
                  "systemd also ReadWritePaths=)");
}

}  // namespace covey
