#include "store/available/hint_rows.h"

#include "base/core/codec.h"
#include "store/register/entry.h"

namespace covey {
namespace {
constexpr uint8_t kFormat = 1;
constexpr size_t kPrefixBytes = 4;  // table, partition, the row's table
}  // namespace

std::string hint_prefix(TableId table, PartitionId partition) {
  std::string key = register_store_prefix(TableId::kHints, partition);
  key.push_back(static_cast<char>(table));
  return key;
}

std::string hint_key(const RegisterKey& key) {
  return hint_prefix(key.table, key.partition).append(key.key);
}

Result<RegisterKey> key_of_hint(std::string_view hint) {
  Reader r(hint);
  r.u8();
  RegisterKey key;
  key.partition = r.u16_be();
  key.table = static_cast<TableId>(r.u8());
  if (!r.ok() || hint.size() < kPrefixBytes)
    return fail(ErrorCode::kCorrupt, "the key of a hint is malformed");
  key.key = r.rest();
  return key;
}

std::string encode_hint(const Hint& hint) {
  std::string bytes;
  Writer w(bytes);
  w.u8(kFormat);
  w.u64(hint.actor);
  w.raw(encode_available(hint.row));
  return bytes;
}

Result<Hint> decode_hint(std::string_view bytes) {
  Reader r(bytes);
  if (r.u8() != kFormat) return fail(ErrorCode::kCorrupt, "a hint of an unknown format");
  Hint hint;
  hint.actor = r.u64();
  if (!r.ok()) return fail(ErrorCode::kCorrupt, "a hint is malformed");
  TRY(hint.row, decode_available(r.rest()));
  return hint;
}

}  // namespace covey
