// Gossip: a stranger's datagram through Sealer::open, and any bytes as an opened one.
// sources: gossip/swim/message.cpp gossip/swim/seal.cpp
// packages: libsodium
#include <sodium.h>

#include "gossip/swim/message.h"
#include "gossip/swim/seal.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace covey;
  static const int ready = sodium_init();
  CHECK(ready >= 0);
  std::string_view bytes = text_of(data, size);
  static Sealer sealer("0123456789abcdef0123456789abcdef", NodeId{}, 1);
  CHECK(!sealer.open(bytes));  // nobody guesses a key
  auto encode = [](const GossipMessage& message) {
    std::vector<std::string> updates;
    for (const MemberUpdate& update : message.updates) updates.push_back(encode_update(update));
    return encode_gossip(message, updates);
  };
  round_trip(bytes, decode_gossip, encode);
  return 0;
}
