// Clients of a simulated cluster: each operation goes to one node, and what it saw to the history.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "tests/sim/register/history.h"
#include "tests/sim/register/node.h"
#include "tests/sim/register/number_table.h"

namespace covey {

class Clients {
 public:
  using Complain = std::function<void(const std::string&)>;
  // Everything outlives the clients. `fences`: requests carry a bucket's generation.
  Clients(SimLoop& loop, std::vector<std::unique_ptr<RegisterNode>>& nodes, History& history,
          bool fences, Complain complain)
      : loop_(loop),
        nodes_(nodes),
        history_(history),
        fences_(fences),
        complain_(std::move(complain)) {}

  // One client: some operations on random keys through random nodes.
  Task<void> client(SimRng rng);

  // True if the operation succeeded.
  Task<bool> write(std::shared_ptr<RegisterIncarnation> at, PartitionId p, int index, HistoryOp op,
                   SimRng* rng);
  Task<bool> read(std::shared_ptr<RegisterIncarnation> at, PartitionId p, int index, SimRng* rng);
  // Pages of `limit` from first to last.
  Task<bool> list(std::shared_ptr<RegisterIncarnation> at, PartitionId p, size_t limit, bool fold,
                  SimRng* rng);
  Task<bool> raise_fence(std::shared_ptr<RegisterIncarnation> at, PartitionId p);
  // From now on requests carry the newest generation only.
  void calm_down() { calm_ = true; }
  // A value that nobody else writes.
  int fresh_value() { return ++values_; }
  const std::string& last_error() const { return last_error_; }

 private:
  RegisterKey key_of(PartitionId p, int index) const;
  Fence fence_of(PartitionId p, SimRng* rng) const;
  Mutation mutation_of(const HistoryOp& op) const;
  // An operation under `fence` that began when `stands` was the fence known to stand.
  void check_fence(PartitionId p, const Fence& fence, uint64_t stood, bool refused);
  void saw_page(PartitionId p, const RangeQuery& query, const RangePage& page, int64_t called_ns);

  SimLoop& loop_;
  std::vector<std::unique_ptr<RegisterNode>>& nodes_;
  History& history_;
  bool fences_;
  bool calm_ = false;
  Complain complain_;
  int values_ = 0;
  std::string last_error_;
  std::map<std::pair<PartitionId, int>, int> last_seen_;
};

}  // namespace covey
