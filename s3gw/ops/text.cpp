#include "s3gw/ops/text.h"

#include <array>
#include <charconv>
#include <cstdio>

namespace covey {

namespace {

struct Civil {
  int64_t year;
  unsigned month, day, hour, minute, second;
};

// Days since 1970 to a date of the proleptic Gregorian calendar: years counted from March, so that
// the leap day comes last.
Civil civil_from(WallTime time) {
  int64_t seconds = time.ms / 1000 - (time.ms % 1000 < 0 ? 1 : 0);
  int64_t days = seconds / 86400, rest = seconds % 86400;
  if (rest < 0) rest += 86400, --days;
  int64_t z = days + 719468;
  int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  auto doe = static_cast<unsigned>(z - era * 146097);
  unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  unsigned mp = (5 * doy + 2) / 153;
  Civil c{};
  c.day = doy - (153 * mp + 2) / 5 + 1;
  c.month = mp < 10 ? mp + 3 : mp - 9;
  c.year = static_cast<int64_t>(yoe) + era * 400 + (c.month <= 2 ? 1 : 0);
  auto s = static_cast<unsigned>(rest);
  c.hour = s / 3600, c.minute = s / 60 % 60, c.second = s % 60;
  return c;
}

WallTime wall_from(int64_t year, unsigned month, unsigned day, unsigned hour, unsigned minute,
                   unsigned second) {
  int64_t y = year - (month <= 2 ? 1 : 0);
  int64_t era = (y >= 0 ? y : y - 399) / 400;
  auto yoe = static_cast<unsigned>(y - era * 400);
  unsigned doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  int64_t days = era * 146097 + static_cast<int64_t>(doe) - 719468;
  return {(days * 86400 + hour * 3600 + minute * 60 + second) * 1000};
}

constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

unsigned month_of(std::string_view name) {
  for (unsigned i = 0; i < 12; ++i)
    if (kMonths[i] == name) return i + 1;
  return 0;
}

void put2(char* at, unsigned value) {
  at[0] = static_cast<char>('0' + value / 10 % 10);
  at[1] = static_cast<char>('0' + value % 10);
}

std::optional<WallTime> checked(int year, unsigned month, int day, int hour, int minute,
                                int second) {
  if (year < 1601 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 ||
      hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
    return std::nullopt;
  return wall_from(year, month, static_cast<unsigned>(day), static_cast<unsigned>(hour),
                   static_cast<unsigned>(minute), static_cast<unsigned>(second));
}

}  // namespace

void append_iso8601(std::string& out, WallTime time) {
  Civil c = civil_from(time);
  char text[] = "0000-00-00T00:00:00.000Z";
  put2(text, static_cast<unsigned>(c.year / 100)),
      put2(text + 2, static_cast<unsigned>(c.year % 100));
  put2(text + 5, c.month), put2(text + 8, c.day);
  put2(text + 11, c.hour), put2(text + 14, c.minute), put2(text + 17, c.second);
  out.append(text, sizeof text - 1);
}

std::string iso8601(WallTime time) {
  std::string out;
  append_iso8601(out, time);
  return out;
}

std::optional<WallTime> parse_date(std::string_view given) {
  if (given.size() > 64) return std::nullopt;
  std::string text(trim(given));
  char month[4] = {};
  int year = 0, number = 0, day = 0, hour = 0, minute = 0, second = 0;
  const char* s = text.c_str();
  if (std::sscanf(s, "%*3s, %2d %3s %4d %2d:%2d:%2d", &day, month, &year, &hour, &minute,
                  &second) == 6)
    return checked(year, month_of(month), day, hour, minute, second);
  if (std::sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d", &year, &number, &day, &hour, &minute, &second) == 6)
    return checked(year, static_cast<unsigned>(number), day, hour, minute, second);
  if (std::sscanf(s, "%*9[a-zA-Z], %2d-%3[a-zA-Z]-%2d %2d:%2d:%2d", &day, month, &year, &hour,
                  &minute, &second) == 6)
    return checked(year + (year < 70 ? 2000 : 1900), month_of(month), day, hour, minute, second);
  if (std::sscanf(s, "%*3s %3s %2d %2d:%2d:%2d %4d", month, &day, &hour, &minute, &second, &year) ==
      6)
    return checked(year, month_of(month), day, hour, minute, second);
  return std::nullopt;
}

static constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (unsigned c = 'a'; c <= 'z'; ++c) plain[c] = true;
  for (unsigned c = 'A'; c <= 'Z'; ++c) plain[c] = true;
  for (unsigned c = '0'; c <= '9'; ++c) plain[c] = true;
  for (unsigned char c : {'-', '.', '_', '~', '/'}) plain[c] = true;
  return plain;
}();

void append_url_encoded(std::string& out, std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  for (char ch : text) {
    auto c = static_cast<unsigned char>(ch);
    if (kPlain[c]) {
      out.push_back(ch);
    } else {
      out.push_back('%');
      out.push_back(kDigits[c >> 4]);
      out.push_back(kDigits[c & 15]);
    }
  }
}

bool is_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    auto c = static_cast<unsigned char>(text[i]);
    size_t more = c < 0x80                ? 0
                  : c >= 0xc2 && c < 0xe0 ? 1
                  : c >= 0xe0 && c < 0xf0 ? 2
                  : c >= 0xf0 && c < 0xf5 ? 3
                                          : 9;
    if (more == 9 || i + more >= text.size()) return false;
    uint32_t point = more == 0 ? c : c & (0x3f >> more);
    for (size_t k = 1; k <= more; ++k) {
      auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3f);
    }
    bool overlong = (more == 2 && point < 0x800) || (more == 3 && point < 0x10000);
    if (overlong || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    i += more + 1;
  }
  return true;
}

bool has_control(std::string_view text) {
  for (char c : text)
    if (c == '\r' || c == '\n' || c == '\0') return true;
  return false;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trim(std::string_view text) {
  size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t value = 0;
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view unquote_etag(std::string_view etag) {
  etag = trim(etag);
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"')
    etag = etag.substr(1, etag.size() - 2);
  return etag;
}

}  // namespace covey
