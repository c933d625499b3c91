#include "s3gw/http/http.h"

namespace covey {

std::optional<std::string_view> HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::optional<std::string> HttpRequest::joined(std::string_view name) const {
  std::optional<std::string> all;
  for (const auto& [key, value] : headers) {
    if (key != name) continue;
    if (all) {
      all->append(",").append(value);
    } else {
      all = value;
    }
  }
  return all;
}

}  // namespace covey
