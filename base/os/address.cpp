#include "base/os/address.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include <algorithm>
#include <charconv>

namespace covey {

namespace {

constexpr size_t kHostBytesMax = 253;  // of a DNS name
constexpr size_t kResolvedMax = 16;

tl::unexpected<Error> bad_address(std::string_view text) {
  return fail(ErrorCode::kInvalid,
              fmt::format("'{}' is not an address: write HOST:PORT, for example 192.168.1.7:3901 "
                          "or [fd00::7]:3901",
                          text.substr(0, 300)));
}

Result<std::vector<Address>> resolve_blocking(const Address& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int rc = getaddrinfo(address.host.c_str(), nullptr, &hints, &found);
  if (rc != 0) {
    ErrorCode code = rc == EAI_NONAME ? ErrorCode::kNotFound : ErrorCode::kUnavailable;
    return fail(code,
                fmt::format("cannot look up the host '{}': {}", address.host, gai_strerror(rc)));
  }
  std::vector<Address> out;
  for (addrinfo* at = found; at && out.size() < kResolvedMax; at = at->ai_next) {
    Address one = from_sockaddr(at->ai_addr);
    one.port = address.port;
    if (std::find(out.begin(), out.end(), one) == out.end()) out.push_back(std::move(one));
  }
  freeaddrinfo(found);
  return out;
}

}  // namespace

Result<Address> parse_address(std::string_view text, uint16_t default_port) {
  std::string_view host = text, port;
  if (text.starts_with('[')) {
    size_t end = text.find(']');
    if (end == std::string_view::npos) return bad_address(text);
    host = text.substr(1, end - 1);
    std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && (rest[0] != ':' || rest.size() == 1)) return bad_address(text);
    if (!rest.empty()) port = rest.substr(1);
    if (host.find(':') == std::string_view::npos) return bad_address(text);
  } else if (std::count(text.begin(), text.end(), ':') == 1) {
    size_t colon = text.find(':');
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) return bad_address(text);
  }
  Address out{std::string(host), default_port};
  if (host.empty() || host.size() > kHostBytesMax) return bad_address(text);
  if (host.find(':') != std::string_view::npos && !to_sockaddr(out)) return bad_address(text);
  bool plain = std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '.' || c == ':' || c == '_' || c == '%';
  });
  if (!plain) return bad_address(text);
  if (!port.empty()) {
    auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
    if (error != std::errc() || end != port.data() + port.size()) return bad_address(text);
  } else if (default_port == 0) {
    return bad_address(text);
  }
  return out;
}

std::optional<sockaddr_storage> to_sockaddr(const Address& address) {
  sockaddr_storage out{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out);
  if (inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    return out;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out);
  if (inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    return out;
  }
  return std::nullopt;
}

Address from_sockaddr(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address->sa_family == AF_INET) {
    auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    return {text, ntohs(v4->sin_port)};
  }
  if (address->sa_family != AF_INET6) return {};
  auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
  if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
    inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, text, sizeof text);
  } else {
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
  }
  return {text, ntohs(v6->sin6_port)};
}

Task<Result<std::vector<Address>>> resolve(Pool& pool, Address address) {
  co_return co_await pool.run([&address] { return resolve_blocking(address); });
}

}  // namespace covey
