#include "store/meta/memory_target.h"

#include <iterator>

#include "base/core/ids.h"

namespace covey {
namespace {

constexpr size_t kRowsPerTransaction = 16;  // small, so that crashes fall between transactions

tl::unexpected<Error> damaged_row(std::string_view key) {
  return fail(ErrorCode::kCorrupt,
              "metadata row " + hex_encode(key.substr(0, 64)) + ": its checksum does not match");
}

class MemoryCursor : public FoldCursor {
 public:
  explicit MemoryCursor(const MemoryRows& rows) : rows_(rows), at_(rows_.rows.end()) {}
  void seek(std::string_view key) override { at_ = rows_.rows.lower_bound(key); }
  void next() override { ++at_; }
  bool valid() const override { return at_ != rows_.rows.end() && !damaged(); }
  std::string_view key() const override { return at_->first; }
  std::string_view value() const override { return at_->second; }
  Status status() const override {
    if (at_ != rows_.rows.end() && damaged()) return damaged_row(at_->first);
    return {};
  }

 private:
  bool damaged() const { return rows_.damaged.contains(at_->first); }

  const MemoryRows& rows_;
  std::map<std::string, std::string, std::less<>>::const_iterator at_;
};

// Of a copy of the rows.
class MemoryCopyCursor : public FoldCursor {
 public:
  explicit MemoryCopyCursor(const MemoryRows& rows) : rows_(rows), cursor_(rows_) {}
  void seek(std::string_view key) override { cursor_.seek(key); }
  void next() override { cursor_.next(); }
  bool valid() const override { return cursor_.valid(); }
  std::string_view key() const override { return cursor_.key(); }
  std::string_view value() const override { return cursor_.value(); }
  Status status() const override { return cursor_.status(); }

 private:
  const MemoryRows rows_;
  MemoryCursor cursor_;
};

}  // namespace

Result<std::optional<std::string>> MemoryTarget::get(std::string_view key) {
  auto row = rows_.rows.lower_bound(key);
  if (row != rows_.rows.end() && rows_.damaged.contains(row->first)) return damaged_row(row->first);
  if (row != rows_.rows.end() && row->first == key) return std::optional<std::string>(row->second);
  if (row != rows_.rows.begin() && rows_.damaged.contains(std::prev(row)->first))
    return damaged_row(std::prev(row)->first);
  return std::optional<std::string>();
}

std::unique_ptr<FoldCursor> MemoryTarget::cursor() { return std::make_unique<MemoryCursor>(rows_); }

Task<Status> MemoryTarget::next_transaction() {
  if (pace) {
    co_await pace();
  } else {
    co_await loop_.yield();
  }
  if (dead_ && dead_()) co_return fail(ErrorCode::kIo, "the machine lost power");
  if (rows_.full) co_return fail(ErrorCode::kNoSpace, "memory target: full");
  co_return Status();
}

Task<Status> MemoryTarget::fold(std::shared_ptr<const MemTable> rows, FoldPosition position) {
  size_t in_transaction = 0;
  for (auto& [key, row] : rows->rows()) {
    if (in_transaction++ % kRowsPerTransaction == 0) {
      CO_TRY_STATUS(co_await next_transaction());
    }
    rows_.damaged.erase(key);
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

std::unique_ptr<FoldCursor> MemoryTarget::long_cursor() {
  return std::make_unique<MemoryCopyCursor>(rows_);
}

Task<void> MemoryTarget::aside(std::function<void()> work) {
  co_await loop_.yield();
  work();
}

}  // namespace covey
