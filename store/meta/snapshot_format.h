// The bytes of a snapshot file (docs/formats/snapshot.md). Pure functions.
//
//   header, then pieces, each a head and a payload of whole rows in key order, then an end piece
//   that says how many there were: a file that was cut is found out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "store/meta/kv.h"

namespace covey {

inline constexpr uint32_t kSnapshotFormat = 1;
inline constexpr size_t kSnapshotHeaderBytes = 64;
inline constexpr size_t kPieceHeadBytes = 20;
// A piece is closed when its payload has this many bytes; one row may take it beyond that.
inline constexpr size_t kPieceBytes = 256 * 1024;
inline constexpr size_t kPieceBytesMax = 2 * 1024 * 1024;

// Rows and bytes are not part of it.
std::string encode_snapshot_header(const KvSnapshot& snapshot);
// Errors: kCorrupt, kInvalid (a format of the future).
Result<KvSnapshot> decode_snapshot_header(std::string_view bytes);

struct PieceHead {
  bool end = false;
  uint32_t rows = 0;
  uint32_t payload_bytes = 0;
  uint32_t number = 0;  // from 0
  uint32_t crc = 0;
};
// A piece ready to be written: head and payload. `header` are the encoded header's bytes: a piece
// belongs to one file.
std::string seal_piece(std::string_view header, uint32_t number, uint32_t rows,
                       std::string payload);
std::string seal_end(std::string_view header, uint32_t number, uint64_t rows);
std::optional<PieceHead> decode_piece_head(std::string_view bytes);
bool piece_intact(std::string_view header, std::string_view head, std::string_view payload);
// What the payload of an end piece says.
std::optional<uint64_t> decode_end(std::string_view payload);

void append_row(std::string& payload, std::string_view key, std::string_view value);
struct SnapshotRow {
  std::string_view key, value;  // borrowed from the payload
};
// The next row of a payload; takes it off. nullopt: malformed.
std::optional<SnapshotRow> take_row(std::string_view& payload);

// Names sort by what they cover. Without a folder.
std::string snapshot_name(const KvSnapshot& snapshot);
bool is_snapshot_name(std::string_view name);

}  // namespace covey
