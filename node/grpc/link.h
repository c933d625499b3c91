// Link: one peer as this node calls it. It keeps the stream up, matches replies to calls and ends
// every call at its deadline. Loop thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/async/clock.h"
#include "base/async/event.h"
#include "base/async/scope.h"
#include "node/grpc/transport.h"
#include "proto/peers.h"

namespace covey {

// How long a call waits for the first connection to a peer before it fails.
inline constexpr Duration kFirstConnectWait = std::chrono::milliseconds(1000);
// Between attempts; doubles up to the second.
inline constexpr Duration kReconnectMin = std::chrono::milliseconds(50);
inline constexpr Duration kReconnectMax = std::chrono::milliseconds(1000);
// A peer nobody called for this long is not dialled again until somebody does.
inline constexpr Duration kLinkWanted = std::chrono::seconds(60);
// A hint waits at most this long for a frame to ride with.
inline constexpr Duration kTellDelay = std::chrono::milliseconds(10);

class Link {
 public:
  struct Context {
    Loop& loop;
    Clock& clock;
    std::shared_ptr<const TlsMaterial> tls;
    NodeId self;
    uint32_t protocol;
    uint64_t first_connection = 0;  // connections are numbered from above this on
  };
  Link(Context context, NodeId peer);
  ~Link();

  // A new address ends the connection to the old one.
  void set_address(Address address);
  Task<Result<PeerMessage>> call(PeerService service, PeerMessage request, TimePoint deadline);
  void tell(PeerService service, std::string head);
  // Ends every call and the stream. Afterwards drained() comes.
  void stop();
  Task<void> drained();

  bool up() const { return state_ == State::kUp; }
  // As Peers::connection().
  uint64_t connection() const { return up() ? context_.first_connection + stream_number_ : 0; }
  bool busy() const { return in_flight() > 0; }
  const Address& address() const { return address_; }

 private:
  enum class State { kNoAddress, kConnecting, kUp, kDown, kStopped };
  struct Pending {
    Event done;
    std::optional<Result<PeerMessage>> result;
  };

  Task<Status> ready(TimePoint deadline);
  Task<Result<PeerMessage>> stream_call(PeerService service, std::string head, TimePoint deadline);
  Task<Result<PeerMessage>> bulk_call(PeerService service, PeerMessage request, TimePoint deadline);
  void connect();
  void on_up(uint64_t stream);
  void on_frame(uint64_t stream, std::vector<wire::Entry> entries);
  void on_down(uint64_t stream, std::string why, uint64_t sent_through);
  void fail_calls(const std::string& why, uint64_t sent_through);
  void schedule_reconnect();
  void flush_soon();
  size_t in_flight() const { return pending_.size() + bulk_.size(); }

  Context context_;
  NodeId peer_;
  Address address_;
  State state_ = State::kNoAddress;
  std::unique_ptr<PeerChannels> channels_;
  std::shared_ptr<FrameStream> stream_;
  uint64_t stream_number_ = 0;  // which stream an event belongs to
  size_t streams_open_ = 0;
  Duration backoff_ = kReconnectMin;
  TimePoint connecting_since_, last_wanted_, last_logged_;
  std::string last_failure_;
  bool ever_failed_ = false;
  Event settled_;  // set while not kConnecting

  uint64_t next_id_ = 1;
  std::unordered_map<uint64_t, Pending*> pending_;
  std::unordered_set<BulkCall*> bulk_;
  bool flush_posted_ = false;
  TimerId tell_timer_ = 0, reconnect_timer_ = 0;
  Event idle_;
  size_t callers_ = 0;
};

PeerMessage message_of(wire::Entry& entry);
// The reply's value, or the error it carries.
Result<PeerMessage> result_of(wire::Entry& entry, Blob body);

}  // namespace covey
