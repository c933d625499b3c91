// Entry: a register's row as a replica keeps it, with its rank. Format: docs/formats/registers.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "store/register/rank.h"
#include "store/register/registers.h"

namespace covey {

inline constexpr size_t kEntryOperationsMax = 4;  // more remembered ids turn 503 into 200
inline constexpr size_t kEntryNamesMax = 1024;

// An attachment that the row was accepted with; a re-commit carries it again.
struct AttachmentName {
  VersionId owner;
  std::string suffix;
  bool operator==(const AttachmentName&) const = default;
};

struct Entry {
  Rank rank;
  bool tombstone = false;
  bool committed = false;               // known to be chosen
  std::vector<OperationId> operations;  // newest first
  std::vector<AttachmentName> names;
  std::string row;  // empty for a tombstone
  bool operator==(const Entry&) const = default;
};

std::string encode_entry(const Entry& entry);
Result<Entry> decode_entry(std::string_view bytes);

// What a walk needs of an entry, borrowed from its bytes.
struct EntryView {
  Rank rank;
  bool tombstone = false;
  bool committed = false;
  std::string_view rank_bytes;  // equal exactly when the ranks are equal
  std::string_view row;
};
Result<EntryView> view_entry(std::string_view bytes);

// Sets the committed flag of an encoded entry in place. REQUIRES: view_entry() accepts it.
void mark_committed(std::string& bytes);

// What a replica promised for a partition.
struct PartitionState {
  Ballot promised;
  Rank floor;  // a missing key accepts nothing at or below it
};
std::string encode_partition_state(const PartitionState& state);
Result<PartitionState> decode_partition_state(std::string_view bytes);

// Keys of the metadata store.
std::string register_store_key(const RegisterKey& key);
std::string register_store_prefix(TableId table, PartitionId partition);
std::string partition_store_key(PartitionId partition);
std::string fence_store_key(PartitionId partition, const BucketId& bucket);
std::string attachment_store_key(PartitionId partition, const VersionId& owner,
                                 std::string_view suffix);

}  // namespace covey
