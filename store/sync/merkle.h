// Comparing two replicas of a partition by digests of key ranges. Pure.
//
// A hash tree of three levels, made by walking the rows in order: the root over all rows, a digest
// per range of some dozens of rows, the rows themselves. A digest is the sum of its rows' hashes,
// so the root needs no tree in memory and any replica can compute the digest of any range that
// another one has cut. It is computed by a bounded walk and cached by the count of changes (not
// kept up to date by every write): nothing is added to the path of a write but a counter, no second
// structure can disagree with the rows, and a row that went bad is met by the walk.
//
// The rows of a partition are ordered by their place: the table's number, then the key.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/register/rank.h"

namespace covey {

inline constexpr size_t kRangeRowsMax = 64;  // of one range

// A row as replicas compare it.
struct RowMark {
  std::string place;
  Rank rank;
  bool committed = false;
  bool tombstone = false;
  bool operator==(const RowMark&) const = default;
};
uint64_t hash_row(std::string_view place, const Rank& rank, bool committed);

// The rows behind the end of the range before, up to `end` (inclusive).
struct RangeDigest {
  std::string end;  // empty: to the end of the partition
  uint32_t rows = 0;
  uint64_t digest = 0;
  bool operator==(const RangeDigest&) const = default;
};

// Cuts rows, added in order, into ranges.
class RangeCutter {
 public:
  void add(std::string_view place, uint64_t hash);
  size_t rows() const { return rows_; }
  // `whole`: the partition ends here, so the last range is open. Otherwise it ends at the last row
  // added.
  std::vector<RangeDigest> finish(bool whole);

 private:
  std::vector<RangeDigest> ranges_;
  RangeDigest open_;
  size_t rows_ = 0;
};

// Which of another replica's ranges are the same here. Own rows are added in order; as soon as a
// range is known to differ, the walk may go on behind it.
class RangeComparer {
 public:
  // REQUIRES: ends rise; only the last may be empty.
  explicit RangeComparer(std::vector<RangeDigest> ranges);
  bool done() const { return at_ == ranges_.size(); }
  // nullptr: go on with the next row. Else: the range differs; go on behind this place, or end if
  // it is empty.
  const std::string* add(std::string_view place, uint64_t hash);
  // No more rows. One flag per range: the same on both sides.
  std::vector<bool> finish();

 private:
  void close();
  std::vector<RangeDigest> ranges_;
  std::vector<bool> same_;
  size_t at_ = 0;
  uint32_t rows_ = 0;
  uint64_t digest_ = 0;
};

// What a replica lacks that another one has, in one range. Both lists are sorted by place.
struct RowDifferences {
  std::vector<RowMark> lacking;    // theirs, committed and newer: to be pulled
  std::vector<RowMark> committed;  // the same row, which they know to be committed
  std::vector<RowMark> unsettled;  // nobody knows whether it is committed: the holder is asked
};
RowDifferences compare_rows(const std::vector<RowMark>& mine, const std::vector<RowMark>& theirs);

}  // namespace covey
