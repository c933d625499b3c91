// Swim: membership by SWIM (Das, Gupta, Motivala, DSN'02) with Lifeguard (Dadgar, Phillips, Currey,
// arXiv 1707.00788): local health, dynamic suspicion, nacks, telling a suspect first.
//
// A pure core: messages and ticks in, effects out. Randomness comes from the Rng handed in, time
// from the caller. Dead members stay visible until forget(): only an operator removes a node.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/async/rng.h"
#include "gossip/swim/config.h"
#include "gossip/swim/member.h"
#include "gossip/swim/message.h"

namespace covey {

struct SwimEffects {
  struct Datagram {
    Address to;
    std::string plain;  // to be sealed; <= kGossipDatagramBytesMax - kSealOverheadBytes
  };
  struct Fallback {  // UDP stays silent: try this node another way, then call fallback_acked()
    NodeId node;
    uint32_t sequence;
  };
  std::vector<Datagram> send;
  std::vector<Fallback> fallback;
  bool changed = false;  // members() shows something new in state, metadata or membership
};

struct SwimOptions {
  SwimConfig config;
  NodeId self;
  MemberMeta meta;
  uint64_t incarnation = 0;  // above those of earlier starts, e.g. the boot number << 20
  std::vector<Address> seeds;
};

class Swim {
 public:
  Swim(SwimOptions options, Rng& rng);

  // Call about every kTick.
  static constexpr Duration kTick = std::chrono::milliseconds(100);
  SwimEffects tick(TimePoint now);
  // A message that opened under the cluster's key. Malformed ones are ignored.
  SwimEffects receive(TimePoint now, const NodeId& sender, const Address& from,
                      std::string_view plain);
  SwimEffects fallback_acked(TimePoint now, uint32_t sequence);
  // Tells everybody that this node goes on purpose.
  SwimEffects leave(TimePoint now);
  // What this node says of itself from now on.
  void update_meta(MemberMeta meta);
  // At most kGossipSeedsMax of them count.
  void set_seeds(std::vector<Address> seeds);
  // Drops a dead or departed member for good.
  void forget(const NodeId& id);

  // All known nodes, self included, by id.
  std::vector<MemberView> members() const;
  uint32_t local_health() const { return health_; }

 private:
  struct Member {
    MemberUpdate claim;
    TimePoint last_seen;
    TimePoint at_home;  // when a datagram last came from it and from the address it claims
    TimePoint changed_at;
    Duration rtt{0};
    std::set<NodeId> accusers;
    size_t sends_left = 0;  // how often the claim is still to be passed on
  };
  struct Probe {
    NodeId target;
    uint32_t sequence = 0;
    TimePoint sent, ask_others_at, ends_at;
    bool asked_others = false;
    size_t nacks_expected = 0, nacks = 0;
  };
  struct Relay {  // a probe for somebody else
    NodeId origin;
    Address reply_to;
    uint32_t origin_sequence = 0;
    TimePoint nack_at, ends_at;
    bool nacked = false;
  };

  // swim_members.cpp: what is believed, and whom it is told.
  void merge(TimePoint now, const MemberUpdate& update, const Address* from, SwimEffects& out);
  void refute(const MemberUpdate& update, SwimEffects& out);
  void suspect(TimePoint now, const NodeId& id, SwimEffects& out);
  void bury(TimePoint now, SwimEffects& out);
  bool is_heir(const Member& heir, const Member& of) const;
  bool has_heir(const NodeId& id) const;
  void moved_in(TimePoint now, const NodeId& id);
  void set_state(TimePoint now, Member& member, MemberState state, SwimEffects& out);
  void spread(Member& member);
  size_t live_count() const;
  std::vector<NodeId> pick(size_t count, const NodeId& except, bool dead_too = false);
  std::vector<std::string> piggyback(size_t room, const NodeId& first);

  // swim.cpp: who is asked when.
  void send(SwimEffects& out, const Address& to, GossipMessage head, const NodeId& about = {});
  void send_state(SwimEffects& out, const Address& to, GossipKind kind);
  void start_probe(TimePoint now, SwimEffects& out);
  void ask_others(SwimEffects& out);
  void end_probe(TimePoint now, SwimEffects& out);
  void on_ack(TimePoint now, uint32_t sequence, SwimEffects& out);
  void on_ping_req(TimePoint now, const NodeId& sender, const Address& from,
                   const GossipMessage& message, SwimEffects& out);
  void tick_relays(TimePoint now, SwimEffects& out);
  void rejoin(TimePoint now, SwimEffects& out);
  Duration stretched(Duration d) const { return d * (1 + health_); }

  SwimConfig config_;
  NodeId self_;
  std::vector<Address> seeds_;
  Rng& rng_;
  std::map<NodeId, Member> members_;  // self too
  std::vector<NodeId> round_;         // still to be probed in this round, from the back
  std::optional<Probe> probe_;
  std::map<uint32_t, Relay> relays_;  // by our sequence
  uint32_t sequence_ = 0;
  uint32_t health_ = 0;  // Lifeguard's local health multiplier
  bool leaving_ = false;
  TimePoint next_probe_, next_gossip_, next_push_pull_, next_rejoin_;
};

}  // namespace covey
