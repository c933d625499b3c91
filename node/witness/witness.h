// Witness: notices a node whose disk forgot what it had acknowledged, this one or another
// (docs/adr/0004-amnesia.md). It stands between the node's services and the network:
//
// - Every message carries this node's session and durable sequence. What others say is remembered
//   (marks.h) before the answer reaches the service that relies on it.
// - A message of a session that is not known yet waits until this node has judged that session
//   itself: a node that forgot gets no answer here, and its answers count for nothing.
// - At a start this node asks the members of its layout what they remember of it. Until a majority,
//   this node included, found nothing wrong, and every member that is there has spoken, it answers
//   nobody and votes on nothing. A member that comes back later is asked then.
//
// Loop thread only.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/async/runtime.h"
#include "gossip/ring/topology.h"
#include "node/witness/marks.h"
#include "proto/peers.h"

namespace covey {

// How long a start waits for members that are there but do not answer, once a majority has.
inline constexpr Duration kWitnessesWithin = std::chrono::seconds(2);
inline constexpr Duration kWitnessesWithinMax = std::chrono::seconds(10);
inline constexpr Duration kWitnessTimeout = std::chrono::seconds(1);
inline constexpr Duration kWitnessRetry = std::chrono::milliseconds(250);
inline constexpr Duration kWitnessAgain = std::chrono::seconds(5);  // who has answered already
inline constexpr Duration kHeardEvery = std::chrono::seconds(1);

class Witness final : public Peers {
 public:
  struct Start {
    uint64_t boot = 0;
    uint64_t recovered = 0;  // durable_sequence() before this start wrote anything
    bool fresh = false;      // the id was made at this start: it has promised nothing to anybody
  };
  // Everything handed in outlives it.
  Witness(Runtime runtime, Kv& kv, Peers& inner, Start start);
  // REQUIRES: stopped, or never started.
  ~Witness() override;

  // Reads what is remembered of others. Before the first message. Errors: kCorrupt, kIo.
  Status load() { return marks_.load(); }
  // Begins to ask. `topology` outlives its work.
  void start(const Topology& topology);
  void request_stop();
  Task<void> stop();

  // ---- what became of this start
  bool cleared() const { return state_ == State::kCleared; }
  // False if the deadline came first.
  Task<bool> wait_cleared(TimePoint deadline);
  // This node's own metadata was found damaged: from now on it answers nobody and votes on nothing,
  // and on_forgot is told when the others can take over.
  void give_up(const std::string& why);
  // Why this node does not vote, for people; empty: it does.
  std::string waits() const;
  // This node's disk forgot, and enough others are there to take over from it: told once, why. The
  // node is to stop then and to come back under a new id.
  std::function<void(const std::string& why)> on_forgot = [](const std::string&) {};
  // Another process runs under this node's id and was accepted: told once. This one is to stop.
  std::function<void(const std::string& why)> on_superseded = [](const std::string&) {};
  // cleared() has changed.
  std::function<void()> on_change = [] {};

  // ---- Peers
  NodeId self() const override { return inner_.self(); }
  Task<Result<PeerMessage>> call(NodeId to, PeerService service, PeerMessage request,
                                 TimePoint deadline) override;
  uint64_t connection(NodeId to) const override { return inner_.connection(to); }
  void tell(NodeId to, PeerService service, std::string head) override;
  void serve(PeerService service, PeerHandler& handler) override;

  const Marks& marks() const { return marks_; }

 private:
  enum class State { kAsking, kCleared, kForgot, kSuperseded };
  // Takes the seal off what comes for one service, and puts one on the answer.
  struct Door final : PeerHandler {
    Door(Witness& the_owner, PeerService the_service, PeerHandler* the_inner)
        : owner(the_owner), service(the_service), inner(the_inner) {}
    Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override;
    Witness& owner;
    PeerService service;
    PeerHandler* inner;  // null: the witness itself
  };
  struct Told {  // what a member said of this start
    bool answered = false, cleared = false, asking = false;
    TimePoint next;
  };
  struct Vet {
    Event done;
  };

  Seal seal() const { return {claim_.session, marks_.own_sequence()}; }
  Task<bool> trusted(NodeId node, Seal seal);
  Task<void> vet(NodeId node);
  Task<Result<PeerMessage>> answer(NodeId from, PeerMessage request);
  void hear(const WitnessRequest& request);
  Task<void> run();
  Task<void> ask(NodeId member);
  void conclude(const NodeId& member, const WitnessReply& reply);
  void look_at_answers();
  bool majority(bool of_cleared) const;
  bool everybody_spoke() const;
  void become(State state);
  Task<void> tell_others();

  Runtime runtime_;
  Peers& inner_;
  Marks marks_;
  Claim claim_;
  const bool fresh_;
  const Topology* topology_ = nullptr;
  State state_ = State::kAsking;
  std::string why_;  // kForgot, kSuperseded
  bool told_forgot_ = false;
  bool damaged_ = false;
  TimePoint began_;
  std::map<NodeId, Told> told_;
  std::map<NodeId, std::shared_ptr<Vet>> vets_;
  std::map<NodeId, uint64_t> refused_;  // sessions told in the log already
  std::array<std::unique_ptr<Door>, 16> doors_;
  Event cleared_;
  Scope scope_;
};

}  // namespace covey
