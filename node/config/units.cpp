// Sizes, durations and addresses as people write them.
#include <arpa/inet.h>
#include <netdb.h>

#include <charconv>
#include <cmath>
#include <memory>

#include "node/config/config.h"

namespace covey {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};
constexpr Unit kSizes[] = {{"", 1},
                           {"B", 1},
                           {"KB", 1000},
                           {"MB", 1'000'000},
                           {"GB", 1'000'000'000},
                           {"TB", 1'000'000'000'000},
                           {"KiB", 1ull << 10},
                           {"MiB", 1ull << 20},
                           {"GiB", 1ull << 30},
                           {"TiB", 1ull << 40}};
constexpr Unit kTimes[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};

template <size_t N>
std::optional<uint64_t> number_with_unit(std::string_view text, const Unit (&units)[N]) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || !(value >= 0)) return std::nullopt;
  std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  for (const Unit& unit : units) {
    if (rest != unit.name) continue;
    double product = value * static_cast<double>(unit.factor);
    if (!(product < 9e18)) return std::nullopt;
    return static_cast<uint64_t>(std::llround(product));
  }
  return std::nullopt;
}

struct HostPort {
  std::string host;
  uint16_t port;
};
std::optional<HostPort> split(std::string_view text) {
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
  bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty() || (!bracketed && host.find(':') != std::string_view::npos)) return std::nullopt;
  uint16_t number = 0;
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || port.empty()) return std::nullopt;
  return HostPort{std::string(host), number};
}

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text) { return number_with_unit(text, kSizes); }

std::optional<std::chrono::seconds> parse_duration(std::string_view text) {
  auto seconds = number_with_unit(text, kTimes);
  if (!seconds) return std::nullopt;
  return std::chrono::seconds(*seconds);
}

std::optional<Address> parse_listen(std::string_view text) {
  auto parts = split(text);
  if (!parts) return std::nullopt;
  uint8_t raw[16];
  if (::inet_pton(AF_INET, parts->host.c_str(), raw) != 1 &&
      ::inet_pton(AF_INET6, parts->host.c_str(), raw) != 1)
    return std::nullopt;
  return Address{parts->host, parts->port};
}

bool unspecified(std::string_view host) {
  return host.empty() || host == "0.0.0.0" || host == "::";
}

Result<Address> resolve_address(std::string_view text) {
  if (auto numeric = parse_listen(text)) return *numeric;
  auto parts = split(text);
  if (!parts) return fail(ErrorCode::kInvalid, std::string(text) + " is not host:port");
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  int error = ::getaddrinfo(parts->host.c_str(), nullptr, &hints, &found);
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> kept(found, &::freeaddrinfo);
  char host[NI_MAXHOST] = "";
  if (error == 0)
    error = ::getnameinfo(found->ai_addr, found->ai_addrlen, host, sizeof host, nullptr, 0,
                          NI_NUMERICHOST);
  if (error != 0)
    return fail(ErrorCode::kUnavailable,
                "cannot resolve " + parts->host + ": " + ::gai_strerror(error));
  return Address{host, parts->port};
}

}  // namespace covey
