// Swim: who is asked when, and what is answered.
#include "gossip/swim/swim.h"

#include <algorithm>

#include "base/core/check.h"
#include "gossip/swim/seal.h"

namespace covey {
namespace {

constexpr size_t kPlainBytesMax = kGossipDatagramBytesMax - kSealOverheadBytes;
constexpr size_t kRelaysMax = 256;

}  // namespace

Swim::Swim(SwimOptions options, Rng& rng)
    : config_(options.config), self_(options.self), rng_(rng) {
  set_seeds(std::move(options.seeds));
  Member me;
  me.claim.id = self_;
  me.claim.incarnation = options.incarnation;
  me.claim.meta = std::move(options.meta);
  members_.emplace(self_, std::move(me));
  spread(members_.at(self_));
}

void Swim::send(SwimEffects& out, const Address& to, GossipMessage head, const NodeId& about) {
  std::string bare = encode_gossip(head, {});
  out.send.push_back({to, encode_gossip(head, piggyback(kPlainBytesMax - bare.size(), about))});
}

void Swim::send_state(SwimEffects& out, const Address& to, GossipKind kind) {
  GossipMessage head;
  head.kind = kind;
  const size_t bare = encode_gossip(head, {}).size();
  std::vector<std::string> updates;
  size_t size = bare;
  auto flush = [&] {
    out.send.push_back({to, encode_gossip(head, updates)});
    updates.clear();
    size = bare;
    head.kind = GossipKind::kPush;  // one request is enough
  };
  updates.push_back(encode_update(members_.at(self_).claim));
  size += updates.back().size();
  for (const auto& [id, member] : members_) {
    if (id == self_) continue;
    std::string bytes = encode_update(member.claim);
    if (size + bytes.size() > kPlainBytesMax || updates.size() == 255) flush();
    size += bytes.size();
    updates.push_back(std::move(bytes));
  }
  flush();
}

SwimEffects Swim::tick(TimePoint now) {
  SwimEffects out;
  members_.at(self_).last_seen = now;
  if (leaving_) return out;
  if (probe_ && !probe_->asked_others && now >= probe_->ask_others_at) ask_others(out);
  if (probe_ && now >= probe_->ends_at) end_probe(now, out);
  if (!probe_ && now >= next_probe_) start_probe(now, out);
  tick_relays(now, out);
  bury(now, out);
  if (now >= next_gossip_) {
    next_gossip_ = now + config_.gossip_interval;
    bool due = std::any_of(members_.begin(), members_.end(),
                           [](const auto& m) { return m.second.sends_left > 0; });
    if (due)
      for (const NodeId& id : pick(config_.gossip_fanout, self_))
        send(out, members_.at(id).claim.meta.gossip, {}, id);
  }
  if (now >= next_push_pull_) {
    next_push_pull_ = now + config_.push_pull_interval;
    for (const NodeId& id : pick(1, self_))
      send_state(out, members_.at(id).claim.meta.gossip, GossipKind::kPushPull);
  }
  if (now >= next_rejoin_) rejoin(now, out);
  return out;
}

void Swim::set_seeds(std::vector<Address> seeds) {
  seeds_ = std::move(seeds);
  if (seeds_.size() > kGossipSeedsMax) seeds_.resize(kGossipSeedsMax);
}

// Alone: try the seeds every second. Otherwise now and then the seeds that no live member answers
// for, and one dead member: whoever was cut off learns that the others are back.
void Swim::rejoin(TimePoint now, SwimEffects& out) {
  bool alone = live_count() < 2;
  next_rejoin_ = now + (alone ? Duration(std::chrono::seconds(1)) : config_.rejoin_interval);
  for (const Address& seed : seeds_) {
    bool known = std::any_of(members_.begin(), members_.end(), [&](const auto& m) {
      return m.second.claim.state <= MemberState::kSuspect && m.second.claim.meta.gossip == seed;
    });
    if (!known) send_state(out, seed, GossipKind::kPushPull);
  }
  for (const NodeId& id : pick(1, self_, true))
    send_state(out, members_.at(id).claim.meta.gossip, GossipKind::kPushPull);
}

void Swim::start_probe(TimePoint now, SwimEffects& out) {
  next_probe_ = now + stretched(config_.probe_interval);
  NodeId target;
  while (!round_.empty() && target.is_zero()) {
    auto at = members_.find(round_.back());
    if (at != members_.end() && at->second.claim.state <= MemberState::kSuspect)
      target = round_.back();
    round_.pop_back();
  }
  if (target.is_zero()) {
    round_ = pick(kGossipMembersMax, self_);  // shuffled
    if (round_.empty()) return;
    target = round_.back();
    round_.pop_back();
  }
  Probe probe;
  probe.target = target;
  probe.sequence = ++sequence_;
  probe.sent = now;
  probe.ask_others_at = now + stretched(config_.probe_timeout);
  probe.ends_at = next_probe_;
  probe_ = probe;
  GossipMessage ping;
  ping.kind = GossipKind::kPing;
  ping.sequence = probe.sequence;
  ping.target = target;
  send(out, members_.at(target).claim.meta.gossip, ping, target);
}

void Swim::ask_others(SwimEffects& out) {
  probe_->asked_others = true;
  auto target = members_.find(probe_->target);
  if (target == members_.end()) return;
  GossipMessage ask;
  ask.kind = GossipKind::kPingReq;
  ask.sequence = probe_->sequence;
  ask.target = probe_->target;
  ask.address = target->second.claim.meta.gossip;
  for (const NodeId& id : pick(config_.indirect_probes, probe_->target)) {
    ++probe_->nacks_expected;
    send(out, members_.at(id).claim.meta.gossip, ask, id);
  }
  out.fallback.push_back({probe_->target, probe_->sequence});
}

// No ack in the whole interval. If those asked did not even nack, the fault may be here: local
// health falls by what was missing, and everything is given more time.
void Swim::end_probe(TimePoint now, SwimEffects& out) {
  size_t missing = probe_->nacks_expected - std::min(probe_->nacks, probe_->nacks_expected);
  uint32_t worse = probe_->nacks_expected == 0 ? 1 : static_cast<uint32_t>(missing);
  health_ = std::min(health_ + worse, config_.local_health_max);
  NodeId target = probe_->target;
  probe_.reset();
  suspect(now, target, out);
}

void Swim::on_ack(TimePoint now, uint32_t sequence, SwimEffects& out) {
  if (probe_ && probe_->sequence == sequence) {
    auto at = members_.find(probe_->target);
    if (at != members_.end()) {
      Member& member = at->second;
      member.last_seen = now;
      if (!probe_->asked_others) {
        Duration sample = now - probe_->sent;
        member.rtt = member.rtt.count() == 0 ? sample : (member.rtt * 7 + sample) / 8;
      }
    }
    if (health_ > 0) --health_;
    probe_.reset();
    return;
  }
  auto relay = relays_.find(sequence);
  if (relay == relays_.end()) return;
  GossipMessage ack;
  ack.kind = GossipKind::kAck;
  ack.sequence = relay->second.origin_sequence;
  send(out, relay->second.reply_to, ack);
  relays_.erase(relay);
}

void Swim::on_ping_req(TimePoint now, const NodeId& sender, const Address& from,
                       const GossipMessage& message, SwimEffects& out) {
  if (relays_.size() >= kRelaysMax) return;
  Relay relay{sender,
              from,
              message.sequence,
              now + config_.probe_timeout * 4 / 5,
              now + config_.probe_interval * 4,
              false};
  uint32_t sequence = ++sequence_;
  relays_.emplace(sequence, relay);
  GossipMessage ping;
  ping.kind = GossipKind::kPing;
  ping.sequence = sequence;
  ping.target = message.target;
  send(out, message.address, ping, message.target);
}

void Swim::tick_relays(TimePoint now, SwimEffects& out) {
  for (auto at = relays_.begin(); at != relays_.end();) {
    Relay& relay = at->second;
    if (!relay.nacked && now >= relay.nack_at) {
      relay.nacked = true;
      GossipMessage nack;
      nack.kind = GossipKind::kNack;
      nack.sequence = relay.origin_sequence;
      send(out, relay.reply_to, nack);
    }
    at = now >= relay.ends_at ? relays_.erase(at) : std::next(at);
  }
}

SwimEffects Swim::receive(TimePoint now, const NodeId& sender, const Address& from,
                          std::string_view plain) {
  SwimEffects out;
  auto message = decode_gossip(plain);
  if (!message || sender == self_ || leaving_) return out;
  for (const MemberUpdate& update : message->updates)
    merge(now, update, update.id == sender ? &from : nullptr, out);
  auto known = members_.find(sender);
  if (known != members_.end()) {
    known->second.last_seen = now;
    if (from == known->second.claim.meta.gossip) moved_in(now, sender);
    // It is believed gone and is not: let it hear so, and refute.
    if (known->second.claim.state >= MemberState::kDead) send(out, from, {}, sender);
  }
  switch (message->kind) {
    case GossipKind::kGossip:
    case GossipKind::kPush: break;
    case GossipKind::kPing: {
      // An address may have gone to another node since.
      if (message->target != self_) break;
      GossipMessage ack;
      ack.kind = GossipKind::kAck;
      ack.sequence = message->sequence;
      send(out, from, ack, sender);
      break;
    }
    case GossipKind::kPingReq: on_ping_req(now, sender, from, *message, out); break;
    case GossipKind::kAck: on_ack(now, message->sequence, out); break;
    case GossipKind::kNack:
      if (probe_ && probe_->sequence == message->sequence) ++probe_->nacks;
      break;
    case GossipKind::kPushPull: send_state(out, from, GossipKind::kPush); break;
  }
  return out;
}

SwimEffects Swim::fallback_acked(TimePoint now, uint32_t sequence) {
  SwimEffects out;
  if (probe_ && probe_->sequence == sequence) on_ack(now, sequence, out);
  return out;
}

SwimEffects Swim::leave(TimePoint now) {
  SwimEffects out;
  Member& me = members_.at(self_);
  ++me.claim.incarnation;
  set_state(now, me, MemberState::kLeft, out);
  leaving_ = true;
  for (const NodeId& id : pick(kGossipMembersMax, self_)) {
    spread(me);
    send(out, members_.at(id).claim.meta.gossip, {}, self_);
  }
  return out;
}

}  // namespace covey
