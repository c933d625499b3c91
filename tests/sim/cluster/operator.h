// Operator: changes the layout of a cluster in use, as its knobs ask for, and sees to it that what
// was begun comes to its end.
#pragma once

#include "tests/sim/cluster/world.h"

namespace covey::sim {

class Operator {
 public:
  Operator(World& world, SimRng rng);
  // The drawn changes, one after the other, until `scope` stops.
  Task<void> run(Scope& scope);
  // Asks again and again for what is wanted and not so yet, until `scope` stops.
  Task<void> keep(Scope& scope);
  // All was begun, and every node in service serves under one layout of exactly the members that
  // are wanted, and nobody holds on to anything else.
  bool conforms() const;
  // What keeps it from that, for people.
  std::string why_not() const;

 private:
  void begin(Change change);
  void join();
  void drain();
  void bring_back();
  bool may_lose() const;
  void lose(bool replace);
  void revise(Change change);
  std::shared_ptr<const LayoutState> newest() const;
  SimNode* any(bool wanted);
  size_t wanted() const;
  Task<void> ask(Cluster::Wish wish);
  Task<void> take_back();
  void see_to_machines(const LayoutState& state);

  World& world_;
  SimRng rng_;
  bool lost_ = false;     // once in a run: others have all copies then
  bool to_lose_ = false;  // some time in this run
  bool to_revert_ = false;
  bool to_replace_ = false;  // as soon as it may be lost
  bool begun_ = false;
  Scope restarts_;
};

}  // namespace covey::sim
