// One run: registers on simulated nodes that crash, lose messages, are cut off from each other and
// change their layout, with clients on every node. Each key's history must be linearizable, and
// once the faults end every key must be readable, writable and listable through every node.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/sim/register/clients.h"
#include "tests/sim/register/history.h"
#include "tests/sim/register/node.h"
#include "tests/sim/register/number_table.h"

namespace covey {

class RegisterCluster {
 public:
  struct Options {
    uint64_t seed = 1;
    bool trace = false;     // prints faults, and the history of a key that is not linearizable
    bool rollback = false;  // no layout changes, but a disk that goes back to an old backup
    bool quiet = false;     // says nothing of violations: a seeded bug is looked for
  };
  explicit RegisterCluster(Options options);

  // False: something was violated.
  bool run();
  const History& history() const { return history_; }

 private:
  void complain(const std::string& what);
  void print(const std::vector<HistoryOp>& ops);
  void note(const std::string& what);
  bool heal_and_check();
  // Stops the nodes and looks at every key's history. False: something was violated, now or before.
  bool end_and_judge();
  Task<bool> last_words(std::shared_ptr<RegisterIncarnation> at);

  // ---- faults.cpp
  Task<void> break_things(SimRng rng);
  void one_fault(SimRng& rng);

  // ---- rollback.cpp
  bool run_rollback();
  Task<void> go_back(SimRng rng);
  Task<void> disturb(SimRng& rng, size_t rounds);

  // ---- layout_change.cpp
  std::shared_ptr<LayoutState> first_layout(size_t nodes);
  std::vector<std::vector<uint16_t>> draw_assignment(SimRng& rng, size_t nodes, size_t copies);
  Task<void> change_layouts(SimRng rng);
  Task<void> change_layout(SimRng& rng);
  // Until every node that is up has adopted it, and every partition's sets have on a quorum.
  Task<void> spread(std::shared_ptr<const LayoutState> layout, SimRng& rng);
  Task<void> adopt_later(RegisterNode& node, std::shared_ptr<const LayoutState> layout,
                         Duration after);
  bool adopted(const LayoutState& layout) const;
  // Step (b) of register.md: while joint, every key is written again where a quorum of both sets
  // does not hold it.
  Task<void> settle_all(SimRng& rng);
  Task<bool> settle(PartitionId p, int index, SimRng& rng);
  RegisterNode* some_node(SimRng& rng);

  // ---- anti_entropy.cpp
  Task<void> keep_in_step(SimRng rng);
  Task<void> one_step(std::shared_ptr<RegisterIncarnation> at, PartitionId p, bool collect,
                      Duration within);
  Task<void> settle_by_comparing(SimRng& rng);
  bool converge();
  bool replicas_agree(PartitionId p);

  Options options_;
  bool good_ = true;
  SimLoop loop_;
  SimRng rng_;
  SimNetwork net_;
  NumberTable table_;
  std::vector<std::unique_ptr<RegisterNode>> nodes_;
  std::shared_ptr<const LayoutState> layout_;  // the newest
  History history_;
  std::unique_ptr<Clients> clients_;
  Scope adopting_;
  bool in_step_runs_ = false;  // replicas compare their rows in this run
  Scope in_step_;
};

}  // namespace covey
