// Swim: what is believed of the members, and how claims travel.
#include <algorithm>
#include <cmath>
#include <utility>

#include "gossip/swim/seal.h"
#include "gossip/swim/suspicion.h"
#include "gossip/swim/swim.h"

namespace covey {
namespace {

bool unspecified(const Address& address) {
  return address.host.empty() || address.host == "0.0.0.0" || address.host == "::";
}

// Where it comes from is where it is to be found, unless it says otherwise.
void fill_hosts(MemberMeta& meta, const std::string& host) {
  for (Address* address : {&meta.gossip, &meta.rpc, &meta.s3})
    if (unspecified(*address)) address->host = host;
}

}  // namespace

size_t Swim::live_count() const {
  return static_cast<size_t>(std::count_if(members_.begin(), members_.end(), [](const auto& m) {
    return m.second.claim.state <= MemberState::kSuspect;
  }));
}

void Swim::spread(Member& member) {
  double scale = std::ceil(std::log10(static_cast<double>(live_count()) + 1));
  member.sends_left = config_.retransmit_multiplier * static_cast<size_t>(std::max(1.0, scale));
}

void Swim::set_state(TimePoint now, Member& member, MemberState state, SwimEffects& out) {
  if (member.claim.state != state) {
    member.changed_at = now;
    out.changed = true;
  }
  member.claim.state = state;
  if (state != MemberState::kSuspect) member.accusers.clear(), member.claim.accuser = {};
}

// Somebody doubts this node, or remembers more of it than it does: outbid the claim.
void Swim::refute(const MemberUpdate& update, SwimEffects& out) {
  Member& me = members_.at(self_);
  bool doubted = update.state != MemberState::kAlive && !leaving_;
  if (update.incarnation < me.claim.incarnation) return;
  if (update.incarnation == me.claim.incarnation && !doubted) return;
  me.claim.incarnation = update.incarnation + 1;
  if (doubted && update.state == MemberState::kSuspect)
    health_ = std::min(health_ + 1, config_.local_health_max);
  spread(me);
  out.changed = true;
}

void Swim::merge(TimePoint now, const MemberUpdate& update, const Address* from, SwimEffects& out) {
  if (update.id == self_) return refute(update, out);
  auto at = members_.find(update.id);
  if (at == members_.end()) {
    if (members_.size() >= kGossipMembersMax) return;
    at = members_.emplace(update.id, Member{}).first;
    at->second.claim = update;
    at->second.changed_at = now;
    at->second.last_seen = now;
    if (update.state == MemberState::kSuspect) at->second.accusers.insert(update.accuser);
    if (from) fill_hosts(at->second.claim.meta, from->host);
    spread(at->second);
    out.changed = true;
    return;
  }
  Member& member = at->second;
  MemberUpdate& known = member.claim;
  bool newer = update.incarnation > known.incarnation;
  if (update.incarnation < known.incarnation) return;
  if (!newer && update.state == MemberState::kSuspect && known.state == MemberState::kSuspect) {
    // One more witness shortens the time to defend itself, and is worth passing on.
    if (member.accusers.size() < 16 && member.accusers.insert(update.accuser).second) {
      known.accuser = update.accuser;
      spread(member);
    }
    return;
  }
  if (!newer && update.state <= known.state) return;
  MemberMeta meta = update.meta;
  if (from) fill_hosts(meta, from->host);
  // A claim passed on by a third node may still lack the host that this node has seen.
  fill_hosts(meta, known.meta.gossip.host);
  if (meta != known.meta) out.changed = true;
  known.meta = std::move(meta);
  known.incarnation = update.incarnation;
  set_state(now, member, update.state, out);
  if (update.state == MemberState::kSuspect) {
    known.accuser = update.accuser;
    if (newer) member.accusers.clear(), member.changed_at = now;
    member.accusers.insert(update.accuser);
  }
  spread(member);
}

void Swim::suspect(TimePoint now, const NodeId& id, SwimEffects& out) {
  auto at = members_.find(id);
  if (at == members_.end() || at->second.claim.state > MemberState::kSuspect) return;
  Member& member = at->second;
  set_state(now, member, MemberState::kSuspect, out);
  if (member.accusers.insert(self_).second) {
    member.claim.accuser = self_;
    spread(member);
  }
}

// One that has its name speaks from its own address.
bool Swim::is_heir(const Member& heir, const Member& of) const {
  const MemberMeta& a = heir.claim.meta;
  const MemberMeta& b = of.claim.meta;
  return heir.claim.id != of.claim.id && a.name == b.name && a.gossip == b.gossip;
}

// An address has one holder at a time: the suspect does not listen there any more, and has not been
// heard from elsewhere since it was suspected (docs/adr/0007-replacement.md).
bool Swim::has_heir(const NodeId& id) const {
  const Member& suspect = members_.at(id);
  if (suspect.last_seen > suspect.changed_at) return false;
  return std::any_of(members_.begin(), members_.end(), [&](const auto& m) {
    return m.first != self_ && m.second.claim.state == MemberState::kAlive &&
           m.second.at_home > suspect.last_seen && is_heir(m.second, suspect);
  });
}

// Who had the address before is probed out of turn.
void Swim::moved_in(TimePoint now, const NodeId& id) {
  Member& member = members_.at(id);
  bool first = std::exchange(member.at_home, now) == TimePoint();
  if (!first) return;
  for (const auto& [other, of] : members_) {
    if (other == self_ || of.claim.state != MemberState::kAlive || !is_heir(member, of)) continue;
    round_.push_back(other);
    next_probe_ = std::min(next_probe_, now);
  }
}

// Suspects whose time to defend themselves is over are dead. One whose address another node of its
// name has taken gets one probe interval more, in which it could still be heard from.
void Swim::bury(TimePoint now, SwimEffects& out) {
  size_t live = live_count();
  for (auto& [id, member] : members_) {
    if (member.claim.state != MemberState::kSuspect) continue;
    size_t others = member.accusers.empty() ? 0 : member.accusers.size() - 1;
    Duration allowed = suspicion_timeout(config_, live, others);
    if (has_heir(id)) allowed = std::min(allowed, stretched(config_.probe_interval));
    if (now - member.changed_at < allowed) continue;
    set_state(now, member, MemberState::kDead, out);
    spread(member);
  }
}

std::vector<NodeId> Swim::pick(size_t count, const NodeId& except, bool dead_too) {
  std::vector<NodeId> ids;
  for (const auto& [id, member] : members_) {
    if (id == self_ || id == except) continue;
    bool live = member.claim.state <= MemberState::kSuspect;
    if (live != dead_too && member.claim.state != MemberState::kLeft) ids.push_back(id);
  }
  for (size_t i = 0; i < ids.size() && i < count; ++i)
    std::swap(ids[i], ids[i + rng_.below(ids.size() - i)]);
  if (ids.size() > count) ids.resize(count);
  return ids;
}

// The claims that travelled least, as many as fit; one about `first` (whom it is told to) leads,
// so that a suspect hears of it at once.
std::vector<std::string> Swim::piggyback(size_t room, const NodeId& first) {
  std::vector<Member*> due;
  for (auto& [id, member] : members_) {
    bool about_receiver = id == first && member.claim.state != MemberState::kAlive;
    if (member.sends_left > 0 || about_receiver) due.push_back(&member);
  }
  std::stable_sort(due.begin(), due.end(), [&](const Member* a, const Member* b) {
    bool a_first = a->claim.id == first, b_first = b->claim.id == first;
    return a_first != b_first ? a_first : a->sends_left > b->sends_left;
  });
  std::vector<std::string> updates;
  for (Member* member : due) {
    std::string bytes = encode_update(member->claim);
    if (bytes.size() > room || updates.size() == 255) continue;
    room -= bytes.size();
    updates.push_back(std::move(bytes));
    if (member->sends_left > 0) --member->sends_left;
  }
  return updates;
}

std::vector<MemberView> Swim::members() const {
  std::vector<MemberView> views;
  for (const auto& [id, m] : members_)
    views.push_back({id, m.claim.state, m.last_seen, m.rtt, m.claim.incarnation, m.claim.meta});
  return views;
}

void Swim::update_meta(MemberMeta meta) {
  Member& me = members_.at(self_);
  if (me.claim.meta == meta) return;
  me.claim.meta = std::move(meta);
  ++me.claim.incarnation;
  spread(me);
}

void Swim::forget(const NodeId& id) {
  auto at = members_.find(id);
  if (at != members_.end() && at->second.claim.state >= MemberState::kDead) members_.erase(at);
}

}  // namespace covey
