#include "gossip/swim/driver.h"

#include "base/core/log.h"

namespace covey {
namespace {

constexpr Duration kRefusalLogInterval = std::chrono::seconds(30);
// last_seen and rtt change all the time; they are shown this fresh.
constexpr Duration kPublishInterval = std::chrono::seconds(1);

}  // namespace

Gossip::Gossip(GossipOptions options, Loop& loop, Clock& clock, Datagrams& net, Rng& rng)
    : loop_(loop),
      clock_(clock),
      net_(net),
      sealer_(options.secret, options.swim.self, options.boot),
      swim_(std::move(options.swim), rng) {
  secrets_ = std::move(options.also_accepted);
  secrets_.insert(secrets_.begin(), std::move(options.secret));
  sealer_.set_secrets(secrets_);
  publish();
}

Gossip::Members Gossip::members() const {
  std::lock_guard lock(mutex_);
  return members_;
}

void Gossip::publish() {
  auto fresh = std::make_shared<const std::vector<MemberView>>(swim_.members());
  std::lock_guard lock(mutex_);
  members_ = std::move(fresh);
}

void Gossip::start() {
  loop_.post([this] {
    running_ = true;
    net_.on_receive([this](const Address& from, std::string_view bytes) { received(from, bytes); });
    tick();
  });
}

void Gossip::stop(bool leave) {
  if (!running_) return;
  if (leave) apply(swim_.leave(clock_.now()));
  running_ = false;
  clock_.cancel(timer_);
  net_.on_receive([](const Address&, std::string_view) {});
}

void Gossip::update_meta(MemberMeta meta) {
  loop_.post([this, meta = std::move(meta)] {
    swim_.update_meta(meta);
    publish();
  });
}

void Gossip::set_seeds(std::vector<Address> seeds) {
  loop_.post([this, seeds = std::move(seeds)] { swim_.set_seeds(seeds); });
}

void Gossip::set_secrets(std::vector<std::string> secrets) {
  loop_.post([this, secrets = std::move(secrets)] {
    secrets_ = secrets;
    sealer_.set_secrets(secrets_);
  });
}

void Gossip::send_unsealed(Address to, std::string bytes) {
  loop_.post([this, to = std::move(to), bytes = std::move(bytes)] {
    if (running_) net_.send(to, bytes);
  });
}

void Gossip::forget(NodeId id) {
  loop_.post([this, id] {
    swim_.forget(id);
    publish();
  });
}

void Gossip::fallback_acked(uint32_t sequence) {
  loop_.post([this, sequence] {
    if (running_) apply(swim_.fallback_acked(clock_.now(), sequence));
  });
}

void Gossip::tick() {
  if (!running_) return;
  TimePoint now = clock_.now();
  apply(swim_.tick(now));
  if (now >= next_publish_) {
    next_publish_ = now + kPublishInterval;
    publish();
  }
  timer_ = clock_.schedule(now + Swim::kTick, [this] { tick(); });
}

void Gossip::received(const Address& from, std::string_view bytes) {
  if (!running_) return;
  if (on_unsealed_ && !bytes.empty() && static_cast<uint8_t>(bytes.front()) != kSealVersion)
    return on_unsealed_(from, bytes);
  auto opened = sealer_.open(bytes);
  if (!opened) return refuse(from, opened.error());
  if (opened->secret > 0 && on_other_secret_) on_other_secret_(secrets_[opened->secret]);
  apply(swim_.receive(clock_.now(), opened->sender, from, opened->plain));
}

void Gossip::apply(SwimEffects effects) {
  for (const auto& datagram : effects.send) net_.send(datagram.to, sealer_.seal(datagram.plain));
  if (on_fallback_)
    for (const auto& fallback : effects.fallback) on_fallback_(fallback.node, fallback.sequence);
  if (!effects.changed) return;
  publish();
  if (on_change_) on_change_();
}

void Gossip::refuse(const Address& from, const Error& error) {
  ++refused_;
  TimePoint now = clock_.now();
  if (error.code != ErrorCode::kDenied || now < next_refusal_log_) return;
  next_refusal_log_ = now + kRefusalLogInterval;
  log_warn(
      "refused gossip from {}: {}; compare secret_file on both sides (one that was away while the "
      "secret was rotated needs a copy of the new one)",
      from.str(), error.message);
}

}  // namespace covey
