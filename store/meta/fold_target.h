// FoldTarget: where the in-memory table is folded into. Lmdb is the real one; MemoryTarget serves
// simulations.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/async/task.h"
#include "base/core/result.h"
#include "store/meta/mem_table.h"

namespace covey {

// Everything up to `sequence` is folded in; what follows stands in journal files of this or a later
// generation.
struct FoldPosition {
  uint64_t sequence = 0;
  uint64_t generation = 0;
};

// Rows in order, each verified. Lives on the loop thread, never across a co_await.
class FoldCursor {
 public:
  virtual ~FoldCursor() = default;
  virtual void seek(std::string_view key) = 0;  // to the first row >= key
  virtual void next() = 0;                      // REQUIRES: valid()
  virtual bool valid() const = 0;               // false at the end or after an error
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  virtual Status status() const = 0;
};

// A check of everything in the target, a piece at a time. As a long cursor: made and destroyed on
// the loop, used within aside() only.
class FoldCheck {
 public:
  virtual ~FoldCheck() = default;
  // Reads about so many bytes more. True: all was read, nothing is wrong. Errors: kCorrupt, kIo.
  virtual Result<bool> step(uint64_t bytes) = 0;
};

class FoldTarget {
 public:
  virtual ~FoldTarget() = default;

  // What the last fold stored; nullopt in a new target.
  virtual Result<std::optional<FoldPosition>> position() = 0;
  // nullopt: absent, as far as can be checked (docs/adr/0001-absence.md). Errors: kCorrupt, kIo.
  virtual Result<std::optional<std::string>> get(std::string_view key) = 0;
  virtual std::unique_ptr<FoldCursor> cursor() = 0;
  // Durable once complete. Rows may arrive in several transactions; the position is in the last
  // one, so after a crash in between the journal is replayed over them. Errors: kNoSpace (a part
  // may be there, the position is not: try again later), kIo (stop).
  virtual Task<Status> fold(std::shared_ptr<const MemTable> rows, FoldPosition position) = 0;
  // False when the disk has little room: only what frees space should be written then.
  virtual bool roomy() const { return true; }
  // There is still some for rows that others have acknowledged.
  virtual bool room_for_repair() const { return true; }
  // Looks again whether there is room.
  virtual Task<void> make_room() { co_return; }
  // A cursor that may live long: what it shows is the moment of its making, whatever is folded
  // meanwhile. Made and destroyed on the loop, used within aside() only. REQUIRES: no fold is under
  // way, and there is no other.
  virtual std::unique_ptr<FoldCursor> long_cursor() = 0;
  // Counts as a long cursor. Null: this target cannot be damaged. Errors: kCorrupt, kIo,
  // kOverloaded (try again).
  virtual Result<std::unique_ptr<FoldCheck>> check() { return std::unique_ptr<FoldCheck>(); }
  // A look-up or a cursor (not a long one) met damage. On the loop thread, in the midst of it.
  std::function<void(const Error&)> on_damage = [](const Error&) {};
  // Runs `work` where it may block.
  virtual Task<void> aside(std::function<void()> work) = 0;
  // The long cursor must be destroyed soon: a fold waits for it.
  virtual bool wants_cursors_back() const { return false; }
};

}  // namespace covey
