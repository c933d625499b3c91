// GossipThread: gossip on a loop, a thread and a socket of its own, so that whatever the rest of
// the node is busy with never reads as a dead node.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/os/os_rng.h"
#include "base/os/uv_datagrams.h"
#include "base/os/uv_loop.h"
#include "gossip/swim/driver.h"

namespace covey {

inline constexpr int kUnsealedWaitingMax = 32;

class GossipThread {
 public:
  GossipThread() : loop_("gossip") {}
  // REQUIRES: stop() was called if start() succeeded.
  ~GossipThread();

  // All are posted to the loop that starts this.
  struct Events {
    std::function<void()> changed;
    std::function<void(NodeId, uint32_t)> fallback;
    std::function<void(const std::string& secret)> other_secret;
    // At most kUnsealedWaitingMax of these wait; what comes beyond is dropped.
    std::function<void(const Address& from, const std::string& datagram)> unsealed;
  };
  // Binds the socket and starts. Errors: kInvalid, kUnavailable (the port is taken).
  Status start(GossipOptions options, const Address& listen, Loop& home, Events events);
  Gossip& gossip() { return *gossip_; }
  Gossip::Members members() const;
  // Tells the others that this node goes on purpose, then ends the thread.
  void stop();

 private:
  UvLoop loop_;
  OsRng rng_;
  std::unique_ptr<UvDatagrams> socket_;
  std::unique_ptr<Gossip> gossip_;
  std::atomic<int> unsealed_waiting_{0};
};

}  // namespace covey
