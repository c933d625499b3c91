// Faults: makes happen what the knobs ask for, one thing after the other, and mends some of it.
#pragma once

#include "tests/sim/cluster/world.h"

namespace covey::sim {

class Faults {
 public:
  Faults(World& world, SimRng rng);
  // Until `scope` stops.
  Task<void> run(Scope& scope);

 private:
  void strike(Fault fault);
  void strike_disk(Fault fault, SimNode& node);
  void damage(Fault fault, SimNode& victim);
  void strike_link(Fault fault, SimNode& node, SimNode& other);
  void mend();
  Task<void> restart(SimNode& node, bool other_release);
  std::string any_segment(SimNode& node);
  void flip_bits(SimNode& node);
  void cut_file(SimNode& node);
  void rot(SimNode& node);

  World& world_;
  SimRng rng_;
  Scope restarts_;
};

}  // namespace covey::sim
