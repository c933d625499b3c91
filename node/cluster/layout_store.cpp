#include "node/cluster/layout_store.h"

#include "base/core/codec.h"
#include "store/meta/node_rows.h"

namespace covey {
namespace {

constexpr size_t kPurgeBatchRows = 1000;
// Whose keys go on with the partition, big-endian.
constexpr TableId kPartitionTables[] = {
    TableId::kHeads,     TableId::kUploads,     TableId::kParts,      TableId::kBuckets,
    TableId::kBlockRefs, TableId::kAttachments, TableId::kPartitions, TableId::kFences};

LayoutBallot read_ballot(Reader& r) {
  LayoutBallot ballot;
  ballot.counter = r.u64();
  if (auto id = NodeId::from_bytes(r.raw(NodeId::kSize))) ballot.node = NodeId{*id};
  return ballot;
}

void write_ballot(Writer& w, const LayoutBallot& ballot) {
  w.u64(ballot.counter);
  w.raw(ballot.node.view());
}

std::string encode_set(const PartitionSet& set) {
  std::string bytes;
  Writer w(bytes);
  for (PartitionId partition : set) w.u16(static_cast<uint16_t>(partition));
  return bytes;
}

// From the first table to the last, both included.
Result<bool> nothing_in(Kv& kv, TableId first, TableId last) {
  auto rows = kv.scan(table_begin(first), table_end(last));
  Status read = rows->status();
  if (read.is(ErrorCode::kCorrupt)) return false;  // there is something
  TRY_STATUS(std::move(read));
  return !rows->valid();
}

Task<Status> put(Kv& kv, std::string key, std::string value) {
  WriteBatch batch;
  batch.put(std::move(key), std::move(value));
  batch.use_reserve();  // a full disk must not keep a node from following the layout
  co_return co_await kv.write(std::move(batch));
}

}  // namespace

Result<std::optional<LayoutState>> load_layout(Kv& kv) {
  TRY(auto stored, kv.get(node_row_key("layout")));
  if (!stored) return std::optional<LayoutState>();
  TRY(LayoutState state, decode_layout_state(stored->bytes));
  return std::optional<LayoutState>(std::move(state));
}

Result<LayoutVote> load_vote(Kv& kv, uint32_t epoch) {
  LayoutVote vote;
  vote.epoch = epoch;
  TRY(auto stored, kv.get(node_row_key("layout.vote")));
  if (!stored) return vote;
  Reader r(stored->bytes);
  uint32_t of = r.u32();
  LayoutVote kept{of, read_ballot(r), read_ballot(r), std::string(r.bytes())};
  if (!r.done()) return fail(ErrorCode::kCorrupt, "the stored layout vote is malformed");
  return of == epoch ? kept : vote;
}

Task<Status> store_layout(Kv& kv, LayoutState state, PartitionSet leaving) {
  WriteBatch batch;
  batch.put(node_row_key("layout"), encode_layout_state(state));
  batch.put(node_row_key("layout.leaving"), encode_set(leaving));
  co_return co_await kv.write(std::move(batch));
}

Task<Status> store_vote(Kv& kv, LayoutVote vote) {
  std::string bytes;
  Writer w(bytes);
  w.u32(vote.epoch);
  write_ballot(w, vote.promised);
  write_ballot(w, vote.accepted);
  w.bytes(vote.value);
  return put(kv, node_row_key("layout.vote"), std::move(bytes));
}

Result<PartitionSet> load_leaving(Kv& kv) {
  PartitionSet set;
  TRY(auto stored, kv.get(node_row_key("layout.leaving")));
  if (!stored) return set;
  Reader r(stored->bytes);
  while (r.ok() && !r.rest().empty()) set.insert(r.u16());
  if (!r.done()) return fail(ErrorCode::kCorrupt, "the list of left partitions is malformed");
  return set;
}

Task<Status> store_leaving(Kv& kv, PartitionSet leaving) {
  return put(kv, node_row_key("layout.leaving"), encode_set(leaving));
}

Result<std::string> load_progress(Kv& kv, uint32_t epoch) {
  TRY(auto stored, kv.get(node_row_key("layout.progress")));
  if (!stored) return std::string();
  Reader r(stored->bytes);
  uint32_t of = r.u32();
  if (!r.ok()) return fail(ErrorCode::kCorrupt, "the progress of a layout change is malformed");
  return of == epoch ? std::string(r.rest()) : std::string();
}

Task<Status> store_progress(Kv& kv, uint32_t epoch, std::string bytes) {
  std::string value;
  Writer w(value);
  w.u32(epoch);
  w.raw(bytes);
  return put(kv, node_row_key("layout.progress"), std::move(value));
}

Result<bool> registers_empty(Kv& kv) {
  return nothing_in(kv, TableId::kHeads, TableId::kBlockRefs);
}

Result<bool> data_empty(Kv& kv) {
  for (auto [first, last] : {std::pair(TableId::kHeads, TableId::kAttachments),
                             std::pair(TableId::kBlockIndex, TableId::kBlockIndex)}) {
    TRY(bool empty, nothing_in(kv, first, last));
    if (!empty) return false;
  }
  return true;
}

Task<Status> drop_partition_rows(Kv& kv, PartitionId partition) {
  for (TableId table : kPartitionTables) {
    std::string begin = table_begin(table), end = begin;
    Writer(begin).u16_be(static_cast<uint16_t>(partition));
    if (partition < UINT16_MAX)
      Writer(end).u16_be(static_cast<uint16_t>(partition + 1));
    else
      end = table_end(table);
    for (bool more = true; more;) {
      WriteBatch batch;
      {
        auto rows = kv.scan(begin, end);
        for (; rows->valid() && batch.ops().size() < kPurgeBatchRows; rows->next())
          batch.erase(std::string(rows->key()));
        CO_TRY_STATUS(rows->status());
      }
      more = !batch.empty();
      if (more) {
        CO_TRY_STATUS(co_await kv.write(std::move(batch)));
      }
    }
  }
  co_return Status();
}

}  // namespace covey
