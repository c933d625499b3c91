// Peers: how one node calls another. node/grpc implements it over mutual TLS, tests/sim over a
// simulated network. No gRPC type appears here.
#pragma once

#include <cstdint>
#include <string>

#include "base/async/clock.h"
#include "base/async/task.h"
#include "base/core/blob.h"
#include "base/core/ids.h"
#include "base/core/result.h"

namespace covey {

// Who answers at the other end. Each number is fixed for ever.
enum class PeerService : uint8_t {
  kRegister = 1,    // ballots, reads, ranges: store/register
  kControl = 2,     // control tables: store/table
  kBlock = 3,       // blocks: store/block
  kLayout = 4,      // layout register, join, epochs: node
  kAdmin = 5,       // status collection: node
  kSync = 6,        // comparing replicas: store/sync
  kOrphans = 7,     // blocks that no row names: store/sync
  kWitness = 8,     // who forgot what it had acknowledged: node/witness
  kSecrets = 9,     // rotation of the cluster secret: node
  kAvailable = 10,  // rows of available buckets: store/available
};

// A message: a small head (serialized by the service's own encoding) and, for blocks, a body that
// is never copied.
struct PeerMessage {
  std::string head;
  Blob body;
  bool body_back = false;  // of a request: its answer brings a body
};

// Serves one PeerService on this node.
class PeerHandler {
 public:
  virtual ~PeerHandler() = default;
  // `from` was proved by the handshake. An Error is carried back to the caller (code and message).
  virtual Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) = 0;
};

class Peers {
 public:
  virtual ~Peers() = default;
  virtual NodeId self() const = 0;

  // Calls `service` on `to`. Heads alone are coalesced into frames on one long-lived stream per
  // peer; a message with a body, or whose answer has one, goes as a call of its own on another
  // channel, so that a block never delays a ballot, nor the question whether somebody is there. A
  // call to self() reaches the local handler without a network. Errors: kTimeout (deadline passed:
  // the peer may or may not have acted), kUnavailable (certainly not delivered), kOverloaded (queue
  // to that peer is full), or what the handler returned. Every request bears to arrive twice or
  // late: the services see to it (proposals of store/register by their number), so this class need
  // not deliver at most once.
  // REQUIRES: head <= kPeerMessageBytesMax, body <= kBlockBytesMax.
  virtual Task<Result<PeerMessage>> call(NodeId to, PeerService service, PeerMessage request,
                                         TimePoint deadline) = 0;

  // Tells the connections to `to` apart: another number whenever one was made anew, 0 while there
  // is none. What is called while the number stays the same is heard by the same process.
  virtual uint64_t connection(NodeId to) const = 0;

  // A hint that needs no answer and may be lost; it rides with the next frame (within about 20 ms).
  virtual void tell(NodeId to, PeerService service, std::string head) = 0;

  // Registers the local handler. Before the first message; the handler outlives this object's
  // traffic.
  virtual void serve(PeerService service, PeerHandler& handler) = 0;
};

}  // namespace covey
