// Gossip: binds the SWIM core to a socket, a clock and randomness. It lives on a loop of its own
// and touches no disk, so that a stalled SD card never reads as a dead node.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/async/clock.h"
#include "base/async/loop.h"
#include "base/async/net.h"
#include "base/async/rng.h"
#include "base/async/scope.h"
#include "gossip/swim/seal.h"
#include "gossip/swim/swim.h"

namespace covey {

struct GossipOptions {
  SwimOptions swim;
  std::string secret;                      // the cluster's, in use
  std::vector<std::string> also_accepted;  // while it is rotated
  uint64_t boot = 0;                       // counts this node's starts; durable before use
};

class Gossip {
 public:
  using Members = std::shared_ptr<const std::vector<MemberView>>;

  // All four belong to the gossip loop and outlive this object.
  Gossip(GossipOptions options, Loop& loop, Clock& clock, Datagrams& net, Rng& rng);

  // What is known now, self included; never null. Any thread.
  Members members() const;
  // Called on the gossip loop when members() shows something new; the owner posts to its own loop.
  // REQUIRES: before start().
  void on_change(std::function<void()> callback) { on_change_ = std::move(callback); }
  // Called on the gossip loop when a node does not answer over UDP: whoever reaches it another way
  // (rpc) calls fallback_acked(). REQUIRES: before start().
  void on_fallback(std::function<void(NodeId, uint32_t)> callback) {
    on_fallback_ = std::move(callback);
  }

  // Called on the gossip loop when a member seals with an accepted secret that is not in use here,
  // with that one. REQUIRES: before start().
  void on_other_secret(std::function<void(const std::string&)> callback) {
    on_other_secret_ = std::move(callback);
  }
  // Called on the gossip loop for a datagram that is not sealed gossip at all, from anybody.
  // REQUIRES: before start().
  void on_unsealed(std::function<void(const Address&, std::string_view)> callback) {
    on_unsealed_ = std::move(callback);
  }

  // Any thread: these post to the gossip loop. REQUIRES: before stop().
  // The secret in use first.
  void set_secrets(std::vector<std::string> secrets);
  // As it is, not sealed.
  void send_unsealed(Address to, std::string bytes);
  void start();
  void update_meta(MemberMeta meta);
  void set_seeds(std::vector<Address> seeds);
  void forget(NodeId id);
  void fallback_acked(uint32_t sequence);

  // On the gossip loop; `leave`: tell the others that it is on purpose. Afterwards this object may
  // be destroyed as soon as the loop has run what was posted to it.
  void stop(bool leave);

  uint64_t refused_datagrams() const { return refused_; }

 private:
  void tick();
  void received(const Address& from, std::string_view bytes);
  void apply(SwimEffects effects);
  void publish();
  void refuse(const Address& from, const Error& error);

  Loop& loop_;
  Clock& clock_;
  Datagrams& net_;
  Sealer sealer_;
  std::vector<std::string> secrets_;  // the sealer's
  Swim swim_;
  std::function<void()> on_change_;
  std::function<void(NodeId, uint32_t)> on_fallback_;
  std::function<void(const std::string&)> on_other_secret_;
  std::function<void(const Address&, std::string_view)> on_unsealed_;
  TimerId timer_ = 0;
  bool running_ = false;
  std::atomic<uint64_t> refused_ = 0;
  TimePoint next_refusal_log_, next_publish_;
  mutable std::mutex mutex_;
  Members members_;  // guarded by mutex_
};

}  // namespace covey
