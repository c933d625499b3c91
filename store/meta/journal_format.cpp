#include "store/meta/journal_format.h"

#include <utility>

#include "base/core/codec.h"
#include "base/core/seeded_bug.h"
#include "store/meta/crc32c.h"

namespace covey {
namespace {

constexpr uint32_t kFileMagic = 0x4a595643;    // "CVYJ"
constexpr uint32_t kRecordMagic = 0x52595643;  // "CVYR"
constexpr size_t kHeaderUsedBytes = 32;

uint32_t record_crc(const JournalHeader& file, std::string_view after_crc) {
  uint32_t salt = SEEDED_BUG("meta-generation-unchecked") ? 0 : file.salt;
  return crc32c_extend(kCrc32cStart ^ salt, after_crc);
}

}  // namespace

std::string encode_journal_header(const JournalHeader& header) {
  std::string out;
  Writer w(out);
  w.u32(kFileMagic);
  w.u32(kJournalFormat);
  w.u64(header.generation);
  w.u64(header.first_sequence);
  w.u32(header.salt);
  w.u32(crc32c_extend(kCrc32cStart, out));
  out.resize(kJournalHeaderBytes, '\0');
  return out;
}

Result<std::optional<JournalHeader>> decode_journal_header(std::string_view sector) {
  Reader r(sector);
  uint32_t magic = r.u32(), format = r.u32();
  JournalHeader header;
  header.generation = r.u64();
  header.first_sequence = r.u64();
  header.salt = r.u32();
  uint32_t crc = r.u32();
  if (!r.ok() || magic != kFileMagic ||
      crc != crc32c_extend(kCrc32cStart, sector.substr(0, kHeaderUsedBytes - 4)))
    return std::optional<JournalHeader>();
  if (format != kJournalFormat)
    return fail(ErrorCode::kInvalid, "the journal has format " + std::to_string(format) +
                                         ", this version knows 1: start the version that wrote it");
  return std::optional<JournalHeader>(header);
}

void seal_record(std::string& record, const JournalHeader& file, uint64_t first_sequence,
                 uint32_t batches) {
  std::string tail;  // what follows the CRC in the header
  Writer w(tail);
  w.u64(file.generation);
  w.u64(first_sequence);
  w.u32(batches);
  w.u32(static_cast<uint32_t>(record.size() - kRecordHeaderBytes));
  record.replace(8, tail.size(), tail);
  std::string head;
  Writer h(head);
  h.u32(kRecordMagic);
  h.u32(record_crc(file, std::string_view(record).substr(8)));
  record.replace(0, head.size(), head);
  record.resize(journal_padded(record.size()), '\0');
}

std::optional<JournalRecord> decode_record(std::string_view file_bytes, size_t offset,
                                           const JournalHeader& file) {
  if (offset >= file_bytes.size()) return std::nullopt;
  std::string_view bytes = file_bytes.substr(offset);
  Reader r(bytes);
  uint32_t magic = r.u32(), crc = r.u32();
  uint64_t generation = r.u64();
  JournalRecord record;
  record.first_sequence = r.u64();
  record.batches = r.u32();
  uint32_t payload_bytes = r.u32();
  bool of_this_use = generation == file.generation || SEEDED_BUG("meta-generation-unchecked");
  if (!r.ok() || magic != kRecordMagic || !of_this_use) return std::nullopt;
  record.payload = r.raw(payload_bytes);
  if (!r.ok()) return std::nullopt;
  size_t used = kRecordHeaderBytes + payload_bytes;
  bool good = crc == record_crc(file, bytes.substr(8, used - 8));
  if (!good && !SEEDED_BUG("meta-journal-crc-unchecked")) return std::nullopt;
  record.padded_bytes = journal_padded(used);
  return record;
}

bool claims_later_generation(std::string_view file_bytes, uint64_t generation) {
  if (file_bytes.size() < kJournalHeaderBytes + kRecordHeaderBytes) return false;
  Reader r(file_bytes.substr(kJournalHeaderBytes));
  uint32_t magic = r.u32();
  r.u32();
  return magic == kRecordMagic && r.u64() > generation;
}

void encode_batch(std::string& out, const WriteBatch& batch) {
  Writer w(out);
  w.varint(batch.ops().size());
  for (const WriteBatch::Op& op : batch.ops()) {
    w.u8(op.value ? 1 : 0);
    w.bytes(op.key);
    if (op.value) w.bytes(*op.value);
  }
}

std::optional<WriteBatch> decode_batch(std::string_view& payload) {
  Reader r(payload);
  WriteBatch batch;
  uint64_t ops = r.varint();
  for (uint64_t i = 0; i < ops && r.ok(); ++i) {
    uint8_t kind = r.u8();
    std::string key(r.bytes());
    if (kind == 1)
      batch.put(std::move(key), std::string(r.bytes()));
    else
      batch.erase(std::move(key));
    if (kind > 1) return std::nullopt;
  }
  if (!r.ok()) return std::nullopt;
  payload = r.rest();
  return batch;
}

}  // namespace covey
