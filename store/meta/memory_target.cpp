#include "store/meta/memory_target.h"

namespace covey {
namespace {

constexpr size_t kRowsPerTransaction = 16;  // small, so that crashes fall between transactions

class MemoryCursor : public FoldCursor {
 public:
  explicit MemoryCursor(const MemoryRows& rows) : rows_(rows.rows), at_(rows_.end()) {}
  void seek(std::string_view key) override { at_ = rows_.lower_bound(key); }
  void next() override { ++at_; }
  bool valid() const override { return at_ != rows_.end(); }
  std::string_view key() const override { return at_->first; }
  std::string_view value() const override { return at_->second; }
  Status status() const override { return {}; }

 private:
  const std::map<std::string, std::string, std::less<>>& rows_;
  std::map<std::string, std::string, std::less<>>::const_iterator at_;
};

}  // namespace

Result<std::optional<std::string>> MemoryTarget::get(std::string_view key) {
  auto row = rows_.rows.find(key);
  if (row == rows_.rows.end()) return std::optional<std::string>();
  return std::optional<std::string>(row->second);
}

std::unique_ptr<FoldCursor> MemoryTarget::cursor() { return std::make_unique<MemoryCursor>(rows_); }

Task<Status> MemoryTarget::fold(std::shared_ptr<const MemTable> rows, FoldPosition position) {
  size_t in_transaction = 0;
  for (auto& [key, row] : rows->rows()) {
    if (in_transaction++ % kRowsPerTransaction == 0) {
      co_await loop_.yield();
      if (dead_ && dead_()) co_return fail(ErrorCode::kIo, "the machine lost power");
      if (rows_.full) co_return fail(ErrorCode::kNoSpace, "memory target: full");
    }
    if (row.value)
      rows_.rows[key] = *row.value;
    else
      rows_.rows.erase(key);
  }
  co_await loop_.yield();
  if (dead_ && dead_()) co_return fail(ErrorCode::kIo, "the machine lost power");
  rows_.position = position;
  co_return Status();
}

Task<Status> MemoryTarget::snapshot(std::string path) {
  co_return fail(ErrorCode::kNotImplemented, "a memory target has no snapshots");
}

}  // namespace covey
