#include "store/sync/named_blocks.h"

#include <algorithm>

#include "base/core/codec.h"
#include "proto/rows.pb.h"
#include "store/available/row.h"
#include "store/objects/keys.h"
#include "store/register/entry.h"

namespace covey {
namespace {

constexpr size_t kRowsAtOnce = 512;
constexpr TableId kNaming[] = {TableId::kHeads, TableId::kParts, TableId::kAvailableHeads,
                               TableId::kAvailableParts, TableId::kAttachments};

using Named = NamedBlocks::Named;

template <class Extents>
void add_blocks(const Extents& extents, PartitionId partition, std::vector<Named>& named) {
  for (const rows::Extent& extent : extents) {
    auto version = VersionId::from_bytes(extent.version());
    if (!extent.inline_body().empty() || extent.home() != partition || !version ||
        extent.block_bytes() == 0 || extent.size() == 0)
      continue;
    uint64_t size = extent.block_bytes(), end = extent.offset() + extent.size();
    for (uint64_t i = extent.offset() / size; i * size < end; ++i)
      named.push_back({{*version, static_cast<uint32_t>(i)}, std::min(size, end - i * size)});
  }
}

// Rows that name blocks in ways this binary does not know are left to newer ones.
void add_named(TableId table, PartitionId partition, std::string_view key, std::string_view value,
               std::vector<Named>& named) {
  auto parsed = [](auto& message, std::string_view bytes) {
    return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  };
  if (table == TableId::kAttachments) {
    std::string_view suffix = key.substr(std::min(key.size(), 3 + VersionId::kSize));
    rows::ManifestChunk chunk;
    if (suffix.size() != manifest_suffix(0).size() || suffix[0] != manifest_suffix(0)[0] ||
        !parsed(chunk, value))
      return;
    for (const auto& part : chunk.parts()) add_blocks(part.extents(), partition, named);
    return;
  }
  auto entry = view_entry(value);
  if (!entry || entry->tombstone) return;
  rows::HeadRow head;
  rows::PartRow part;
  if (is_available(table)) {
    auto row = decode_available(entry->row);
    if (!row) return;
    for (const Sibling& one : row->siblings) {
      if (one.tombstone) continue;
      if (is_heads(table) && parsed(head, one.row)) add_blocks(head.extents(), partition, named);
      if (!is_heads(table) && parsed(part, one.row))
        add_blocks(part.part().extents(), partition, named);
    }
    return;
  }
  if (table == TableId::kHeads && parsed(head, entry->row))
    add_blocks(head.extents(), partition, named);
  if (table == TableId::kParts && parsed(part, entry->row))
    add_blocks(part.part().extents(), partition, named);
}

}  // namespace

Result<std::vector<Named>> NamedBlocks::next() {
  std::vector<Named> named;
  if (done()) return named;
  TableId table = kNaming[table_];
  std::string prefix = register_store_prefix(table, partition_);
  auto rows = kv_.scan(after_.empty() ? prefix : after_ + '\0', prefix_end(prefix));
  for (size_t looked = 0; rows->valid() && looked < kRowsAtOnce; ++looked, rows->next()) {
    add_named(table, partition_, rows->key(), rows->value(), named);
    after_ = std::string(rows->key());
  }
  TRY_STATUS(rows->status());
  if (!rows->valid()) ++table_, after_.clear();
  return named;
}

}  // namespace covey
