// Addresses as people write them, as the kernel wants them, and names looked up.
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/async/loop.h"
#include "base/async/net.h"
#include "base/core/result.h"

namespace covey {

// "192.168.1.7:3901", "[fd00::7]:3901", "fd00::7" or "box.local" (with `default_port`; 0: a port
// is required). The host may be a name: see resolve(). Errors: kInvalid.
Result<Address> parse_address(std::string_view text, uint16_t default_port = 0);

// A numeric address as a socket address; nullopt if the host is a name.
std::optional<sockaddr_storage> to_sockaddr(const Address& address);
// The other way; an IPv4 address mapped into IPv6 comes back as IPv4.
Address from_sockaddr(const sockaddr* address);

// The numeric addresses of a host name (or the address itself), looked up on `pool`.
// Errors: kNotFound (no such name), kUnavailable (no answer now).
Task<Result<std::vector<Address>>> resolve(Pool& pool, Address address);

}  // namespace covey
