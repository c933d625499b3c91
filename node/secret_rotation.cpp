#include "node/secret_rotation.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/core/codec.h"
#include "base/core/log.h"

namespace covey {
namespace {

using Phase = SecretRing::Phase;
constexpr Duration kIdlePause = std::chrono::milliseconds(500);
constexpr Duration kStepPause = std::chrono::milliseconds(200);
constexpr Duration kAwayPause = std::chrono::seconds(1);
constexpr Duration kAskTimeout = std::chrono::seconds(2);
constexpr Duration kResealTimeout = std::chrono::seconds(30);
constexpr Duration kResealTurn = std::chrono::seconds(2);  // the members take turns
constexpr size_t kIdBytesMax = 32;

enum class Verb : uint8_t { kState = 1, kStage = 2 };

bool same(const ClusterSecret& a, const ClusterSecret& b) { return a.bytes == b.bytes; }

bool same(const SecretRing& a, const SecretRing& b) {
  return a.phase == b.phase && a.forced == b.forced && same(a.use, b.use) &&
         (a.settled() || same(a.other, b.other));
}

std::string state_request() {
  std::string request;
  Writer(request).u8(static_cast<uint8_t>(Verb::kState));
  return request;
}

const char* phase_text(Phase phase) {
  switch (phase) {
    case Phase::kStaged: return "the next secret is here and accepted";
    case Phase::kActive: return "the new secret is in use";
    default: return "the old secret is no longer accepted";
  }
}

}  // namespace

SecretRotation::SecretRotation(Deps deps, SecretRing ring)
    : deps_(std::move(deps)), ring_(std::move(ring)) {
  deps_.peers.serve(PeerService::kSecrets, *this);
}

SecretRotation::Progress SecretRotation::progress() const {
  return {ring_.phase, ring_.forced, waits_, away_, hex_encode(secret_id(ring_.use))};
}

void SecretRotation::in_use_elsewhere(const std::string& raw) {
  if (ring_.phase == Phase::kStaged && raw == raw_secret(ring_.other)) next_in_use_ = true;
}

bool SecretRotation::is_member(const NodeId& node) const {
  auto layout = deps_.topology.layout();
  return layout && (layout->current.find(node) || (layout->next && layout->next->find(node)));
}

bool SecretRotation::skips(const Member& member) const {
  return ring_.forced && !deps_.topology.alive(member.id);
}

SecretRotation::State SecretRotation::own_state() const {
  State state{ring_.phase,    ring_.forced, secret_id(ring_.use), {}, deps_.users.to_reseal(),
              deps_.renewed()};
  if (!ring_.settled()) state.other = secret_id(ring_.other);
  return state;
}

std::string SecretRotation::stage_request() const {
  std::string request;
  Writer writer(request);
  writer.u8(static_cast<uint8_t>(Verb::kStage));
  writer.bytes(secret_id(ring_.use));
  writer.bytes(raw_secret(ring_.other));
  return request;
}

// On disk first, then everywhere it is used. Errors: kConflict (another change came before).
Task<Status> SecretRotation::change(SecretRing from, SecretRing to) {
  if (changing_ || !same(ring_, from))
    co_return fail(ErrorCode::kConflict, "the secrets of this node are just changing");
  changing_ = true;
  auto write = [path = deps_.secret_file, to] { return replace_secrets(path, to); };
  Status written = co_await deps_.runtime.cpu.run(std::move(write));
  changing_ = false;
  if (!written) co_return written;
  ring_ = to;
  next_in_use_ = false;
  waits_.clear(), away_ = false;  // were said of what was before
  reseal_at_.reset();
  Status used = deps_.use(ring_);
  if (!used) log_error("the cluster's secrets cannot be used: {}", to_string(used.error()));
  log_info("secret rotation: {}", phase_text(ring_.phase));
  co_return used;
}

Task<Status> SecretRotation::rotate(bool force) {
  auto layout = deps_.topology.layout();
  if (!layout || !is_member(deps_.peers.self()))
    co_return fail(ErrorCode::kUnavailable,
                   "this node is no member of a cluster yet: rotate on one that is");
  if (ring_.settled()) {
    if (layout->joint())
      co_return fail(ErrorCode::kUnavailable,
                     "the layout is changing: rotate the secret when that is done (covey status)");
    SecretRing staged = ring_.staged(ClusterSecret::random());
    CO_TRY_STATUS(co_await change(ring_, staged));
  }
  if (force && !ring_.settled() && !ring_.forced) {
    SecretRing forced = ring_;
    forced.forced = true;
    CO_TRY_STATUS(co_await change(ring_, forced));
  }
  co_return Status();
}

// Errors: kConflict, kStale: this node stays with what it has.
Task<Status> SecretRotation::take(std::string_view from_id, ClusterSecret next) {
  if (same(ring_.use, next) || (!ring_.settled() && same(ring_.other, next))) co_return Status();
  if (ring_.phase == Phase::kActive)
    co_return fail(ErrorCode::kConflict, "another rotation of the secret is not finished");
  if (from_id != secret_id(ring_.use))
    co_return fail(ErrorCode::kStale, "this node's secret is not the one that is to be replaced");
  if (!ring_.settled() && secret_id(ring_.other) < secret_id(next))
    co_return fail(ErrorCode::kConflict, "another rotation began at the same time and goes first");
  SecretRing staged = ring_.staged(next);
  co_return co_await change(ring_, staged);
}

Task<Result<PeerMessage>> SecretRotation::serve(NodeId from, PeerMessage request) {
  if (!is_member(from))
    co_return fail(ErrorCode::kDenied, "only members of the layout speak of secrets");
  Reader reader(request.head);
  auto verb = static_cast<Verb>(reader.u8());
  if (verb == Verb::kStage) {
    std::string from_id(reader.bytes());
    std::string_view raw = reader.bytes();
    ClusterSecret next;
    if (!reader.done() || raw.size() != next.bytes.size())
      co_return fail(ErrorCode::kInvalid, "a message about secrets does not decode");
    std::copy(raw.begin(), raw.end(), reinterpret_cast<char*>(next.bytes.data()));
    CO_TRY_STATUS(co_await take(from_id, next));
  } else if (verb != Verb::kState) {
    co_return fail(ErrorCode::kInvalid, "an unknown message about secrets: upgrade this node");
  }
  State state = own_state();
  PeerMessage reply;
  Writer writer(reply.head);
  writer.u8(static_cast<uint8_t>(state.phase));
  writer.u8(state.forced);
  writer.bytes(state.use);
  writer.bytes(state.other);
  writer.u64(state.to_reseal);
  writer.u8(state.renewed);
  co_return reply;
}

Task<void> SecretRotation::ask(Member& member, std::string request) const {
  PeerMessage message;
  message.head = std::move(request);
  auto answer = co_await deps_.peers.call(member.id, PeerService::kSecrets, std::move(message),
                                          deps_.runtime.clock.after(kAskTimeout));
  if (!answer) {
    member.error = answer.error().message;
    co_return;
  }
  Reader reader(answer->head);
  State state;
  uint8_t phase = reader.u8();
  state.forced = reader.u8() != 0;
  state.use = std::string(reader.bytes());
  state.other = std::string(reader.bytes());
  state.to_reseal = reader.u64();
  state.renewed = reader.u8() != 0;
  if (reader.done() && phase <= 2 &&
      std::max(state.use.size(), state.other.size()) <= kIdBytesMax) {
    state.phase = static_cast<Phase>(phase);
    member.state = std::move(state);
  } else {
    member.error = "its answer does not decode";
  }
}

// What each of the others says; not this node.
Task<std::vector<SecretRotation::Member>> SecretRotation::ask_members() const {
  std::vector<Member> members;
  auto layout = deps_.topology.layout();
  auto add = [&](const Layout& part) {
    for (const auto& member : part.members) {
      bool known = std::any_of(members.begin(), members.end(),
                               [&](const Member& m) { return m.id == member.id; });
      if (!known && member.id != deps_.peers.self())
        members.push_back({member.id, member.name, std::nullopt, {}});
    }
  };
  add(layout->current);
  if (layout->next) add(*layout->next);
  Scope scope;
  for (Member& member : members) scope.spawn(ask(member, state_request()));
  co_await scope.join();
  co_return members;
}

// Staged: everybody is to be staged, then this node goes on.
Task<void> SecretRotation::spread(std::vector<Member>& members) {
  SecretRing before = ring_;
  std::string use = secret_id(ring_.use), next = secret_id(ring_.other);
  bool ahead = next_in_use_;
  for (Member& member : members) {
    if (!member.state) continue;
    if (member.state->use == next) ahead = true;
    bool behind = member.state->use == use && member.state->other != next &&
                  (member.state->phase == Phase::kSettled || member.state->other > next);
    if (!behind) continue;
    member.state.reset();
    co_await ask(member, stage_request());
  }
  if (!same(ring_, before)) co_return;
  waits_.clear(), away_ = false;
  for (const Member& member : members) {
    if (skips(member)) continue;
    bool alive = deps_.topology.alive(member.id);
    if (!member.state) {
      waits_.push_back(member.name + (alive ? " (" + member.error + ")" : ""));
      away_ |= !alive;
    } else if (member.state->use != next && member.state->other != next) {
      waits_.push_back(member.name + " (it is in another rotation)");
    }
  }
  if (!ahead && !waits_.empty()) co_return;
  SecretRing active = before.activated();
  Status changed = co_await change(before, active);
  if (!changed) waits_.push_back("this node: " + changed.error().message);
}

// Active: everybody is to use the new secret, also for the connections that it has, and nothing to
// be sealed under the old one.
Task<void> SecretRotation::finish(std::vector<Member>& members) {
  SecretRing before = ring_;
  std::string use = secret_id(ring_.use);
  std::vector<std::string> waits;
  bool away = false;
  uint64_t sealed = deps_.users.to_reseal();
  int64_t turn = 0;
  for (const Member& member : members) {
    bool alive = deps_.topology.alive(member.id);
    turn += alive && member.id < deps_.peers.self();
    if (skips(member)) continue;
    if (member.state && member.state->use == use && member.state->renewed) {
      sealed += member.state->to_reseal;
      continue;
    }
    std::string why = member.state ? " (it changes over)" : alive ? " (" + member.error + ")" : "";
    waits.push_back(member.name + why);
    away |= !alive;
  }
  waits_ = std::move(waits), away_ = away;
  if (!waits_.empty() || !deps_.renewed()) co_return;
  if (sealed == 0) {
    SecretRing settled = before.settled_down();
    Status changed = co_await change(before, settled);
    if (!changed) waits_.push_back("this node: " + changed.error().message);
    co_return;
  }
  TimePoint now = deps_.runtime.clock.now();
  if (!reseal_at_) reseal_at_ = now + turn * kResealTurn;
  if (now < *reseal_at_ || deps_.users.to_reseal() == 0) co_return;
  Status resealed = co_await deps_.users.reseal(deps_.runtime.clock.after(kResealTimeout));
  if (!resealed) waits_.push_back("access keys to be sealed anew: " + resealed.error().message);
}

Task<void> SecretRotation::step() {
  std::vector<Member> members = co_await ask_members();
  if (ring_.settled()) co_return;
  std::string use = secret_id(ring_.use), other = secret_id(ring_.other);
  bool forced = std::any_of(members.begin(), members.end(), [&](const Member& m) {
    return m.state && m.state->forced && (m.state->use == use || m.state->use == other) &&
           (m.state->other == use || m.state->other == other);
  });
  if (forced && !ring_.forced) {
    SecretRing wanted = ring_;
    wanted.forced = true;
    (void)co_await change(ring_, wanted);
  }
  if (ring_.phase == Phase::kStaged) {
    co_await spread(members);
  } else if (ring_.phase == Phase::kActive) {
    co_await finish(members);
  }
}

Task<void> SecretRotation::run(Scope& scope) {
  bool go_on = true;
  while (go_on) {
    if (ring_.settled()) {
      waits_.clear(), away_ = false;
    } else if (deps_.topology.layout()) {
      co_await step();
    }
    Duration pause = ring_.settled() ? kIdlePause : away_ ? kAwayPause : kStepPause;
    go_on = co_await scope.sleep(deps_.runtime.clock, pause);
  }
}

}  // namespace covey
