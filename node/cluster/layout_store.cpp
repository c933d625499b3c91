#include "node/cluster/layout_store.h"

#include "base/core/codec.h"
#include "store/meta/keyspace.h"

namespace covey {
namespace {

constexpr size_t kPurgeBatchRows = 1000;

std::string node_key(std::string_view name) {
  std::string key(1, static_cast<char>(TableId::kNode));
  return key.append(name);
}

std::string table_key(uint8_t table) { return std::string(1, static_cast<char>(table)); }

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

Task<Status> put(Kv& kv, std::string key, std::string value) {
  WriteBatch batch;
  batch.put(std::move(key), std::move(value));
  batch.use_reserve();  // a full disk must not keep a node from following the layout
  co_return co_await kv.write(std::move(batch));
}

}  // namespace

Result<std::optional<LayoutState>> load_layout(Kv& kv) {
  TRY(auto stored, kv.get(node_key("layout")));
  if (!stored) return std::optional<LayoutState>();
  TRY(LayoutState state, decode_layout_state(stored->bytes));
  return std::optional<LayoutState>(std::move(state));
}

Result<LayoutVote> load_vote(Kv& kv, uint32_t epoch) {
  LayoutVote vote;
  vote.epoch = epoch;
  TRY(auto stored, kv.get(node_key("layout.vote")));
  if (!stored) return vote;
  Reader r(stored->bytes);
  uint32_t of = r.u32();
  LayoutVote kept{of, read_ballot(r), read_ballot(r), std::string(r.bytes())};
  if (!r.done()) return fail(ErrorCode::kCorrupt, "the stored layout vote is malformed");
  return of == epoch ? kept : vote;
}

Task<Status> store_layout(Kv& kv, LayoutState state) {
  return put(kv, node_key("layout"), encode_layout_state(state));
}

Task<Status> store_vote(Kv& kv, LayoutVote vote) {
  std::string bytes;
  Writer w(bytes);
  w.u32(vote.epoch);
  write_ballot(w, vote.promised);
  write_ballot(w, vote.accepted);
  w.bytes(vote.value);
  return put(kv, node_key("layout.vote"), std::move(bytes));
}

Result<bool> registers_empty(Kv& kv) {
  auto rows = kv.scan(table_key(static_cast<uint8_t>(TableId::kHeads)),
                      table_key(static_cast<uint8_t>(TableId::kBlockRefs) + 1));
  TRY_STATUS(rows->status());
  return !rows->valid();
}

Task<Status> purge_registers(Kv& kv) {
  for (;;) {
    WriteBatch batch;
    {
      auto rows = kv.scan(table_key(static_cast<uint8_t>(TableId::kHeads)),
                          table_key(static_cast<uint8_t>(TableId::kGarbage) + 1));
      for (; rows->valid() && batch.ops().size() < kPurgeBatchRows; rows->next())
        batch.erase(std::string(rows->key()));
      CO_TRY_STATUS(rows->status());
    }
    if (batch.empty()) co_return Status();
    CO_TRY_STATUS(co_await kv.write(std::move(batch)));
  }
}

}  // namespace covey
