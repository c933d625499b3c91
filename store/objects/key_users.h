// KeyUsers: users and access keys in the control table "keys". Secrets are sealed at rest with
// XChaCha20-Poly1305 under a key derived from the cluster secret; unsealed ones stay in memory
// only.
#pragma once

#include <array>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/async/rng.h"
#include "store/objects/users.h"
#include "store/table/control.h"

namespace covey {

class KeyUsers : public Users {
 public:
  // `tables` outlives it. The secrets as for use_secrets(). REQUIRES: sodium_init() was called.
  KeyUsers(ControlTables& tables, const std::vector<std::string>& cluster_secrets);

  std::optional<AccessKey> find(std::string_view access_key) const override;
  std::optional<std::string> display_name(std::string_view user_id) const override;
  std::vector<AccessKey> list() const override;
  Task<Status> confirm(TimePoint deadline) override { return tables_.confirm(deadline); }
  Task<Status> put(AccessKey key, TimePoint deadline) override;
  Task<Status> remove(std::string access_key, TimePoint deadline) override;

  // While the cluster's secret is rotated there are two: keys are sealed under the first and read
  // under either. REQUIRES: there is one, none is empty.
  void use_secrets(const std::vector<std::string>& cluster_secrets);
  // Keys that are not sealed under the secret in use.
  size_t to_reseal() const { return to_reseal_.size(); }
  // Seals them anew. A key that is deleted meanwhile stays deleted. Errors: as put.
  Task<Status> reseal(TimePoint deadline);

  // A fresh key pair for `display_name`, not stored yet.
  static AccessKey generate(std::string display_name, WallTime now);

 private:
  void reload(std::string_view access_key);
  using SealingKey = std::array<unsigned char, 32>;
  struct Unsealed {
    AccessKey key;
    bool under_other = false;
  };
  std::optional<Unsealed> unseal(std::string_view access_key, std::string_view row) const;
  std::string sealed_row(const AccessKey& key) const;

  ControlTables& tables_;
  std::vector<SealingKey> sealing_keys_;  // the one in use first
  std::unordered_map<std::string, AccessKey> keys_;
  std::set<std::string> to_reseal_;
};

}  // namespace covey
