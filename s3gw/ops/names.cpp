#include "s3gw/ops/names.h"

#include <algorithm>
#include <cstddef>

namespace covey {

static bool letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

static bool looks_like_ipv4(std::string_view name) {
  return std::count(name.begin(), name.end(), '.') == 3 &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return c == '.' || (c >= '0' && c <= '9'); });
}

bool valid_bucket_name(std::string_view name) {
  if (name.size() < 3 || name.size() > 63) return false;
  if (!letter_or_digit(name.front()) || !letter_or_digit(name.back())) return false;
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    if (!letter_or_digit(c) && c != '.' && c != '-') return false;
    // Each label starts and ends with a letter or digit. (The last character of all is no dot.)
    if (c == '.' && !letter_or_digit(name[i + 1])) return false;
    if (c == '.' && name[i - 1] == '-') return false;
  }
  for (std::string_view prefix : {"xn--", "sthree-", "amzn-s3-demo-"})
    if (name.starts_with(prefix)) return false;
  for (std::string_view suffix : {"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"})
    if (name.ends_with(suffix)) return false;
  return !looks_like_ipv4(name);
}

}  // namespace covey
