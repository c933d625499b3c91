// The pieces of AWS Signature Version 4: hashing, the signing key, dates, credentials.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/async/clock.h"
#include "base/core/result.h"

namespace covey::sigv4 {

inline constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
inline constexpr std::string_view kEmptySha256 =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

std::string sha256_hex(std::string_view bytes);
std::string hmac(std::string_view key, std::string_view text);
std::string hmac_hex(std::string_view key, std::string_view text);

// kSecret -> date -> region -> service -> "aws4_request". The last few thousand are remembered by
// this thread: deriving one costs more than all the rest of a small request's authentication.
std::string signing_key(const std::string& access_key, const std::string& secret,
                        const std::string& day, const std::string& region);

// "20261121T050000Z".
std::optional<WallTime> parse_stamp(std::string_view text);
// "Sat, 21 Nov 2026 05:00:00 GMT" -> the same as a stamp.
std::optional<std::string> stamp_of_http_date(std::string_view text);
// "2026-11-21T05:00:00.000Z", as POST policies have it.
std::optional<WallTime> parse_iso8601(std::string_view text);

// "ACCESSKEY/20261121/us-east-1/s3/aws4_request"; the access key itself has no slash.
struct Credential {
  std::string access_key, day, region, service, terminator;
  std::string scope() const { return day + "/" + region + "/" + service + "/" + terminator; }
};
std::optional<Credential> parse_credential(std::string_view text);

// Without telling by its time where the difference is.
bool equal(std::string_view a, std::string_view b);

}  // namespace covey::sigv4
