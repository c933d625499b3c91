// Dates, ETags and encodings of the S3 API, without locale and without allocation where a listing
// writes thousands of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/async/clock.h"

namespace covey {

// "2026-11-21T04:15:06.000Z": whole seconds, as AWS shows them.
std::string iso8601(WallTime time);
void append_iso8601(std::string& out, WallTime time);
// The three forms of RFC 9110 and ISO 8601; nullopt for anything else.
std::optional<WallTime> parse_date(std::string_view text);

// encoding-type=url: everything but A-Z a-z 0-9 - . _ ~ / as %XX.
void append_url_encoded(std::string& out, std::string_view text);

bool is_utf8(std::string_view text);
bool has_control(std::string_view text);  // CR, LF, NUL: what may not stand in a header value
std::string lower(std::string_view text);
std::string_view trim(std::string_view text);
// Decimal digits only.
std::optional<uint64_t> parse_number(std::string_view text);
// `"abc"`, `W/"abc"` or `abc` -> `abc`.
std::string_view unquote_etag(std::string_view etag);

}  // namespace covey
