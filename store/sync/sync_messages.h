// What replicas say to each other when they compare a partition (PeerService::kSync). Every message
// carries the layout epoch; a replica answers only under its own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "store/register/entry.h"
#include "store/register/registers.h"
#include "store/sync/merkle.h"

namespace covey {

inline constexpr size_t kRootsMax = 1024;              // partitions in one message
inline constexpr size_t kSyncRangesMax = 256;          // ranges in one message
inline constexpr size_t kSyncMarksMax = 1024;          // rows listed in one answer
inline constexpr size_t kSyncPlacesMax = 512;          // rows asked for in one message
inline constexpr size_t kSyncRowsBytes = 1024 * 1024;  // of rows in one answer, about

enum class SyncVerb : uint8_t {
  kRoots = 1,    // the digests of whole partitions
  kCompare = 2,  // which of these ranges are the same with you?
  kList = 3,     // the rows of a range: places, ranks
  kPull = 4,     // committed rows, with attachments
  kProve = 5,    // the ranks of some rows, and the floor
  kCatchUp = 6,  // catch up this partition, then answer
  kSettle = 7,   // settle this partition, then answer
};

struct SyncRequest {
  SyncVerb verb = SyncVerb::kRoots;
  uint32_t epoch = 0;
  PartitionId partition = 0;
  std::vector<PartitionId> partitions;  // kRoots
  std::string behind;                   // kCompare, kList: the first range or row is behind this
  std::string to;                       // kList: inclusive; empty: to the end
  std::vector<RangeDigest> ranges;      // kCompare
  std::vector<std::string> places;      // kPull, kProve
  uint32_t budget_ms = 0;               // kCatchUp, kSettle
};

struct PulledRow {
  std::string place;
  Entry entry;
  std::vector<Attachment> attachments;  // as many of those it needs as fitted
};

struct SyncReply {
  bool epoch_differs = false;  // then nothing else is set but `epoch`
  uint32_t epoch = 0;
  std::vector<uint64_t> roots;    // kRoots
  std::vector<bool> same;         // kCompare
  std::vector<RowMark> marks;     // kList; kProve: of the rows that are there
  bool cut = false;               // kList: there are more; kPull: not all places were looked at
  uint32_t looked_at = 0;         // kPull: places, from the first on
  std::vector<PulledRow> rows;    // kPull
  Rank floor;                     // kProve
  std::vector<uint64_t> numbers;  // kCatchUp, kSettle: a report
};

std::string encode_sync(const SyncRequest& request);
Result<SyncRequest> decode_sync_request(std::string_view bytes);
std::string encode_sync(const SyncReply& reply);
Result<SyncReply> decode_sync_reply(std::string_view bytes);

}  // namespace covey
