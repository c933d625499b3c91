#include "store/meta/lmdb_cursor.h"

#include "store/meta/lmdb_row.h"

namespace covey {

void LmdbCursor::corrupt(const char* how) {
  stop_at(std::move(row_corrupt(view_of(at_), how).value()));
}

void LmdbCursor::stop_at(Error error) {
  error_ = std::move(error);
  valid_ = false;
  // A long one is on another thread, and its owner tells.
  if (error_->code == ErrorCode::kCorrupt && !gone_) lmdb_.on_damage(*error_);
}

bool LmdbCursor::in_namespace(size_t level) const {
  return view_of(at_).starts_with(name_space_[level]);
}

int LmdbCursor::find(size_t level, std::string_view rest) {
  probe_ = name_space_[level];
  probe_.append(rest.substr(0, level == 0 ? kRootChunkBytes : kLongChunkBytes));
  if (probe_.empty()) return mdb_cursor_get(reader_.cursors[level], &at_, &data_, MDB_FIRST);
  at_ = val_of(probe_);
  return mdb_cursor_get(reader_.cursors[level], &at_, &data_, MDB_SET_RANGE);
}

void LmdbCursor::seek(std::string_view key) {
  if (error_) return;
  prefix_.clear();
  last_ = {};
  std::string target(key);  // `key` may be a view of this cursor's own
  settle(0, find(0, target), target);
}

void LmdbCursor::next() {
  int rc = mdb_cursor_get(reader_.cursors[level_], &at_, &data_, MDB_NEXT);
  settle(level_, rc, {});
}

void LmdbCursor::settle(size_t level, int rc, std::string_view rest) {
  valid_ = false;
  while (true) {
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND) {
      return stop_at(lmdb_error(rc, "scanning").error());
    }
    if (rc == MDB_NOTFOUND || !in_namespace(level)) {
      if (level == 0) return;
      --level;  // this namespace ends: go on after the row that named it
      prefix_.resize(prefix_bytes_[level]);
      rest = {};
      rc = mdb_cursor_get(reader_.cursors[level], &at_, &data_, MDB_NEXT);
      continue;
    }
    std::string_view lmdb_key = view_of(at_), stored = view_of(data_);
    if (!row_intact(level == 0 ? RowKind::kRoot : RowKind::kLong, lmdb_key, stored))
      return corrupt("its checksum does not match");
    if (level == 0 && !last_.empty() && lmdb_key <= last_) return corrupt("a page is out of order");
    if (level == 0) last_ = lmdb_key;
    std::string_view chunk = lmdb_key.substr(name_space_[level].size());
    value_ = stored.substr(kRowCrcBytes);
    if (lmdb_key.size() < kLmdbKeyBytesMax) {
      level_ = level;
      key_ = chunk;
      if (level > 0) {
        long_key_ = prefix_;
        long_key_.append(chunk);
        key_ = long_key_;
      }
      valid_ = true;
      return;
    }
    if (value_.size() != kNamespaceBytes || level + 1 == kKeyLevels)
      return corrupt("it is malformed");
    rest = rest.starts_with(chunk) ? rest.substr(chunk.size()) : std::string_view();
    prefix_bytes_[level] = prefix_.size();
    prefix_.append(chunk);
    name_space_[++level] = value_;
    rc = find(level, rest);
  }
}

}  // namespace covey
