// MemTable: what the journal holds and LMDB does not yet, ordered by key. An erased key stays as a
// row without value, since LMDB may still have it. One active table takes writes; the one being
// folded is immutable and may be read by the writer thread at the same time.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "store/meta/kv.h"

namespace covey {

struct MemRow {
  std::optional<std::string> value;  // nullopt: erased
  KvVersion version = 0;
};

class MemTable {
 public:
  using Rows = std::map<std::string, MemRow, std::less<>>;
  // Roughly what a row costs beside its bytes (tree node, two strings, the allocator's headers).
  static constexpr size_t kRowOverheadBytes = 160;

  void set(std::string key, std::optional<std::string> value, KvVersion version) {
    size_t value_bytes = value ? value->size() : 0;
    auto row = rows_.lower_bound(key);
    if (row != rows_.end() && row->first == key) {
      bytes_ -= row->second.value ? row->second.value->size() : 0;
    } else {
      bytes_ += key.size() + kRowOverheadBytes;
      row = rows_.emplace_hint(row, std::move(key), MemRow{});
    }
    bytes_ += value_bytes;
    row->second.value = std::move(value);
    row->second.version = version;
  }
  const MemRow* find(std::string_view key) const {
    if (rows_.empty()) return nullptr;
    auto row = rows_.find(key);
    return row == rows_.end() ? nullptr : &row->second;
  }
  const Rows& rows() const { return rows_; }
  bool empty() const { return rows_.empty(); }
  size_t bytes() const { return bytes_; }

 private:
  Rows rows_;
  size_t bytes_ = 0;
};

}  // namespace covey
