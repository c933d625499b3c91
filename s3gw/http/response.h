// The bytes of a response head.
#pragma once

#include <string>
#include <string_view>

#include "base/async/clock.h"
#include "s3gw/http/http.h"

namespace covey {

// "Sat, 21 Nov 2026 04:46:00 GMT".
std::string http_date(WallTime at);
std::string_view reason_phrase(int status);

struct Framing {
  bool head_only = false;       // HEAD: no body follows
  bool close = false;           // say "Connection: close"
  bool say_keep_alive = false;  // HTTP/1.0
  bool chunked = false;
  int64_t content_length = -1;  // -1: none is said
};
// Status line and headers up to and including the empty line. Header values are written without CR
// and LF.
std::string format_head(const HttpResponse& response, const Framing& framing,
                        std::string_view date);

}  // namespace covey
