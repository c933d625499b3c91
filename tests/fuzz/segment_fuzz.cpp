// Segment files: record heads and file headers as a crash or a bad disk left them.
// sources: store/block/segment_format.cpp
#include "store/block/segment_format.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace covey;
  std::string_view bytes = text_of(data, size);
  (void)decode_segment_header(bytes);
  if (auto head = decode_record_head(bytes, 1)) CHECK(head->head_bytes() <= bytes.size());
  // The same bytes as a payload: encoded and read back; one changed byte of it is noticed.
  if (size == 0) return 0;
  BlockOwner owner;
  owner.key = bytes.substr(0, 1024);
  RecordHead made = make_record(5, BlockId{}, owner, 3, bytes);
  std::string encoded = encode_record_head(made);
  auto read = decode_record_head(encoded, 5);
  CHECK(read && read->owner.key == owner.key && read->chunk_crcs == made.chunk_crcs);
  CHECK(!decode_record_head(encoded, 6));
  CHECK(verify_chunks(read->chunk_crcs, 0, bytes));
  encoded[data[0] % encoded.size()] ^= 1;
  CHECK(!decode_record_head(encoded, 5));
  return 0;
}
