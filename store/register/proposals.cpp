#include "store/register/proposals.h"

#include <algorithm>

namespace covey {

ProposalBook::Met ProposalBook::meet(const NodeId& from, uint32_t boot, uint64_t number) {
  if (!senders_.contains(from)) make_room();
  Sender& sender = senders_[from];
  sender.last_use = ++uses_;
  Met met;
  if (boot < sender.boot) return met;  // of an incarnation that is gone: nobody waits for it
  if (boot > sender.boot) {
    // What still runs for the old incarnation keeps its own reference.
    sender = Sender{};
    sender.boot = boot;
    sender.last_use = uses_;
  }
  auto known = sender.served.find(number);
  if (known != sender.served.end()) {
    met.served = known->second;
    return met;
  }
  if (number <= sender.low) return met;
  met.first = true;
  met.served = std::make_shared<Served>();
  sender.served.emplace(number, met.served);
  ++sender.running;
  return met;
}

void ProposalBook::finish(const NodeId& from, uint32_t boot, uint64_t number,
                          std::shared_ptr<Served> served, const Reply& reply) {
  served->reply = reply;
  served->done.set();
  auto at = senders_.find(from);
  if (at == senders_.end() || at->second.boot != boot) return;
  Sender& sender = at->second;
  --sender.running;
  sender.finished.push_back(number);
  while (sender.finished.size() > kProposalAnswersMax) {
    uint64_t oldest = sender.finished.front();
    sender.finished.pop_front();
    sender.low = std::max(sender.low, oldest);
    sender.served.erase(oldest);
  }
}

// Senders leave with their layout; the one that was quiet for longest makes room for a new one.
void ProposalBook::make_room() {
  if (senders_.size() < kProposalSendersMax) return;
  auto oldest = senders_.end();
  for (auto it = senders_.begin(); it != senders_.end(); ++it) {
    if (it->second.running > 0) continue;
    if (oldest == senders_.end() || it->second.last_use < oldest->second.last_use) oldest = it;
  }
  if (oldest != senders_.end()) senders_.erase(oldest);
}

}  // namespace covey
