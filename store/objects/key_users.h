// KeyUsers: users and access keys in the control table "keys". Secrets are sealed at rest with
// XChaCha20-Poly1305 under a key derived from the cluster secret; unsealed ones stay in memory
// only.
#pragma once

#include <array>
#include <string>
#include <unordered_map>

#include "base/async/rng.h"
#include "store/objects/users.h"
#include "store/table/control.h"

namespace covey {

class KeyUsers : public Users {
 public:
  // `tables` outlives it. REQUIRES: sodium_init() was called, cluster_secret is not empty.
  KeyUsers(ControlTables& tables, std::string_view cluster_secret);

  std::optional<AccessKey> find(std::string_view access_key) const override;
  std::optional<std::string> display_name(std::string_view user_id) const override;
  std::vector<AccessKey> list() const override;
  Task<Status> confirm(TimePoint deadline) override { return tables_.confirm(deadline); }
  Task<Status> put(AccessKey key, TimePoint deadline) override;
  Task<Status> remove(std::string access_key, TimePoint deadline) override;

  // A fresh key pair for `display_name`, not stored yet.
  static AccessKey generate(std::string display_name, WallTime now);

 private:
  void reload(std::string_view access_key);
  std::optional<AccessKey> unseal(std::string_view access_key, std::string_view row) const;

  ControlTables& tables_;
  std::array<unsigned char, 32> sealing_key_;
  std::unordered_map<std::string, AccessKey> keys_;
};

}  // namespace covey
