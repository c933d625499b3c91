// Messages about blocks, as another node may send them.
// sources: store/block/block_messages.cpp
#include "store/block/block_messages.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace covey;
  round_trip(text_of(data, size), decode_block_message, encode_block_message);
  return 0;
}
