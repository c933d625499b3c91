#include "store/sync/named_versions.h"

#include "proto/rows.pb.h"
#include "store/objects/keys.h"
#include "store/objects/tables.h"
#include "store/register/entry.h"
#include "store/sync/named_blocks.h"

namespace covey {
namespace {

template <class Extents>
void add_versions(const Extents& extents, std::set<VersionId>& names) {
  for (const rows::Extent& extent : extents) {
    auto version = VersionId::from_bytes(extent.version());
    if (version) names.insert(*version);
  }
}

Status add_garbage(Kv& kv, PartitionId home, std::set<VersionId>& names) {
  auto found = kv.scan(table_begin(TableId::kGarbage), table_end(TableId::kGarbage));
  for (; found->valid(); found->next()) {
    rows::GarbageRow garbage;
    std::string_view value = found->value();
    if (!garbage.ParseFromArray(value.data(), static_cast<int>(value.size())))
      return fail(ErrorCode::kCorrupt, "a garbage row does not decode");
    if (garbage.partition() != home) continue;
    rows::HeadRow head;
    rows::PartRow part;
    bool is_head = is_heads(static_cast<TableId>(garbage.table()));
    if (is_head && head.ParseFromString(garbage.row())) add_versions(head.extents(), names);
    if (!is_head && part.ParseFromString(garbage.row())) add_versions(part.part().extents(), names);
  }
  return found->status();
}

// A copy's claim keeps the data of its source. Where neither it nor anything else here tells which
// parts of a multipart source those are, every part may be.
Status add_claims(Kv& kv, SegmentStore& segments, PartitionId home,
                  const std::vector<SuspectVersion>& suspects, std::set<VersionId>& names) {
  std::set<VersionId> owners;  // of claims that do not say which versions they keep
  std::string prefix = register_store_prefix(TableId::kBlockRefs, home);
  auto rows = kv.scan(prefix, prefix_end(prefix));
  for (; rows->valid(); rows->next()) {
    TRY(EntryView entry, view_entry(rows->value()));
    auto owner =
        VersionId::from_bytes(rows->key().substr(prefix.size()).substr(0, VersionId::kSize));
    if (entry.tombstone || !owner) continue;
    std::vector<VersionId> told = claimed_versions(entry.row);
    names.insert(*owner);
    names.insert(told.begin(), told.end());
    if (told.empty()) owners.insert(*owner);
  }
  TRY_STATUS(rows->status());
  rows.reset();
  bool unknown = false;
  for (const VersionId& owner : owners) {
    std::string manifest = attachment_store_key(home, owner, manifest_suffix(0).substr(0, 1));
    auto chunk = kv.scan(manifest, prefix_end(manifest));
    bool told = chunk->valid() || segments.first_of(home, owner).has_value();
    TRY_STATUS(chunk->status());
    unknown = unknown || !told;
  }
  if (!unknown) return {};
  for (const SuspectVersion& one : suspects) {
    if (one.part) names.insert(one.version);
  }
  return {};
}

}  // namespace

Task<Result<std::set<VersionId>>> named_versions(Loop& loop, Kv& kv, SegmentStore& segments,
                                                 PartitionId home,
                                                 std::vector<SuspectVersion> suspects) {
  std::set<VersionId> wanted, names;
  for (const SuspectVersion& one : suspects) wanted.insert(one.version);
  NamedBlocks blocks(kv, home);
  while (!blocks.done()) {
    CO_TRY(std::vector<NamedBlocks::Named> some, blocks.next());
    for (const NamedBlocks::Named& one : some) {
      if (wanted.contains(one.id.version)) names.insert(one.id.version);
    }
    co_await loop.yield();
  }
  // A row leaves its table for the garbage in one step, so this comes after.
  CO_TRY_STATUS(add_garbage(kv, home, names));
  CO_TRY_STATUS(add_claims(kv, segments, home, suspects, names));
  co_return names;
}

}  // namespace covey
