// Witness: what passes through, and what other nodes say of themselves.
#include "node/witness/witness.h"

#include <algorithm>

#include "base/core/log.h"

namespace covey {
namespace {

// Status and pings tell nothing that anybody relies on.
bool relied_upon(PeerService service) {
  return service != PeerService::kWitness && service != PeerService::kAdmin;
}

// A node that may have forgotten answers no one; layouts are passed on all the same (its vote on
// the next one is LayoutRegister's to refuse).
bool needs_clearance(PeerService service) {
  return relied_upon(service) && service != PeerService::kLayout;
}

}  // namespace

Witness::Witness(Runtime runtime, Kv& kv, Peers& inner, Start start)
    : runtime_(runtime), inner_(inner), marks_(runtime, kv), fresh_(start.fresh) {
  claim_.boot = start.boot;
  claim_.recovered = start.recovered;
  while (claim_.session == 0) claim_.session = runtime_.rng.next();
  auto& own = doors_[static_cast<size_t>(PeerService::kWitness)];
  own = std::make_unique<Door>(*this, PeerService::kWitness, nullptr);
  inner_.serve(PeerService::kWitness, *own);
}

Witness::~Witness() { CHECK(scope_.running() == 0); }

void Witness::serve(PeerService service, PeerHandler& handler) {
  auto& door = doors_.at(static_cast<size_t>(service));
  door = std::make_unique<Door>(*this, service, &handler);
  inner_.serve(service, *door);
}

Task<Result<PeerMessage>> Witness::call(NodeId to, PeerService service, PeerMessage request,
                                        TimePoint deadline) {
  if (to == self()) co_return co_await inner_.call(to, service, std::move(request), deadline);
  put_seal(request.head, seal());
  auto answer = co_await inner_.call(to, service, std::move(request), deadline);
  if (!answer) co_return answer;
  auto seal = take_seal(answer->head);
  if (!seal) co_return fail(ErrorCode::kInvalid, "node " + short_name(to) + " answers unsealed");
  bool trust = !relied_upon(service) || marks_.heard(to, *seal);
  if (!trust) trust = co_await trusted(to, *seal);
  // It may have acted, but on what it should not: the answer counts for nothing.
  if (!trust)
    co_return fail(ErrorCode::kTimeout,
                   "node " + short_name(to) + " has not shown that its disk forgot nothing");
  co_return answer;
}

void Witness::tell(NodeId to, PeerService service, std::string head) {
  if (to != self()) put_seal(head, seal());
  inner_.tell(to, service, std::move(head));
}

Task<Result<PeerMessage>> Witness::Door::serve(NodeId from, PeerMessage request) {
  const bool remote = from != owner.self();
  if (remote) {
    auto seal = take_seal(request.head);
    if (!seal) co_return fail(ErrorCode::kInvalid, "a message without a seal");
    if (needs_clearance(service) && !owner.cleared())
      co_return fail(ErrorCode::kUnavailable, "this node does not vote yet: " + owner.waits());
    bool trust = !relied_upon(service) || owner.marks_.heard(from, *seal);
    if (!trust) trust = co_await owner.trusted(from, *seal);
    if (!trust)
      co_return fail(ErrorCode::kUnavailable,
                     "node " + short_name(from) + " has not shown that its disk forgot nothing");
  }
  Result<PeerMessage> answer = fail(ErrorCode::kUnavailable, "not served");
  if (inner)
    answer = co_await inner->serve(from, std::move(request));
  else
    answer = co_await owner.answer(from, std::move(request));
  if (answer && remote) put_seal(answer->head, owner.seal());
  co_return answer;
}

// A session that is not the one remembered is judged first, by what the node says of its start.
Task<bool> Witness::trusted(NodeId node, Seal seal) {
  if (scope_.stop_requested()) co_return false;
  auto under_way = vets_.find(node);
  std::shared_ptr<Vet> mine =
      under_way == vets_.end() ? std::make_shared<Vet>() : under_way->second;
  if (under_way == vets_.end()) {
    vets_[node] = mine;
    scope_.spawn(vet(node));
  }
  co_await mine->done.wait();
  co_return marks_.heard(node, seal);
}

Task<void> Witness::vet(NodeId node) {
  WitnessRequest who;
  PeerMessage request;
  request.head = encode(who);
  auto raw = co_await call(node, PeerService::kWitness, std::move(request),
                           runtime_.clock.after(kWitnessTimeout));
  if (raw) {
    auto claim = decode_claim(raw->head);
    if (claim) {
      const Mark mark = marks_.of(node);
      auto verdict = co_await marks_.admit(node, *claim);
      if (!verdict) {
        log_warn("node {} is not heard: {}", short_name(node), to_string(verdict.error()));
      } else if (*verdict != Verdict::kFine &&
                 std::exchange(refused_[node], claim->session) != claim->session) {
        log_warn("node {} is not listened to: {}", short_name(node),
                 describe(*verdict, mark, *claim));
      }
    }
  }
  auto it = vets_.find(node);
  std::shared_ptr<Vet> ended = std::move(it->second);
  vets_.erase(it);
  ended->done.set();
}

// ---- PeerService::kWitness

Task<Result<PeerMessage>> Witness::answer(NodeId from, PeerMessage request) {
  CO_TRY(WitnessRequest asked, decode_witness_request(request.head));
  PeerMessage message;
  if (asked.ask == WitnessAsk::kWho) message.head = encode(claim_);
  if (asked.ask == WitnessAsk::kHeard) hear(asked);
  if (asked.ask == WitnessAsk::kCheck) {
    WitnessReply reply;
    reply.mark = marks_.of(from);
    CO_TRY(reply.verdict, co_await marks_.admit(from, asked.claim));
    reply.cleared = cleared();
    if (reply.verdict != Verdict::kFine &&
        std::exchange(refused_[from], asked.claim.session) != asked.claim.session)
      log_warn("node {} started, but {}; it gets a new id", short_name(from),
               describe(reply.verdict, reply.mark, asked.claim));
    message.head = encode(reply);
  }
  co_return message;
}

// Somebody else relied on these nodes: this one remembers it as well, in case that one is away when
// it is asked for.
void Witness::hear(const WitnessRequest& request) {
  for (const WitnessRequest::Heard& one : request.heard) {
    if (one.node == self() || marks_.heard(one.node, {one.session, one.sequence})) continue;
    // An unknown session: judged by this node itself; then the next such hint counts.
    bool known = marks_.of(one.node) != Mark();
    if (!known || scope_.stop_requested() || vets_.contains(one.node)) continue;
    if (!topology_ || !topology_->alive(one.node)) continue;
    vets_[one.node] = std::make_shared<Vet>();
    scope_.spawn(vet(one.node));
  }
}

Task<void> Witness::tell_others() {
  uint64_t told = 0;
  for (int turn = 0;; ++turn) {
    bool go_on = co_await scope_.sleep(runtime_.clock, kHeardEvery);
    if (!go_on) co_return;
    auto layout = topology_->layout();
    // Much to tell is told less often.
    const int every = 1 + static_cast<int>(marks_.all().size() / 16);
    if (!layout || !cleared() || turn % every != 0 || told == marks_.changes()) continue;
    told = marks_.changes();
    WitnessRequest hint;
    hint.ask = WitnessAsk::kHeard;
    for (const Member& member : layout->current.members) {
      const Mark mark = marks_.of(member.id);
      if (mark == Mark() || hint.heard.size() >= kHeardMax) continue;
      hint.heard.push_back({member.id, mark.session, mark.sequence});
    }
    const std::string head = encode(hint);
    for (const Member& member : layout->current.members)
      if (member.id != self()) tell(member.id, PeerService::kWitness, head);
  }
}

}  // namespace covey
