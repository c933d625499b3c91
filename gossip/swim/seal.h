// Sealing of datagrams: XChaCha20-Poly1305 (libsodium) under a key derived from the cluster secret.
// Wire form: u8 version (1) | sender 32 | u64 boot | u64 sequence | nonce 24 | ciphertext and tag;
// everything before the nonce is authenticated too.
//
// Replay: every sender counts its datagrams within a boot, whose number rises with each start. A
// receiver takes each (boot, sequence) of a sender once, within a window, and no older boot. No
// clock is involved: a Pi starts without one.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/core/ids.h"
#include "base/core/result.h"

namespace covey {

inline constexpr size_t kSealOverheadBytes = 1 + 32 + 8 + 8 + 24 + 16;
inline constexpr size_t kSealSendersMax = 2048;

class Sealer {
 public:
  // `boot` is above that of every earlier start of this node. REQUIRES: sodium_init() was called.
  Sealer(std::string_view secret, NodeId self, uint64_t boot);
  ~Sealer();
  Sealer(const Sealer&) = delete;
  Sealer& operator=(const Sealer&) = delete;

  std::string seal(std::string_view plain);

  struct Opened {
    NodeId sender;
    std::string plain;
  };
  // Errors: kInvalid (not ours), kDenied (another secret, or tampered with), kStale (a replay).
  Result<Opened> open(std::string_view datagram);

 private:
  struct Window {
    uint64_t boot = 0;
    uint64_t highest = 0;
    uint64_t seen = 0;  // bit i: highest - i was seen
    uint64_t used = 0;  // for eviction
  };
  bool fresh(const NodeId& sender, uint64_t boot, uint64_t sequence);

  std::array<uint8_t, 32> key_;
  NodeId self_;
  uint64_t boot_;
  uint64_t sequence_ = 0;
  uint64_t uses_ = 0;
  std::unordered_map<NodeId, Window> windows_;
};

}  // namespace covey
