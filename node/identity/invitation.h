// Invitations: how a new box gets the cluster's secret. A token does not hold the secret but a key
// of its own, which every node that holds the secret derives again from the token's number and its
// date: nothing is stored, and a token is worthless once it has expired or the secret was rotated.
//
// The new box sends one datagram to the gossip port of a node and gets one back:
//   ask:     u8 2 | secret id 8 | number 16 | u64 expires (s since 1970) | nonce 24 | sealed
//            {X25519 key 32, zeros up to 640}
//   welcome: u8 3 | number 16 | nonce 24 | sealed {secret 32 and seeds, boxed to that X25519 key}
//   refusal: u8 4 | number 16 | u8 reason
// "Sealed" is XChaCha20-Poly1305 under the token's key, all before the nonce authenticated. The key
// of the ask is made for it and forgotten: who finds a token later cannot open a recorded welcome.
// An answer is never longer than the question.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/async/clock.h"
#include "base/core/result.h"
#include "node/identity/secrets.h"

namespace covey {

inline constexpr uint8_t kAskVersion = 2, kWelcomeVersion = 3, kRefusalVersion = 4;
inline constexpr size_t kInvitationSeedsMax = 6;
inline constexpr size_t kInvitationSeedBytesMax = 64;  // one address

struct Invitation {
  std::string secret_id;  // of the secret it was made under
  std::string number;     // 16 random bytes
  uint64_t expires_s = 0;
  std::string key;
  std::vector<std::string> seeds;  // gossip addresses of nodes that may be asked
};

// At most kInvitationSeedsMax of the seeds go in.
std::string make_invitation(const ClusterSecret& secret, WallTime expires,
                            const std::vector<std::string>& seeds);
// Errors: kInvalid (not a whole token: says where to get one).
Result<Invitation> read_invitation(std::string_view token);

// What a node answers to a datagram that is not gossip; empty: nothing. REQUIRES: sodium_init().
std::string answer_invitation(const SecretRing& secrets, std::string_view datagram, WallTime now,
                              const std::vector<std::string>& seeds);

struct Welcome {
  ClusterSecret secret;
  std::vector<std::string> seeds;
};

// The new box's side.
class JoinRequest {
 public:
  explicit JoinRequest(Invitation invitation);
  const std::string& datagram() const { return datagram_; }
  // nullopt: no answer to this request. Errors: kDenied (refused: says why and what to do).
  Result<std::optional<Welcome>> read(std::string_view datagram) const;

 private:
  Invitation invitation_;
  std::array<uint8_t, 32> public_key_, secret_key_;
  std::string datagram_;
};

}  // namespace covey
