// Layout states, as peers and the disk hand them over, and the messages that carry them.
// sources: gossip/ring/layout.cpp gossip/ring/layout_codec.cpp node/cluster/layout_messages.cpp
// packages: libxxhash
#include "gossip/ring/layout.h"
#include "node/cluster/layout_messages.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace covey;
  if (size == 0) return 0;
  std::string_view bytes = text_of(data + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      round_trip(bytes, decode_layout_request, [](const LayoutRequest& m) { return encode(m); });
      break;
    case 1:
      round_trip(bytes, decode_layout_reply, [](const LayoutReply& m) { return encode(m); });
      break;
    default:
      round_trip(bytes, decode_layout_state, encode_layout_state);
      if (auto state = decode_layout_state(bytes)) {
        for (PartitionId p = 0; p < state->current.partitions(); ++p) replica_sets(*state, p);
      }
  }
  return 0;
}
