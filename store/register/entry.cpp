#include "store/register/entry.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace covey {

namespace {

constexpr uint8_t kEntryFormat = 1;
constexpr uint8_t kPartitionFormat = 1;
constexpr uint8_t kTombstoneFlag = 1;
constexpr uint8_t kCommittedFlag = 2;
constexpr uint8_t kFlagsKnown = kTombstoneFlag | kCommittedFlag;
constexpr size_t kFlagsOffset = 1;

void write_prefix(Writer& w, TableId table, PartitionId partition) {
  w.u8(static_cast<uint8_t>(table));
  w.u16_be(static_cast<uint16_t>(partition));
}

}  // namespace

uint64_t node_tag(const NodeId& id) { return XXH3_64bits(id.bytes.data(), NodeId::kSize); }

std::string encode_entry(const Entry& entry) {
  std::string out;
  size_t names = 0;
  for (const AttachmentName& name : entry.names) names += 18 + name.suffix.size();
  out.reserve(40 + entry.operations.size() * 16 + names + entry.row.size());
  Writer w(out);
  w.u8(kEntryFormat);
  w.u8(static_cast<uint8_t>((entry.tombstone ? kTombstoneFlag : 0) |
                            (entry.committed ? kCommittedFlag : 0)));
  write_rank(w, entry.rank);
  w.u8(static_cast<uint8_t>(entry.operations.size()));
  for (const OperationId& id : entry.operations) w.raw(id.view());
  w.varint(entry.names.size());
  for (const AttachmentName& name : entry.names) w.raw(name.owner.view()), w.bytes(name.suffix);
  w.raw(entry.row);
  return out;
}

Result<Entry> decode_entry(std::string_view bytes) {
  Reader r(bytes);
  Entry entry;
  if (r.u8() != kEntryFormat) return fail(ErrorCode::kCorrupt, "a register row of unknown format");
  uint8_t flags = r.u8();
  entry.tombstone = flags & kTombstoneFlag;
  entry.committed = flags & kCommittedFlag;
  entry.rank = read_rank(r);
  size_t operations = r.u8();
  if (!r.ok() || (flags & ~kFlagsKnown) != 0 || operations > kEntryOperationsMax)
    return fail(ErrorCode::kCorrupt, "a register row with a malformed head");
  for (size_t i = 0; i < operations; ++i) {
    auto id = OperationId::from_bytes(r.raw(OperationId::kSize));
    if (!id) return fail(ErrorCode::kCorrupt, "a register row that ends in its operations");
    entry.operations.push_back(*id);
  }
  uint64_t names = r.varint();
  if (names > kEntryNamesMax) return fail(ErrorCode::kCorrupt, "a register row with a bad count");
  for (uint64_t i = 0; i < names; ++i) {
    auto owner = VersionId::from_bytes(r.raw(VersionId::kSize));
    std::string_view suffix = r.bytes();
    if (!owner || !r.ok()) return fail(ErrorCode::kCorrupt, "a register row that ends too early");
    entry.names.push_back({*owner, std::string(suffix)});
  }
  if (!r.ok()) return fail(ErrorCode::kCorrupt, "a register row that ends too early");
  entry.row = std::string(r.rest());
  if (entry.tombstone && !entry.row.empty())
    return fail(ErrorCode::kCorrupt, "a tombstone that has a row");
  return entry;
}

Result<EntryView> view_entry(std::string_view bytes) {
  Reader r(bytes);
  EntryView view;
  uint8_t format = r.u8();
  uint8_t flags = r.u8();
  view.tombstone = flags & kTombstoneFlag;
  view.committed = flags & kCommittedFlag;
  std::string_view at_rank = r.rest();
  view.rank = read_rank(r);
  view.rank_bytes = at_rank.substr(0, at_rank.size() - r.rest().size());
  size_t operations = r.u8();
  r.raw(operations * OperationId::kSize);
  uint64_t names = r.varint();
  for (uint64_t i = 0; i < names && r.ok(); ++i) r.raw(VersionId::kSize), r.bytes();
  if (!r.ok() || format != kEntryFormat || (flags & ~kFlagsKnown) != 0)
    return fail(ErrorCode::kCorrupt, "a register row with a malformed head");
  view.row = r.rest();
  return view;
}

void mark_committed(std::string& bytes) {
  CHECK(bytes.size() > kFlagsOffset);
  bytes[kFlagsOffset] = static_cast<char>(bytes[kFlagsOffset] | kCommittedFlag);
}

std::string encode_partition_state(const PartitionState& state) {
  std::string out;
  Writer w(out);
  w.u8(kPartitionFormat);
  write_ballot(w, state.promised);
  write_rank(w, state.floor);
  return out;
}

Result<PartitionState> decode_partition_state(std::string_view bytes) {
  Reader r(bytes);
  PartitionState state;
  uint8_t format = r.u8();
  state.promised = read_ballot(r);
  state.floor = read_rank(r);
  if (!r.done() || format != kPartitionFormat)
    return fail(ErrorCode::kCorrupt, "a partition's promise is malformed");
  return state;
}

std::string register_store_prefix(TableId table, PartitionId partition) {
  std::string out;
  Writer w(out);
  write_prefix(w, table, partition);
  return out;
}

std::string register_store_key(const RegisterKey& key) {
  std::string out;
  out.reserve(3 + key.key.size());
  Writer w(out);
  write_prefix(w, key.table, key.partition);
  w.raw(key.key);
  return out;
}

std::string partition_store_key(PartitionId partition) {
  return register_store_prefix(TableId::kPartitions, partition);
}

std::string fence_store_key(PartitionId partition, const BucketId& bucket) {
  std::string out = register_store_prefix(TableId::kFences, partition);
  out.append(bucket.view());
  return out;
}

std::string attachment_store_key(PartitionId partition, const VersionId& owner,
                                 std::string_view suffix) {
  std::string out = register_store_prefix(TableId::kAttachments, partition);
  out.append(owner.view());
  out.append(suffix);
  return out;
}

}  // namespace covey
