// SigV4 header signing for the load generator, written apart from s3gw/auth so that neither checks
// itself.
#pragma once

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <ctime>
#include <string>
#include <string_view>

namespace covey::bench {

inline std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (unsigned char b : bytes) out.push_back(kDigits[b >> 4]), out.push_back(kDigits[b & 15]);
  return out;
}

inline std::string sha256_hex(std::string_view data) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(data.data(), data.size(), digest, &size, EVP_sha256(), nullptr);
  return hex({reinterpret_cast<char*>(digest), size});
}

inline std::string hmac(std::string_view key, std::string_view data) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(data.data()), data.size(), digest, &size);
  return {reinterpret_cast<char*>(digest), size};
}

struct Credentials {
  std::string access_key, secret_key, region = "us-east-1";
};

// The head of a signed request. `path` and `query` are already encoded, the query sorted.
inline std::string signed_head(const Credentials& who, const std::string& method,
                               const std::string& host, const std::string& path,
                               const std::string& query, const std::string& payload_sha256,
                               size_t body_bytes) {
  char stamp[32], day[16];
  std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
  std::strftime(day, sizeof day, "%Y%m%d", &utc);
  std::string canonical = method + "\n" + path + "\n" + query + "\nhost:" + host +
                          "\nx-amz-content-sha256:" + payload_sha256 + "\nx-amz-date:" + stamp +
                          "\n\nhost;x-amz-content-sha256;x-amz-date\n" + payload_sha256;
  std::string scope = std::string(day) + "/" + who.region + "/s3/aws4_request";
  std::string to_sign =
      "AWS4-HMAC-SHA256\n" + std::string(stamp) + "\n" + scope + "\n" + sha256_hex(canonical);
  static thread_local std::string cached_day, cached_key;
  if (cached_day != day) {
    cached_day = day;
    cached_key =
        hmac(hmac(hmac(hmac("AWS4" + who.secret_key, day), who.region), "s3"), "aws4_request");
  }
  return method + " " + path + (query.empty() ? "" : "?" + query) + " HTTP/1.1\r\nHost: " + host +
         "\r\nx-amz-date: " + stamp + "\r\nx-amz-content-sha256: " + payload_sha256 +
         "\r\nContent-Length: " + std::to_string(body_bytes) +
         "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=" + who.access_key + "/" + scope +
         ", SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" +
         hex(hmac(cached_key, to_sign)) + "\r\n\r\n";
}

}  // namespace covey::bench
