#include "store/sync/merkle.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/core/check.h"

namespace covey {

uint64_t hash_row(std::string_view place, const Rank& rank, bool committed) {
  // Not padded bytes of a struct: each member by itself.
  uint64_t parts[] = {XXH3_64bits(place.data(), place.size()),
                      rank.ballot.epoch,
                      rank.ballot.counter,
                      rank.ballot.node,
                      rank.ballot.boot,
                      rank.seq,
                      committed ? 1u : 0u};
  return XXH3_64bits(parts, sizeof parts);
}

void RangeCutter::add(std::string_view place, uint64_t hash) {
  ++rows_;
  ++open_.rows;
  open_.digest += hash;
  open_.end.assign(place);
  if (open_.rows < kRangeRowsMax) return;
  ranges_.push_back(std::move(open_));
  open_ = RangeDigest{};
}

std::vector<RangeDigest> RangeCutter::finish(bool whole) {
  if (whole) open_.end.clear();
  if (whole || open_.rows > 0) ranges_.push_back(std::move(open_));
  return std::move(ranges_);
}

RangeComparer::RangeComparer(std::vector<RangeDigest> ranges)
    : ranges_(std::move(ranges)), same_(ranges_.size(), false) {}

void RangeComparer::close() {
  const RangeDigest& range = ranges_[at_];
  same_[at_] = rows_ == range.rows && digest_ == range.digest;
  ++at_;
  rows_ = 0, digest_ = 0;
}

const std::string* RangeComparer::add(std::string_view place, uint64_t hash) {
  static const std::string kEnd;
  while (!done() && !ranges_[at_].end.empty() && place > ranges_[at_].end) close();
  if (done()) return &kEnd;
  ++rows_;
  digest_ += hash;
  if (rows_ <= ranges_[at_].rows) return nullptr;
  const std::string& end = ranges_[at_].end;
  close();  // more rows than theirs: it differs
  return &end;
}

std::vector<bool> RangeComparer::finish() {
  while (!done()) close();
  return std::move(same_);
}

RowDifferences compare_rows(const std::vector<RowMark>& mine, const std::vector<RowMark>& theirs) {
  RowDifferences out;
  auto own = mine.begin();
  auto alone = [&out](const RowMark& row) {
    if (!row.committed) out.unsettled.push_back(row);
  };
  for (const RowMark& their : theirs) {
    for (; own != mine.end() && own->place < their.place; ++own) alone(*own);
    const RowMark* same = own != mine.end() && own->place == their.place ? &*own++ : nullptr;
    if (!same || same->rank < their.rank) {
      (their.committed ? out.lacking : out.unsettled).push_back(their);
      continue;
    }
    if (same->committed) continue;  // they pull it, or what is above it
    bool equal = same->rank == their.rank;
    (equal && their.committed ? out.committed : out.unsettled).push_back(*same);
  }
  for (; own != mine.end(); ++own) alone(*own);
  return out;
}

}  // namespace covey
