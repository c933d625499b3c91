// MergeIterator: active table over folding table over the fold target, newest first.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "store/meta/fold_target.h"
#include "store/meta/kv.h"
#include "store/meta/mem_table.h"

namespace covey {

class MergeIterator final : public KvIterator {
 public:
  // `folding` may be null.
  MergeIterator(std::shared_ptr<const MemTable> active, std::shared_ptr<const MemTable> folding,
                std::unique_ptr<FoldCursor> folded, std::string begin, std::string end);

  bool valid() const override { return valid_; }
  std::string_view key() const override { return key_; }
  std::string_view value() const override { return value_; }
  KvVersion version() const override { return version_; }
  void next() override;
  void seek(std::string_view key) override;
  Status status() const override { return folded_->status(); }

 private:
  struct Layer {
    const MemTable* table;
    MemTable::Rows::const_iterator at;
    bool here() const { return table && at != table->rows().end(); }
  };
  // Chooses the smallest key; skips erased rows and what a newer layer hides.
  void settle();
  void step_past(std::string_view key);

  std::shared_ptr<const MemTable> active_, folding_;
  std::unique_ptr<FoldCursor> folded_;
  std::string end_;
  Layer layers_[2];
  bool valid_ = false;
  std::string_view key_, value_;
  KvVersion version_ = 0;
};

}  // namespace covey
