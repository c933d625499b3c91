#include "store/meta/snapshot_format.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/core/codec.h"
#include "base/core/limits.h"
#include "store/meta/crc32c.h"

namespace covey {
namespace {

constexpr uint32_t kMagic = 0x53595643;       // "CVYS"
constexpr uint32_t kPieceMagic = 0x50595643;  // "CVYP"
constexpr uint32_t kEndMagic = 0x45595643;    // "CVYE"
constexpr size_t kCrcAt = kSnapshotHeaderBytes - 4;
constexpr size_t kHeadBeforeCrc = kPieceHeadBytes - 4;
constexpr std::string_view kNamePrefix = "snapshot-";
constexpr size_t kNameBytes = kNamePrefix.size() + 16 + 1 + 16;

uint32_t piece_crc(std::string_view header, std::string_view head, std::string_view payload) {
  // Without its checksum: with it, every header gives the same.
  uint32_t crc = crc32c_extend(kCrc32cStart, header.substr(0, kCrcAt));
  return crc32c_extend(crc32c_extend(crc, head.substr(0, kHeadBeforeCrc)), payload);
}

std::string seal(std::string_view header, uint32_t magic, uint32_t number, uint32_t rows,
                 std::string_view payload) {
  std::string out;
  Writer w(out);
  w.u32(magic);
  w.u32(number);
  w.u32(rows);
  w.u32(static_cast<uint32_t>(payload.size()));
  w.u32(piece_crc(header, out, payload));
  w.raw(payload);
  return out;
}

}  // namespace

std::string encode_snapshot_header(const KvSnapshot& snapshot) {
  std::string out;
  Writer w(out);
  w.u32(kMagic);
  w.u32(kSnapshotFormat);
  w.u64(snapshot.sequence);
  w.u64(snapshot.generation);
  w.u64(static_cast<uint64_t>(snapshot.made_ms));
  out.resize(kCrcAt, '\0');
  w.u32(crc32c_extend(kCrc32cStart, out));
  return out;
}

Result<KvSnapshot> decode_snapshot_header(std::string_view bytes) {
  Reader r(bytes.substr(0, std::min(bytes.size(), kSnapshotHeaderBytes)));
  uint32_t magic = r.u32(), format = r.u32();
  KvSnapshot snapshot;
  snapshot.sequence = r.u64();
  snapshot.generation = r.u64();
  snapshot.made_ms = static_cast<int64_t>(r.u64());
  std::string_view zeros = r.raw(kCrcAt - 32);
  uint32_t crc = r.u32();
  if (!r.done() || magic != kMagic || zeros.find_first_not_of('\0') != std::string_view::npos ||
      crc != crc32c_extend(kCrc32cStart, bytes.substr(0, kCrcAt)))
    return fail(ErrorCode::kCorrupt, "its header is damaged");
  if (format != kSnapshotFormat)
    return fail(ErrorCode::kInvalid,
                fmt::format("it has format {}, this version knows {}: use the version that wrote "
                            "it",
                            format, kSnapshotFormat));
  return snapshot;
}

std::string seal_piece(std::string_view header, uint32_t number, uint32_t rows,
                       std::string payload) {
  return seal(header, kPieceMagic, number, rows, payload);
}

std::string seal_end(std::string_view header, uint32_t number, uint64_t rows) {
  std::string payload;
  Writer(payload).u64(rows);
  return seal(header, kEndMagic, number, 0, payload);
}

std::optional<PieceHead> decode_piece_head(std::string_view bytes) {
  Reader r(bytes.substr(0, std::min(bytes.size(), kPieceHeadBytes)));
  uint32_t magic = r.u32();
  PieceHead head;
  head.end = magic == kEndMagic;
  head.number = r.u32();
  head.rows = r.u32();
  head.payload_bytes = r.u32();
  head.crc = r.u32();
  if (!r.done() || (magic != kPieceMagic && magic != kEndMagic)) return std::nullopt;
  if (head.payload_bytes > kPieceBytesMax) return std::nullopt;
  return head;
}

bool piece_intact(std::string_view header, std::string_view head, std::string_view payload) {
  auto decoded = decode_piece_head(head);
  return decoded && payload.size() == decoded->payload_bytes &&
         decoded->crc == piece_crc(header, head, payload);
}

std::optional<uint64_t> decode_end(std::string_view payload) {
  Reader r(payload);
  uint64_t rows = r.u64();
  if (!r.done()) return std::nullopt;
  return rows;
}

void append_row(std::string& payload, std::string_view key, std::string_view value) {
  Writer w(payload);
  w.bytes(key);
  w.bytes(value);
}

std::optional<SnapshotRow> take_row(std::string_view& payload) {
  Reader r(payload);
  SnapshotRow row;
  row.key = r.bytes();
  row.value = r.bytes();
  if (!r.ok() || row.key.empty() || row.key.size() > kKvKeyBytesMax ||
      row.value.size() > kKvValueBytesMax)
    return std::nullopt;
  payload = r.rest();
  return row;
}

std::string snapshot_name(const KvSnapshot& snapshot) {
  return fmt::format("{}{:016x}-{:016x}", kNamePrefix, snapshot.generation, snapshot.sequence);
}

bool is_snapshot_name(std::string_view name) {
  return name.size() == kNameBytes && name.starts_with(kNamePrefix) &&
         name.find_first_not_of("0123456789abcdef-", kNamePrefix.size()) == std::string_view::npos;
}

}  // namespace covey
