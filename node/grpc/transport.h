// What the loop side of the peers (link.h, grpc_peers.h) needs of gRPC, without naming a gRPC type.
// Every callback runs on the loop; every function here is called on the loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/async/clock.h"
#include "base/async/loop.h"
#include "base/async/net.h"
#include "base/core/blob.h"
#include "base/core/ids.h"
#include "base/core/limits.h"
#include "base/core/result.h"
#include "node/identity/identity.h"
#include "proto/peer.pb.h"

namespace covey {

// A frame is closed at this size; an entry larger than it is a frame of its own.
inline constexpr size_t kFrameBytes = 1 * kMiB;
// What may wait for one peer's stream. Beyond it calls are refused and hints are dropped.
inline constexpr size_t kStreamQueueBytesMax = 16 * kMiB;
// Above the largest message plus its envelope.
inline constexpr int kGrpcMessageBytesMax = 40 * kMiB;

// One end of a long-lived stream. Entries wait until the frame before them has been written.
class FrameStream {
 public:
  virtual ~FrameStream() = default;
  // Queues an entry; it leaves with the next flush, or with the frame under way. kOverloaded above
  // kStreamQueueBytesMax.
  virtual Status append(const wire::Entry& entry) = 0;
  virtual void flush() = 0;
  // Ends the stream; nothing queued is sure to leave. Its down() still comes.
  virtual void close() = 0;
};

struct StreamEvents {
  std::function<void()> up;  // the peer accepted the stream and is the node we dialled
  std::function<void(std::vector<wire::Entry>)> frame;
  // The stream ended. Requests with ids <= `sent_through` may have reached the peer, others have
  // certainly not. No callback follows this one.
  std::function<void(std::string why, uint64_t sent_through)> down;
};

struct BulkMessage {
  wire::Entry entry;  // its body field is empty
  Blob body;
};

// A bulk call under way.
class BulkCall {
 public:
  virtual ~BulkCall() = default;
  virtual void cancel() = 0;  // `done` still comes
};

// The channels to one peer at one address.
class PeerChannels {
 public:
  virtual ~PeerChannels() = default;
  virtual std::shared_ptr<FrameStream> open_stream(StreamEvents events) = 0;
  // `done` gets kTimeout when the transport failed or gave up.
  virtual std::shared_ptr<BulkCall> call(BulkMessage request, Duration timeout,
                                         std::function<void(Result<BulkMessage>)> done) = 0;
};
std::unique_ptr<PeerChannels> open_channels(Loop& loop, const TlsMaterial& tls, NodeId peer,
                                            const Address& address, uint32_t protocol);

// What the listening side hands up.
struct ServerEvents {
  // A frame from `from`; replies go to `stream`.
  std::function<void(std::shared_ptr<FrameStream> stream, NodeId from, std::vector<wire::Entry>)>
      frame;
  // A bulk request; `reply` may be called from the loop once, at any later time.
  std::function<void(NodeId from, BulkMessage request, std::function<void(BulkMessage)> reply)>
      bulk;
};
class PeerServer {
 public:
  virtual ~PeerServer() = default;
  virtual uint16_t port() const = 0;
  // From now on handshakes use these, and nothing is taken from connections whose certificate they
  // do not trust: their streams end.
  virtual void renew(const TlsMaterial& tls) = 0;
  // Ends every stream and call and waits for gRPC's callbacks: nothing is posted afterwards.
  virtual void stop() = 0;
};
// Errors: kUnavailable (the address cannot be bound).
Result<std::unique_ptr<PeerServer>> start_peer_server(Loop& loop, const TlsMaterial& tls,
                                                      const Address& listen, uint32_t protocol,
                                                      ServerEvents events);

}  // namespace covey
