// LayoutRegister: which layout state follows which, decided once.
//
// States form a chain by epoch. The successor of the state of epoch e is chosen by one instance of
// single-decree Paxos among the members of that state's current layout: a majority of them, while
// it is joint too, so that members that only come can neither decide nor block anything. By
// induction every node that knows a state of epoch e knows the same one, so two operators (or two
// nodes) can never fork the layout. A node that decides a successor, or hears of one, adopts it
// durably before it answers under it.
//
// Loop thread only.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/async/event.h"
#include "base/async/runtime.h"
#include "node/cluster/layout_messages.h"
#include "proto/peers.h"

namespace covey {

inline constexpr Duration kLayoutCallTimeout = std::chrono::seconds(2);
inline constexpr int kLayoutAttemptsMax = 5;

class LayoutRegister final : public PeerHandler {
 public:
  LayoutRegister(Runtime runtime, Kv& kv, Peers& peers);

  // Reads what this node has adopted. Before anything else.
  Status load();
  // nullptr: none yet.
  std::shared_ptr<const LayoutState> state() const { return state_; }
  // XXH3 of the adopted state's bytes; 0: none.
  uint64_t digest() const { return digest_; }
  // Called in the same turn as, and just before, a new state becomes visible; it is durable by
  // then. Never empty the list.
  void on_adopt(std::function<void(const LayoutState&)> callback);
  // Called before a state is adopted under which this node becomes a replica of these partitions,
  // or is one again: they must start empty.
  using Enter = std::function<Task<Status>(std::vector<PartitionId>)>;
  void on_enter(Enter enter) { enter_ = std::move(enter); }
  // Whether this node may vote now; while not, it is as one that is away.
  void may_vote(std::function<bool()> may_vote) { may_vote_ = std::move(may_vote); }
  // Answers kReport (given the leader's view) and kSizes.
  using Reporter = std::function<Task<Result<std::string>>(LayoutAsk, std::string)>;
  void on_report(Reporter reporter) { reporter_ = std::move(reporter); }

  // The first state of a new cluster. REQUIRES: state() is null.
  Task<Status> bootstrap(LayoutState first);
  // Takes a state that was chosen. An older one is ignored. Errors: kDenied (of another cluster),
  // kNoSpace.
  Task<Status> adopt(LayoutState chosen);
  // Has `value` chosen as the successor of `base` and adopts what was chosen. Errors: kConflict
  // (another value was chosen; it is adopted), kStale (base is not the newest), kUnavailable.
  Task<Status> propose(LayoutState base, LayoutState value);

  // Asks a node for its state; an empty optional if it has none.
  Task<Result<std::optional<LayoutState>>> fetch(NodeId from);
  // Tells nodes the adopted state; waits for all of them or their time-outs.
  Task<void> push(std::vector<NodeId> to);
  // Makes each node adopt the current state, and asks whether it held any data then.
  struct Emptiness {
    std::vector<NodeId> empty;
    std::vector<NodeId> filled;
    std::vector<NodeId> silent;
  };
  Task<Emptiness> ask_empty(std::vector<NodeId> nodes);
  // kReport or kSizes: what each node that has adopted the current state answers.
  struct Told {
    NodeId from;
    std::string detail;
  };
  Task<std::vector<Told>> ask_details(std::vector<NodeId> nodes, LayoutAsk ask, std::string value);

  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override;

 private:
  struct Answered {
    NodeId from;
    Result<LayoutReply> reply;
  };
  using Answers = std::vector<Answered>;
  Task<Answers> ask_all(std::vector<NodeId> nodes, LayoutRequest request);
  Task<void> ask_one(Answers& into, NodeId node, std::string head);
  // One round of both phases; true: `value` was chosen.
  Task<Result<bool>> attempt(LayoutState base, std::string mine);

  // Under turn_.
  Task<Result<LayoutReply>> answer(LayoutRequest request);
  Task<Result<PartitionSet>> enter_and_leave(const LayoutState& chosen);
  Task<Result<LayoutReply>> vote(LayoutRequest request, uint32_t epoch);
  Task<Status> adopt_in_turn(LayoutState chosen);
  LayoutReply own_state() const;

  Runtime runtime_;
  Kv& kv_;
  Peers& peers_;
  std::shared_ptr<const LayoutState> state_;
  std::string bytes_;  // of state_
  uint64_t digest_ = 0;
  bool empty_at_adoption_ = false;
  uint64_t counter_ = 0;  // of the highest ballot seen
  Semaphore turn_{1};     // votes and adoptions go one after the other
  std::vector<std::function<void(const LayoutState&)>> on_adopt_;
  Enter enter_;
  std::function<bool()> may_vote_;
  Reporter reporter_;
};

}  // namespace covey
