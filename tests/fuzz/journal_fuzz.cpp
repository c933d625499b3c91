// A journal file as a crash or a bad disk left it: header, records, batches.
// sources: store/meta/journal_format.cpp store/meta/write_batch.cpp
#include "store/meta/journal_format.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace covey;
  std::string_view bytes = text_of(data, size);
  decode_journal_header(bytes.substr(0, kJournalHeaderBytes));
  JournalHeader file{.generation = 3, .first_sequence = 1, .salt = 9};
  claims_later_generation(bytes, file.generation);
  for (size_t at = 0; at < size; at += kJournalSectorBytes) decode_record(bytes, at, file);

  std::string_view payload = bytes;
  while (!payload.empty()) {
    std::optional<WriteBatch> batch = decode_batch(payload);
    if (!batch) break;
    std::string once;
    encode_batch(once, *batch);
    std::string_view left = once;
    CHECK(decode_batch(left) && left.empty());
  }
  // Any payload that is sealed is found again, whole.
  std::string record(kRecordHeaderBytes, '\0');
  record.append(bytes);
  seal_record(record, file, 7, 1);
  auto found = decode_record(record, 0, file);
  CHECK(found && found->payload == bytes && found->padded_bytes == record.size());
  return 0;
}
