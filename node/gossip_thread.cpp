#include "node/gossip_thread.h"

#include "base/os/scheduling.h"

namespace covey {

GossipThread::~GossipThread() { CHECK(!loop_.has_thread()); }

Status GossipThread::start(GossipOptions options, const Address& listen, Loop& home,
                           std::function<void()> changed,
                           std::function<void(NodeId, uint32_t)> fallback) {
  TRY(socket_, UvDatagrams::bind(loop_, listen));
  gossip_ = std::make_unique<Gossip>(std::move(options), loop_, loop_, *socket_, rng_);
  gossip_->on_change([&home, changed] { home.post(changed); });
  gossip_->on_fallback([&home, fallback](NodeId node, uint32_t sequence) {
    home.post([fallback, node, sequence] { fallback(node, sequence); });
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
