// Sealing of datagrams: XChaCha20-Poly1305 (libsodium) under a key derived from the cluster secret.
// Wire form: u8 version (1) | sender 32 | u64 boot | u64 sequence | nonce 24 | ciphertext and tag;
// everything before the nonce is authenticated too.
//
// Replay: every sender counts its datagrams within a boot, whose number rises with each start. A
// receiver takes each (boot, sequence) of a sender once, within a window, and no older boot. No
// clock is involved: a Pi starts without one.
//
// While the cluster's secret is rotated there are two keys: datagrams are sealed under the one in
// use and opened under either.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/core/ids.h"
#include "base/core/result.h"

namespace covey {

inline constexpr size_t kSealOverheadBytes = 1 + 32 + 8 + 8 + 24 + 16;
inline constexpr size_t kSealSendersMax = 2048;
inline constexpr uint8_t kSealVersion = 1;  // the first byte of a sealed datagram

class Sealer {
 public:
  // `boot` is above that of every earlier start of this node. REQUIRES: sodium_init() was called.
  Sealer(std::string_view secret, NodeId self, uint64_t boot);
  ~Sealer();
  Sealer(const Sealer&) = delete;
  Sealer& operator=(const Sealer&) = delete;

  // The one in use first; as many as a ring of secrets has.
  void set_secrets(const std::vector<std::string>& secrets);

  std::string seal(std::string_view plain);

  struct Opened {
    NodeId sender;
    std::string plain;
    size_t secret = 0;  // which of them sealed it; 0: the one in use here
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

  using Key = std::array<uint8_t, 32>;
  static Key key_of(std::string_view secret);
  void forget_keys();

  std::vector<Key> keys_;
  NodeId self_;
  uint64_t boot_;
  uint64_t sequence_ = 0;
  uint64_t uses_ = 0;
  std::unordered_map<NodeId, Window> windows_;
};

}  // namespace covey
