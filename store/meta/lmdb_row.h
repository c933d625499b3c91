// How a row stands in LMDB: CRC32C over database, LMDB key and value; then the value.
#pragma once

#include <lmdb.h>

#include <cstring>
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "store/meta/crc32c.h"

namespace covey {

inline constexpr size_t kRowCrcBytes = 4;
enum class RowKind : char { kRoot = 'r', kLong = 'l', kMeta = 'm' };

inline std::string_view view_of(const MDB_val& v) {
  return {static_cast<const char*>(v.mv_data), v.mv_size};
}
inline MDB_val val_of(std::string_view s) { return {s.size(), const_cast<char*>(s.data())}; }

inline uint32_t row_crc(RowKind kind, std::string_view lmdb_key, std::string_view value) {
  char tag[2] = {static_cast<char>(kind), static_cast<char>(lmdb_key.size() & 0xff)};
  uint32_t crc = crc32c_extend(kCrc32cStart, {tag, 2});
  return crc32c_extend(crc32c_extend(crc, lmdb_key), value);
}
inline bool row_intact(RowKind kind, std::string_view lmdb_key, std::string_view stored) {
  if (stored.size() < kRowCrcBytes) return false;
  uint32_t crc;
  std::memcpy(&crc, stored.data(), sizeof crc);
  return crc == row_crc(kind, lmdb_key, stored.substr(kRowCrcBytes));
}
inline std::string seal_row(RowKind kind, std::string_view lmdb_key, std::string_view value) {
  uint32_t crc = row_crc(kind, lmdb_key, value);
  std::string out(reinterpret_cast<const char*>(&crc), sizeof crc);
  out.append(value);
  return out;
}

Status lmdb_error(int rc, const char* doing);
tl::unexpected<Error> row_corrupt(std::string_view lmdb_key, const char* how);

}  // namespace covey
