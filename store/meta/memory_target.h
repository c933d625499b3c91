// MemoryTarget: a FoldTarget for simulations. Its rows live in a MemoryRows that outlives it, as a
// disk outlives a process; each of its transactions is atomic.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/async/loop.h"
#include "store/meta/fold_target.h"

namespace covey {

struct MemoryRows {
  std::map<std::string, std::string, std::less<>> rows;
  std::optional<FoldPosition> position;
  bool full = false;  // folds fail with kNoSpace
};

class MemoryTarget : public FoldTarget {
 public:
  // `dead`: asked before each transaction; true once the machine has lost power.
  MemoryTarget(Loop& loop, MemoryRows& rows, std::function<bool()> dead = {})
      : loop_(loop), rows_(rows), dead_(std::move(dead)) {}

  Result<std::optional<FoldPosition>> position() override { return rows_.position; }
  Result<std::optional<std::string>> get(std::string_view key) override;
  std::unique_ptr<FoldCursor> cursor() override;
  Task<Status> fold(std::shared_ptr<const MemTable> rows, FoldPosition position) override;
  Task<Status> snapshot(std::string path) override;

 private:
  Loop& loop_;
  MemoryRows& rows_;
  std::function<bool()> dead_;
};

}  // namespace covey
