// Datagrams for gossip. Node-to-node calls go through proto/peers.h.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace covey {

// A host (numeric IPv4 or IPv6 address) and port: "192.168.1.7:3901", "[fd00::7]:3901".
struct Address {
  std::string host;
  uint16_t port = 0;
  auto operator<=>(const Address&) const = default;
  std::string str() const {
    bool v6 = host.find(':') != std::string::npos;
    return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
  }
};

class Datagrams {
 public:
  virtual ~Datagrams() = default;
  // Best effort: it may be lost, late, doubled or overtaken. Loop thread only.
  virtual void send(const Address& to, std::string_view bytes) = 0;
  // Called on the loop for each datagram. Set once, before the first one can arrive.
  virtual void on_receive(
      std::function<void(const Address& from, std::string_view bytes)> receiver) = 0;
};

}  // namespace covey
