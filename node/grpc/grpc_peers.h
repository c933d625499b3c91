// GrpcPeers: proto/peers.h over gRPC with mutual TLS. Loop thread only.
#pragma once

#include <memory>
#include <optional>

#include "base/async/net.h"
#include "base/async/runtime.h"
#include "node/identity/secrets.h"
#include "proto/peers.h"
#include "proto/protocol.h"

namespace covey {

// Requests of one peer that this node answers at the same time; more are refused with kOverloaded.
inline constexpr size_t kPeerRequestsMax = 4096;
// Requests with bodies, of all peers together.
inline constexpr size_t kBulkRequestsMax = 64;

// How long a connection with new certificates is waited for, and how long the calls of the old one.
inline constexpr Duration kRenewedWithin = std::chrono::seconds(5);
inline constexpr Duration kRenewedDrain = std::chrono::seconds(15);

struct PeersOptions {
  Loop& loop;
  Clock& clock;
  NodeIdentity identity;
  SecretRing secrets;
  Address listen;                     // port 0: any
  uint32_t protocol = kPeerProtocol;  // tests have others
};

class GrpcPeers : public Peers {
 public:
  // Where a node is to be reached, from gossip; a changed address replaces the connection.
  virtual void set_address(NodeId node, Address address) = 0;
  // Listens and answers. REQUIRES: every handler has been registered. Errors: kUnavailable (the
  // port is taken), kIo (OpenSSL).
  virtual Status start() = 0;
  virtual uint16_t port() const = 0;
  // Takes these secrets from now on, without losing a call: connections are made anew beside the
  // old ones, which end when their calls have, after kRenewedDrain at the latest. Errors: kIo
  // (OpenSSL): nothing has changed then.
  virtual Status set_secrets(const SecretRing& secrets) = 0;
  // No connection to another node was made with secrets older than the newest. Waiting for it takes
  // kRenewedWithin and kRenewedDrain at the most.
  virtual bool renewed() const = 0;
  virtual bool connected(NodeId node) const = 0;
  // Ends all calls, waits for the handlers. Call it before destruction.
  virtual Task<void> stop() = 0;
};

std::unique_ptr<GrpcPeers> make_grpc_peers(PeersOptions options);

}  // namespace covey
