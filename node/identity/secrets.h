// The secrets a node holds. Normally one; while the cluster's secret is rotated two, so that nodes
// that are ahead and nodes that are behind understand each other all the time:
//
//   settled {A}  ->  staged {uses A, accepts B}  ->  active {uses B, accepts A}  ->  settled {B}
//
// "Uses": signs its certificate, seals gossip and access keys with it. node/secret_rotation.h says
// when a node goes on from one phase to the next.
//
// On disk (secret_file, mode 0600): the secret in use on the first line as 64 hexadecimal digits.
// During a rotation a second line, "next HEX" (staged) or "previous HEX" (active), and a third,
// "forced", when an operator said not to wait for nodes that are away.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "node/identity/identity.h"

namespace covey {

struct SecretRing {
  enum class Phase : uint8_t { kSettled = 0, kStaged = 1, kActive = 2 };

  SecretRing() = default;
  SecretRing(const ClusterSecret& secret) : use(secret) {}  // NOLINT: one secret is a ring

  Phase phase = Phase::kSettled;
  bool forced = false;
  ClusterSecret use;
  ClusterSecret other;  // meaningless while settled

  bool settled() const { return phase == Phase::kSettled; }
  // What others may use, the one in use first.
  std::vector<ClusterSecret> accepted() const;

  SecretRing staged(const ClusterSecret& next) const;
  SecretRing activated() const;     // REQUIRES: staged
  SecretRing settled_down() const;  // REQUIRES: active
};

// Names a secret without telling anything of it: 8 bytes.
std::string secret_id(const ClusterSecret& secret);
// The 32 bytes, for what derives keys of its own.
std::string raw_secret(const ClusterSecret& secret);
std::vector<std::string> raw_secrets(const SecretRing& ring);  // as accepted()

// Errors: as load_secret.
Result<SecretRing> load_secrets(const std::string& path);
// In place of what the file held: after a crash there is the old text or the new one. Errors:
// kDenied (the folder cannot be written: says what to do), kIo. Blocks.
Status replace_secrets(const std::string& path, const SecretRing& ring);

}  // namespace covey
