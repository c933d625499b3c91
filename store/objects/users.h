// Users and access keys: a control table on every node. Secrets are sealed under a key derived from
// the cluster secret.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/async/clock.h"
#include "base/async/task.h"
#include "base/core/result.h"

namespace covey {

struct AccessKey {
  std::string access_key;    // "CV" + 18 characters, or imported
  std::string secret_key;    // plain, in memory only
  std::string user_id;       // Owner.ID: 64 hex digits unless given at creation
  std::string display_name;  // Owner.DisplayName
  bool create_buckets = true;
  WallTime created;
};

class Users {
 public:
  virtual ~Users() = default;
  virtual std::optional<AccessKey> find(std::string_view access_key) const = 0;
  virtual std::optional<std::string> display_name(std::string_view user_id) const = 0;
  virtual std::vector<AccessKey> list() const = 0;
  // Afterwards what is not found was not there when this was called. Before anybody is refused
  // because a key is unknown or another. Errors: kUnavailable (the other nodes do not answer).
  virtual Task<Status> confirm(TimePoint deadline) = 0;
  // kAlreadyExists when the access key is taken, kInvalid for a malformed one.
  virtual Task<Status> put(AccessKey key, TimePoint deadline) = 0;
  virtual Task<Status> remove(std::string access_key, TimePoint deadline) = 0;  // kNotFound
};

}  // namespace covey
