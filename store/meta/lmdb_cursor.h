// LmdbCursor: rows of an Lmdb in the order of the full keys, long ones put together again.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "store/meta/lmdb_target.h"

namespace covey {

class LmdbCursor final : public FoldCursor {
 public:
  // `gone` is called when it is destroyed.
  LmdbCursor(Lmdb& lmdb, LmdbReader reader, std::function<void()> gone = {})
      : lmdb_(lmdb), reader_(reader), gone_(std::move(gone)) {}
  LmdbCursor(Lmdb& lmdb, Error error) : lmdb_(lmdb), error_(std::move(error)) {}
  ~LmdbCursor() override {
    if (reader_.txn) lmdb_.release(reader_);
    if (gone_) gone_();
  }

  void seek(std::string_view key) override;
  void next() override;
  bool valid() const override { return valid_; }
  std::string_view key() const override { return key_; }
  std::string_view value() const override { return value_; }
  Status status() const override {
    return error_ ? Status(fail(error_->code, error_->message)) : Status();
  }

 private:
  // From where the cursor of `level` was moved to (rc: the answer), goes on to the first leaf;
  // `rest` is what the key must reach within this level's namespace.
  void settle(size_t level, int rc, std::string_view rest);
  int find(size_t level, std::string_view rest);
  bool in_namespace(size_t level) const;
  void corrupt(const char* how);
  void stop_at(Error error);

  Lmdb& lmdb_;
  LmdbReader reader_;
  std::function<void()> gone_;
  std::optional<Error> error_;
  size_t level_ = 0;
  MDB_val at_{}, data_{};               // of the cursor of level_
  std::string name_space_[kKeyLevels];  // [0] is empty
  size_t prefix_bytes_[kKeyLevels] = {};
  std::string prefix_;  // the chunks above level_
  std::string long_key_;
  std::string probe_;
  std::string_view last_;  // the LMDB key before, at level 0: rows must ascend
  bool valid_ = false;
  std::string_view key_, value_;
};

}  // namespace covey
