// The bytes of the sealed copy of a node's key (docs/formats/snapshot.md). Pure.
#pragma once

#include <string>
#include <string_view>

#include "node/identity/identity.h"

namespace covey {

inline constexpr size_t kSealNonceBytes = 24;

// REQUIRES: `nonce` is random, kSealNonceBytes long.
std::string seal_identity(const NodeIdentity& identity, const ClusterSecret& secret,
                          const std::string& name, std::string_view nonce);
// The id is not filled in. Errors: kCorrupt, kInvalid; the message goes on after the file's name.
Result<IdentityCopy> open_identity(std::string_view bytes, const ClusterSecret& secret);

}  // namespace covey
