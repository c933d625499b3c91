// MemoryTarget: a FoldTarget for simulations. Its rows live in a MemoryRows that outlives it, as a
// disk outlives a process; each of its transactions is atomic.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/async/loop.h"
#include "store/meta/fold_target.h"

namespace covey {

struct MemoryRows {
  std::map<std::string, std::string, std::less<>> rows;
  std::optional<FoldPosition> position;
  // Rows whose checksum does not match any more, until they are written again. As in LMDB they also
  // make the absence of their neighbours doubtful (docs/adr/0001-absence.md).
  std::set<std::string, std::less<>> damaged;
  bool full = false;  // folds fail with kNoSpace
  bool roomy = true, room_for_repair = true;
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
  bool roomy() const override { return rows_.roomy; }
  bool room_for_repair() const override { return rows_.room_for_repair; }
  std::unique_ptr<FoldCursor> long_cursor() override;
  Task<void> aside(std::function<void()> work) override;

  // How long each transaction takes; nothing: a turn of the loop.
  std::function<Task<void>()> pace;

 private:
  Task<Status> next_transaction();

  Loop& loop_;
  MemoryRows& rows_;
  std::function<bool()> dead_;
};

}  // namespace covey
