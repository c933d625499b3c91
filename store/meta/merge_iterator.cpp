#include "store/meta/merge_iterator.h"

#include <utility>

namespace covey {

MergeIterator::MergeIterator(std::shared_ptr<const MemTable> active,
                             std::shared_ptr<const MemTable> folding,
                             std::unique_ptr<FoldCursor> folded, std::string begin, std::string end)
    : active_(std::move(active)),
      folding_(std::move(folding)),
      folded_(std::move(folded)),
      end_(std::move(end)),
      layers_{{active_.get(), {}}, {folding_.get(), {}}} {
  seek(begin);
}

void MergeIterator::seek(std::string_view key) {
  for (Layer& layer : layers_)
    if (layer.table) layer.at = layer.table->rows().lower_bound(key);
  folded_->seek(key);
  settle();
}

void MergeIterator::next() {
  // The views stay valid: rows of tables do not move, and the cursor is stepped last.
  step_past(key_);
  settle();
}

void MergeIterator::step_past(std::string_view key) {
  bool folded_too = folded_->valid() && folded_->key() == key;
  for (Layer& layer : layers_)
    if (layer.here() && layer.at->first == key) ++layer.at;
  if (folded_too) folded_->next();
}

void MergeIterator::settle() {
  valid_ = false;
  while (true) {
    if (!folded_->valid() && !folded_->status()) return;  // an error hides what follows
    const Layer* best = nullptr;
    for (const Layer& layer : layers_)
      if (layer.here() && (!best || layer.at->first < best->at->first)) best = &layer;
    if (folded_->valid() && (!best || folded_->key() < best->at->first)) {
      key_ = folded_->key();
      value_ = folded_->value();
      version_ = 0;
    } else if (best) {
      const auto& [key, row] = *best->at;
      if (!row.value) {
        if (key >= end_) return;
        step_past(key);
        continue;
      }
      key_ = key;
      value_ = *row.value;
      version_ = row.version;
    } else {
      return;
    }
    valid_ = key_ < end_;
    return;
  }
}

}  // namespace covey
