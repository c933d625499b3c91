#include "tests/sim/cluster/placement.h"

#include <fmt/format.h>

#include <map>
#include <vector>

#include "proto/rows.pb.h"
#include "store/objects/keys.h"
#include "store/register/entry.h"
#include "store/sync/partition_walk.h"
#include "store/sync/purge.h"

namespace covey::sim {
namespace {

using Rows = std::map<std::string, Rank>;  // by place; no tombstones

class Placement {
 public:
  Placement(World& world, const LayoutState& state) : world_(world), state_(state) {}

  std::string look() {
    for (PartitionId p = 0; p < state_.current.partitions() && wrong_.empty(); ++p) {
      partition_ = p;
      look_at_replicas();
      look_at_others();
    }
    return wrong_;
  }

 private:
  void complain(const SimNode& node, const std::string& what) {
    if (wrong_.empty())
      wrong_ = fmt::format("n{}, partition {}: {}", node.number, partition_, what);
  }
  std::vector<SimNode*> replicas(PartitionId partition) const {
    std::vector<SimNode*> nodes;
    for (const NodeId& id : state_.current.replicas(partition))
      nodes.push_back(world_.nodes[machine_of(id)].get());
    return nodes;
  }

  Rows rows_of(SimNode& node) {
    Incarnation& at = *node.now();
    Rows rows;
    PartitionWalk walk(at.kv(), at.storage().registers().tables(), partition_, {});
    for (; walk.valid(); walk.next())
      if (!walk.tombstone()) rows[std::string(walk.place())] = walk.rank();
    if (!walk.status()) complain(node, to_string(walk.status().error()));
    return rows;
  }

  void look_at_replicas() {
    std::vector<SimNode*> nodes = replicas(partition_);
    Rows first = rows_of(*nodes[0]);
    for (SimNode* node : nodes) {
      Rows mine = rows_of(*node);
      if (mine != first)
        complain(*node, fmt::format("{} rows, and n{} has {} or others", mine.size(),
                                    nodes[0]->number, first.size()));
      for (auto& [place, rank] : mine)
        if (static_cast<TableId>(place[0]) == TableId::kHeads) look_at_head(*node, place);
    }
  }

  void look_at_head(SimNode& node, const std::string& place) {
    auto stored = node.now()->kv().get(store_key_of(partition_, place));
    rows::HeadRow head;
    if (!stored || !*stored) return complain(node, "a row has gone");
    auto entry = view_entry((*stored)->bytes);
    if (!entry || !head.ParseFromArray(entry->row.data(), static_cast<int>(entry->row.size())))
      return complain(node, "a head cannot be read");
    auto version = VersionId::from_bytes(head.version());
    if (!version) return complain(node, "a head has no version");
    if (head.inline_body()) look_for(node, VersionId{*version}, std::string(kInlineSuffix));
    for (int i = 0; i < head.chunk_offset_size(); ++i) {
      std::string suffix = manifest_suffix(static_cast<uint32_t>(i));
      rows::ManifestChunk chunk;
      std::string bytes = look_for(node, VersionId{*version}, suffix);
      if (!chunk.ParseFromString(bytes)) complain(node, "a manifest cannot be read");
      for (const rows::ManifestPart& part : chunk.parts())
        for (const rows::Extent& extent : part.extents()) look_at_extent(extent);
    }
    for (const rows::Extent& extent : head.extents()) look_at_extent(extent);
  }

  std::string look_for(SimNode& node, const VersionId& version, const std::string& suffix) {
    auto stored = node.now()->kv().get(attachment_store_key(partition_, version, suffix));
    if (stored && *stored) return std::string((*stored)->bytes);
    complain(node, "an attachment is missing");
    return {};
  }

  void look_at_extent(const rows::Extent& extent) {
    if (!extent.inline_body().empty() || extent.block_bytes() == 0 || extent.size() == 0) return;
    auto version = VersionId::from_bytes(extent.version());
    uint64_t size = extent.block_bytes(), end = extent.offset() + extent.size();
    for (uint64_t i = extent.offset() / size; version && i * size < end; ++i)
      for (SimNode* node : replicas(extent.home())) {
        BlockKey key{extent.home(), {VersionId{*version}, static_cast<uint32_t>(i)}};
        if (!node->now()->storage().blocks().segments().has(key))
          complain(*node,
                   fmt::format("block {} of a version at home in {} is missing", i, extent.home()));
      }
  }

  void look_at_others() {
    for (SimNode* node : world_.in_service()) {
      if (has_node(state_.current.replicas(partition_), node->id)) continue;
      auto empty = partition_is_empty(node->now()->kv(), partition_);
      if (!empty || !*empty) complain(*node, "rows are left, and it is no replica");
      auto blocks = node->now()->storage().blocks().segments().list(partition_, std::nullopt, 1);
      if (!blocks || !blocks->empty()) complain(*node, "blocks are left, and it is no replica");
    }
  }

  World& world_;
  const LayoutState& state_;
  PartitionId partition_ = 0;
  std::string wrong_;
};

}  // namespace

std::string misplaced(World& world) {
  auto state = world.in_service().front()->now()->cluster().layout();
  return Placement(world, *state).look();
}

}  // namespace covey::sim
