// Control tables: small maps that live on every node (users, keys). A row is a last-writer-wins
// register stamped with a hybrid logical clock; merge takes the higher stamp and is a join, so
// nodes converge by exchanging rows in any order.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/async/clock.h"
#include "base/async/task.h"
#include "base/core/result.h"

namespace covey {

class ControlTables {
 public:
  virtual ~ControlTables() = default;
  // From memory, what this node knows now.
  virtual std::optional<std::string> get(std::string_view table, std::string_view key) const = 0;
  virtual std::vector<std::pair<std::string, std::string>> list(std::string_view table) const = 0;
  // Durable on a majority of the members when it completes, pushed to all that are reachable; the
  // rest learn of it when they return. Errors: kUnavailable (it is stored here and will spread),
  // kNoSpace, kTooLarge (kRowBytesMax).
  virtual Task<Status> put(std::string table, std::string key, std::string value,
                           TimePoint deadline) = 0;
  virtual Task<Status> remove(std::string table, std::string key, TimePoint deadline) = 0;
  // What get() does not show after it was not acknowledged before the call, and what it shows was
  // not removed: this node holds what a majority of the members holds. Before a row's absence is an
  // answer to anybody. Errors: kUnavailable (no majority of the members answers).
  virtual Task<Status> confirm(TimePoint deadline) = 0;
  // The same content in other bytes: it takes the place of the row that is here now and loses
  // against every write that this node has not heard of. Errors: as put; kNotFound.
  virtual Task<Status> rewrite(std::string table, std::string key, std::string value,
                               TimePoint deadline) = 0;
  // Called after a row of `table` changed here, by whomever.
  virtual void on_change(std::string table, std::function<void(std::string_view key)> watcher) = 0;
};

}  // namespace covey
