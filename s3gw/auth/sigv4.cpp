#include "s3gw/auth/sigv4.h"

#include <sodium.h>

#include <cstdio>
#include <ctime>
#include <unordered_map>

#include "base/core/ids.h"

namespace covey::sigv4 {
namespace {

constexpr size_t kSigningKeysMax = 4096;

const unsigned char* bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::optional<int> number(std::string_view digits) {
  int value = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

std::optional<WallTime> make_time(std::optional<int> year, std::optional<int> month,
                                  std::optional<int> day, std::optional<int> hour,
                                  std::optional<int> minute, std::optional<int> second) {
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (*month < 1 || *month > 12 || *day < 1 || *day > 31 || *hour > 23 || *minute > 59 ||
      *second > 60)
    return std::nullopt;
  std::tm utc{};
  utc.tm_year = *year - 1900;
  utc.tm_mon = *month - 1;
  utc.tm_mday = *day;
  utc.tm_hour = *hour;
  utc.tm_min = *minute;
  utc.tm_sec = *second;
  return WallTime{static_cast<int64_t>(timegm(&utc)) * 1000};
}

}  // namespace

std::string sha256_hex(std::string_view text) {
  std::string digest(crypto_hash_sha256_BYTES, '\0');
  crypto_hash_sha256(reinterpret_cast<unsigned char*>(digest.data()), bytes(text), text.size());
  return hex_encode(digest);
}

std::string hmac(std::string_view key, std::string_view text) {
  std::string digest(crypto_auth_hmacsha256_BYTES, '\0');
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, bytes(key), key.size());
  crypto_auth_hmacsha256_update(&state, bytes(text), text.size());
  crypto_auth_hmacsha256_final(&state, reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

std::string hmac_hex(std::string_view key, std::string_view text) {
  return hex_encode(hmac(key, text));
}

std::string signing_key(const std::string& access_key, const std::string& secret,
                        const std::string& day, const std::string& region) {
  struct Known {
    std::string secret, key;
  };
  static thread_local std::unordered_map<std::string, Known> known;
  std::string name = access_key + "/" + day + "/" + region;
  auto it = known.find(name);
  if (it != known.end() && it->second.secret == secret) return it->second.key;
  if (known.size() >= kSigningKeysMax) known.clear();
  std::string key = hmac(hmac(hmac(hmac("AWS4" + secret, day), region), "s3"), "aws4_request");
  known[std::move(name)] = {secret, key};
  return key;
}

std::optional<WallTime> parse_stamp(std::string_view t) {
  if (t.size() != 16 || t[8] != 'T' || t[15] != 'Z') return std::nullopt;
  return make_time(number(t.substr(0, 4)), number(t.substr(4, 2)), number(t.substr(6, 2)),
                   number(t.substr(9, 2)), number(t.substr(11, 2)), number(t.substr(13, 2)));
}

std::optional<std::string> stamp_of_http_date(std::string_view text) {
  std::tm utc{};
  std::string copy(text);
  const char* end = strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S", &utc);
  if (!end || (std::string_view(end) != " GMT" && std::string_view(end) != " UTC" &&
               std::string_view(end) != " +0000")) {
    return std::nullopt;
  }
  char stamp[32];
  std::strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
  return std::string(stamp);
}

std::optional<WallTime> parse_iso8601(std::string_view t) {
  if (t.size() < 20 || t[4] != '-' || t[7] != '-' || t[10] != 'T' || t[13] != ':' || t[16] != ':' ||
      t.back() != 'Z') {
    return std::nullopt;
  }
  return make_time(number(t.substr(0, 4)), number(t.substr(5, 2)), number(t.substr(8, 2)),
                   number(t.substr(11, 2)), number(t.substr(14, 2)), number(t.substr(17, 2)));
}

std::optional<Credential> parse_credential(std::string_view text) {
  Credential credential;
  std::string* fields[] = {&credential.access_key, &credential.day, &credential.region,
                           &credential.service, &credential.terminator};
  for (size_t i = 0; i < 5; ++i) {
    size_t slash = text.find('/');
    if ((slash == std::string_view::npos) != (i == 4)) return std::nullopt;
    *fields[i] = std::string(text.substr(0, slash));
    if (fields[i]->empty()) return std::nullopt;
    if (i < 4) text.remove_prefix(slash + 1);
  }
  return credential;
}

bool equal(std::string_view a, std::string_view b) {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace covey::sigv4
