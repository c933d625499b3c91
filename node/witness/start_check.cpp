// Witness: what becomes of this node's own start.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/core/log.h"
#include "node/witness/witness.h"

namespace covey {
namespace {

std::set<NodeId> members_of(const LayoutState& state) {
  std::set<NodeId> members;
  for (const Member& member : state.current.members) members.insert(member.id);
  if (state.next)
    for (const Member& member : state.next->members) members.insert(member.id);
  return members;
}

}  // namespace

void Witness::start(const Topology& topology) {
  topology_ = &topology;
  began_ = runtime_.clock.now();
  if (fresh_) become(State::kCleared);
  scope_.spawn(run());
  scope_.spawn(marks_.run(scope_));
  scope_.spawn(tell_others());
}

void Witness::request_stop() {
  scope_.request_stop();
  marks_.wake();
  cleared_.set();
}

Task<void> Witness::stop() {
  request_stop();
  co_await scope_.join();
}

Task<bool> Witness::wait_cleared(TimePoint deadline) {
  if (!cleared()) (void)co_await cleared_.wait_until(runtime_.clock, deadline);
  co_return cleared();
}

// Asks every member until each has answered, and from time to time whether it still says the same.
Task<void> Witness::run() {
  while (!scope_.stop_requested()) {
    auto layout = topology_->layout();
    TimePoint now = runtime_.clock.now();
    if (layout) {
      std::set<NodeId> members = members_of(*layout);
      members.erase(self());
      std::erase_if(told_, [&](const auto& told) {
        return !told.second.asking && !members.contains(told.first);
      });
      for (const NodeId& member : members) {
        Told& told = told_[member];
        if (told.asking || now < told.next) continue;
        told.asking = true;
        scope_.spawn(ask(member));
      }
      look_at_answers();
    }
    (void)co_await scope_.sleep(runtime_.clock, kWitnessRetry);
  }
}

Task<void> Witness::ask(NodeId member) {
  WitnessRequest check;
  check.ask = WitnessAsk::kCheck;
  check.claim = claim_;
  PeerMessage request;
  request.head = encode(check);
  auto raw = co_await call(member, PeerService::kWitness, std::move(request),
                           runtime_.clock.after(kWitnessTimeout));
  Told& told = told_[member];
  told.asking = false;
  told.next = runtime_.clock.after(kWitnessRetry);
  if (!raw || scope_.stop_requested()) co_return;
  auto reply = decode_witness_reply(raw->head);
  if (!reply) {
    log_warn("node {}: {}", short_name(member), reply.error().message);
    co_return;
  }
  told.answered = true;
  told.cleared = reply->cleared;
  if (cleared()) told.next = runtime_.clock.after(kWitnessAgain);
  conclude(member, *reply);
}

void Witness::conclude(const NodeId& member, const WitnessReply& reply) {
  if (reply.verdict != Verdict::kFine && (state_ == State::kAsking || cleared())) {
    why_ = describe(reply.verdict, reply.mark, claim_);
    bool second = cleared() && reply.verdict == Verdict::kCopied;
    log_error("this node does not vote: {}; node {} says so", why_, short_name(member));
    become(second ? State::kSuperseded : State::kForgot);
    if (second) on_superseded(why_);
  }
  look_at_answers();
}

void Witness::give_up(const std::string& why) {
  if (state_ == State::kForgot || state_ == State::kSuperseded) return;
  why_ = why;
  damaged_ = true;
  log_error("this node does not vote any more: {}", why_);
  become(State::kForgot);
  look_at_answers();
}

// A majority of each live layout. This node counts where it is asked who may vote, but not where it
// is asked who could take over from it.
bool Witness::majority(bool of_cleared) const {
  auto layout = topology_->layout();
  auto enough = [&](const Layout& of) {
    std::vector<NodeId> all, yes;
    for (const Member& member : of.members) {
      all.push_back(member.id);
      auto told = told_.find(member.id);
      bool said = told != told_.end() && told->second.answered;
      if (of_cleared ? said && told->second.cleared : said || member.id == self())
        yes.push_back(member.id);
    }
    return is_majority(all, yes);
  };
  return enough(layout->current) && (!layout->next || of_cleared || enough(*layout->next));
}

bool Witness::everybody_spoke() const {
  auto layout = topology_->layout();
  Duration waited = runtime_.clock.now() - began_;
  for (const NodeId& member : members_of(*layout)) {
    auto told = told_.find(member);
    bool said = member == self() || (told != told_.end() && told->second.answered);
    if (said || waited >= kWitnessesWithinMax) continue;
    if (waited < kWitnessesWithin || topology_->alive(member)) return false;
  }
  return true;
}

void Witness::look_at_answers() {
  if (!topology_ || !topology_->layout()) return;
  if (state_ == State::kAsking && majority(false) && everybody_spoke()) {
    become(State::kCleared);
    for (auto& [member, told] : told_)
      if (told.answered) told.next = runtime_.clock.after(kWitnessAgain);
  }
  if (state_ != State::kForgot || told_forgot_ || !majority(true)) return;
  told_forgot_ = true;
  on_forgot(why_);
}

void Witness::become(State state) {
  state_ = state;
  if (cleared()) cleared_.set();
  on_change();
}

std::string Witness::waits() const {
  if (cleared() || !topology_ || !topology_->layout()) return {};
  if (state_ == State::kSuperseded)
    return "another process runs under this node's id, and the others accepted it: " + why_;
  size_t answered = 0;
  for (const auto& [member, told] : told_) answered += told.answered;
  if (state_ == State::kForgot) {
    if (topology_->layout()->current.members.size() < 3)
      return damaged_ ? why_ +
                            "; no majority of other nodes could refill it: stop this node and run "
                            "`covey meta rebuild --cluster --replace`"
                      : why_ +
                            "; of two nodes none can take the place of the other by itself: put "
                            "the disk's newest "
                            "state back, or see docs/operations.md";
    return why_ +
           "; it takes a new id as soon as a majority of the other nodes is there and has spoken";
  }
  return fmt::format(
      "it waits until a majority of the members says that its disk forgot nothing ({} of the {} "
      "others have answered)",
      answered, told_.size());
}

}  // namespace covey
