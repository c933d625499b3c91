// Register messages from another node, and rows as the disk kept them.
// sources: store/register/messages.cpp store/register/entry.cpp
// packages: libxxhash
#include "store/register/messages.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace covey;
  if (size == 0) return 0;
  std::string_view bytes = text_of(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0: round_trip(bytes, decode_request, encode_request); break;
    case 1: round_trip(bytes, decode_reply, encode_reply); break;
    case 2: round_trip(bytes, decode_partition_state, encode_partition_state); break;
    default: {
      round_trip(bytes, decode_entry, encode_entry);
      if (auto view = view_entry(bytes)) {
        std::string marked(bytes);
        mark_committed(marked);
        auto again = view_entry(marked);
        CHECK(again && again->committed && again->rank == view->rank && again->row == view->row);
      }
    }
  }
  return 0;
}
