#include "node/gossip_thread.h"

#include "base/os/scheduling.h"

namespace covey {

GossipThread::~GossipThread() { CHECK(!loop_.has_thread()); }

Status GossipThread::start(GossipOptions options, const Address& listen, Loop& home,
                           Events events) {
  TRY(socket_, UvDatagrams::bind(loop_, listen));
  gossip_ = std::make_unique<Gossip>(std::move(options), loop_, loop_, *socket_, rng_);
  gossip_->on_change([&home, changed = events.changed] { home.post(changed); });
  gossip_->on_fallback([&home, tell = events.fallback](NodeId node, uint32_t sequence) {
    home.post([tell, node, sequence] { tell(node, sequence); });
  });
  gossip_->on_other_secret([&home, tell = events.other_secret](const std::string& secret) {
    home.post([tell, secret] { tell(secret); });
  });
  gossip_->on_unsealed(
      [this, &home, tell = events.unsealed](const Address& from, std::string_view datagram) {
        if (unsealed_waiting_.fetch_add(1) >= kUnsealedWaitingMax) {
          --unsealed_waiting_;
          return;
        }
        home.post([this, tell, from, bytes = std::string(datagram)] {
          --unsealed_waiting_;
          tell(from, bytes);
        });
      });
  loop_.post([] { schedule_for_latency(); });
  loop_.start();
  gossip_->start();
  return {};
}

Gossip::Members GossipThread::members() const {
  return gossip_ ? gossip_->members() : std::make_shared<const std::vector<MemberView>>();
}

void GossipThread::stop() {
  if (!loop_.has_thread()) return;
  loop_.post([this] { gossip_->stop(true); });
  loop_.join();  // runs what was posted before
  gossip_.reset();
  socket_.reset();
}

}  // namespace covey
