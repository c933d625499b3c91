// The journal's bytes on disk (docs/formats/journal.md). Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "base/core/round.h"
#include "store/meta/kv.h"

namespace covey {

inline constexpr uint32_t kJournalFormat = 1;
// Files and records are laid out in units of a sector, so that writing one record never rewrites a
// sector of one that was acknowledged.
inline constexpr size_t kJournalSectorBytes = 512;
inline constexpr size_t kJournalHeaderBytes = kJournalSectorBytes;
inline constexpr size_t kRecordHeaderBytes = 32;

struct JournalHeader {
  uint64_t generation = 0;      // counts the uses of journal files, from 1
  uint64_t first_sequence = 0;  // of the first batch written to this generation
  uint32_t salt = 0;            // random: no stored bytes can pass for a record by chance or intent
};

struct JournalRecord {
  uint64_t first_sequence = 0;
  uint32_t batches = 0;
  std::string_view payload;  // borrowed from the file's bytes
  size_t padded_bytes = 0;   // to the next record
};

inline constexpr size_t journal_padded(size_t bytes) {
  return round_up(bytes, kJournalSectorBytes);
}

std::string encode_journal_header(const JournalHeader& header);
// nullopt: not a header (never used, torn or bad). Errors: kInvalid for a format of the future.
Result<std::optional<JournalHeader>> decode_journal_header(std::string_view sector);

// Fills in the first kRecordHeaderBytes of `record`, which were left free before the payload, and
// pads the end.
void seal_record(std::string& record, const JournalHeader& file, uint64_t first_sequence,
                 uint32_t batches);
// The record that starts at `offset` of the file's bytes, if a valid one does.
std::optional<JournalRecord> decode_record(std::string_view file_bytes, size_t offset,
                                           const JournalHeader& file);
// True if something that calls itself a record of a later generation than `generation` is there;
// for files whose header is unreadable.
bool claims_later_generation(std::string_view file_bytes, uint64_t generation);

void encode_batch(std::string& out, const WriteBatch& batch);
// The next batch of a payload; takes it off. nullopt: malformed.
std::optional<WriteBatch> decode_batch(std::string_view& payload);

}  // namespace covey
