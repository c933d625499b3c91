// Rows of available buckets, messages about them, and hints, from another node or the disk.
// sources: store/available/row.cpp store/available/messages.cpp store/available/hint_rows.cpp
// sources: store/register/entry.cpp
// packages: libxxhash
#include "store/available/hint_rows.h"
#include "store/available/messages.h"
#include "store/available/row.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace covey;
  if (size == 0) return 0;
  std::string_view bytes = text_of(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0: round_trip(bytes, decode_available_request, encode_available_request); break;
    case 1: round_trip(bytes, decode_available_reply, encode_available_reply); break;
    case 2: (void)decode_hint(bytes); break;
    default: {
      round_trip(bytes, decode_available, encode_available);
      if (auto row = decode_available(bytes)) {
        // Joined with itself it stays what it is.
        AvailableRow twice = *row;
        twice.join(*row);
        CHECK(twice.rank() == row->rank());
        CHECK(twice.siblings.size() <= row->siblings.size());
      }
    }
  }
  return 0;
}
