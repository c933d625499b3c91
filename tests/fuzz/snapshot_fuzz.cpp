// A snapshot of the metadata as a bad disk left it: header, pieces, rows.
// sources: store/meta/snapshot_format.cpp
#include "store/meta/snapshot_format.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace covey;
  std::string_view bytes = text_of(data, size);
  if (auto header = decode_snapshot_header(bytes))
    CHECK(encode_snapshot_header(*header) == bytes.substr(0, kSnapshotHeaderBytes));
  is_snapshot_name(bytes);
  decode_piece_head(bytes);
  decode_end(bytes);

  std::string once;
  uint32_t rows = 0;
  for (std::string_view left = bytes; !left.empty(); ++rows) {
    std::optional<SnapshotRow> row = take_row(left);
    if (!row) break;
    append_row(once, row->key, row->value);
  }
  std::string_view again = once;
  for (uint32_t n = 0; n < rows; ++n) CHECK(take_row(again).has_value());
  CHECK(again.empty());
  // Any payload that is sealed is found intact, in its own file only.
  std::string header = encode_snapshot_header({.sequence = 7, .generation = 3, .made_ms = 5});
  std::string other = encode_snapshot_header({.sequence = 8, .generation = 3, .made_ms = 5});
  std::string piece = seal_piece(header, 4, rows, std::string(bytes.substr(0, kPieceBytesMax)));
  std::string_view head = std::string_view(piece).substr(0, kPieceHeadBytes);
  std::string_view payload = std::string_view(piece).substr(kPieceHeadBytes);
  auto decoded = decode_piece_head(piece);
  CHECK(decoded && decoded->number == 4 && decoded->rows == rows && !decoded->end);
  CHECK(piece_intact(header, head, payload));
  CHECK(!piece_intact(other, head, payload));
  return 0;
}
