// Proposals as their holder meets them. However often the transport delivers one, it is executed at
// most once: what runs or ran not long ago answers its copies, what is older is refused unseen.
//
// A proposal is named by its sender, the sender's boot epoch and a number that rises within that
// boot; it is addressed to one boot epoch of the holder, so that a copy that outlives a restart,
// and with it this memory, is refused too.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "base/async/event.h"
#include "store/register/messages.h"

namespace covey {

inline constexpr size_t kProposalAnswersMax = 256;  // finished ones remembered per sender
inline constexpr size_t kProposalSendersMax = 2 * kNodesMax;

class ProposalBook {
 public:
  struct Served {
    Event done;
    std::optional<Reply> reply;  // set once done
  };
  struct Met {
    std::shared_ptr<Served> served;  // nullptr: it came too late to know whether it ran
    bool first = false;              // the caller executes it, then calls finish()
  };
  Met meet(const NodeId& from, uint32_t boot, uint64_t number);
  // REQUIRES: meet() said `first`, once.
  void finish(const NodeId& from, uint32_t boot, uint64_t number, std::shared_ptr<Served> served,
              const Reply& reply);

 private:
  struct Sender {
    uint32_t boot = 0;
    uint64_t low = 0;  // nothing at or below it runs any more unless it is in `served`
    size_t running = 0;
    uint64_t last_use = 0;
    std::map<uint64_t, std::shared_ptr<Served>> served;
    std::deque<uint64_t> finished;  // in the order they did
  };
  void make_room();

  std::map<NodeId, Sender> senders_;
  uint64_t uses_ = 0;
};

}  // namespace covey
