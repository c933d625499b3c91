#include "tests/sim/cluster/endangered.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "proto/rows.pb.h"
#include "store/meta/keyspace.h"
#include "store/objects/keys.h"
#include "store/objects/manifest.h"
#include "store/register/entry.h"

namespace covey::sim {
namespace {

struct Held {
  SimNode* node;
  Rank rank;
  std::string row;
};

class Look {
 public:
  Look(World& world, const LayoutState& state) : world_(world), state_(state) {
    for (auto& node : world.nodes)
      if (node->serving()) up_.push_back(node.get());
    for (Change change : world.knobs.changes)
      may_lose_ |= change == Change::kRemoveDead || change == Change::kReplace;
    for (Fault fault : {Fault::kBitFlip, Fault::kMisdirect, Fault::kCutFile, Fault::kRot})
      may_lose_ |= world.knobs.has(fault);
  }

  std::string look() {
    std::map<std::string, std::vector<Held>> heads;
    for (SimNode* node : up_) {
      auto rows = node->now()->kv().scan(table_begin(TableId::kHeads), table_end(TableId::kHeads));
      for (; rows->valid(); rows->next()) {
        auto entry = view_entry(rows->value());
        if (entry && !entry->tombstone)
          heads[std::string(rows->key())].push_back({node, entry->rank, std::string(entry->row)});
      }
    }
    for (const auto& [key, held] : heads) {
      Reader reader(key);
      reader.u8();
      partition_ = reader.u16_be();
      if (partition_ < state_.current.partitions()) look_at(held);
    }
    return wrong_;
  }

 private:
  void complain(const std::string& what) {
    if (wrong_.empty()) wrong_ = fmt::format("partition {}: {}", partition_, what);
  }
  size_t majority(PartitionId partition) const {
    return state_.current.replicas(partition).size() / 2 + 1;
  }

  void look_at(const std::vector<Held>& held) {
    const std::vector<NodeId> replicas = state_.current.replicas(partition_);
    for (const Held& one : held) {
      size_t same = 0;
      for (const Held& other : held)
        same += other.rank == one.rank && has_node(replicas, other.node->id) ? 1 : 0;
      if (same >= majority(partition_)) return look_at_object(one);
    }
  }

  void look_at_object(const Held& held) {
    rows::HeadRow head;
    if (!head.ParseFromString(held.row)) return complain("a head cannot be read");
    auto version = VersionId::from_bytes(head.version());
    if (!version) return complain("a head has no version");
    for (SimNode* node : up_) {
      if (!has_node(state_.current.replicas(partition_), node->id)) continue;
      auto refused = node->now()->storage().blocks().segments().refused_for_good(*version);
      if (refused && *refused)
        complain(fmt::format("n{} gave up the data of an object that stands", node->number));
    }
    if (head.inline_body()) look_for_attachment(*version, std::string(kInlineSuffix));
    for (int i = 0; i < head.chunk_offset_size(); ++i) {
      std::string suffix = manifest_suffix(static_cast<uint32_t>(i));
      look_for_attachment(*version, suffix);
      auto stored = held.node->now()->kv().get(attachment_store_key(partition_, *version, suffix));
      rows::ManifestChunk chunk;
      if (!stored || !*stored || !chunk.ParseFromString((*stored)->bytes)) continue;
      for (const rows::ManifestPart& part : chunk.parts())
        for (const rows::Extent& extent : part.extents()) look_at_extent(extent);
    }
    for (const rows::Extent& extent : head.extents()) look_at_extent(extent);
  }

  void look_for_attachment(const VersionId& version, const std::string& suffix) {
    const std::string key = attachment_store_key(partition_, version, suffix);
    size_t have = count([&key](Incarnation& at) {
      auto stored = at.kv().get(key);
      return !stored || stored->has_value();  // what is damaged is another story
    });
    if (have < majority(partition_))
      complain(fmt::format("attachment {} of {}, which stands, is on {} nodes", suffix[0],
                           version.hex(), have));
  }

  // Nodes that have it, or are down and may.
  template <class Has>
  size_t count(Has has) const {
    size_t have = may_lose_ ? 1 : 0;
    for (auto& node : world_.nodes) have += node->serving() ? has(*node->now()) : node->life() > 0;
    return have;
  }

  void look_at_extent(const rows::Extent& extent) {
    if (!extent.inline_body().empty() || extent.block_bytes() == 0 || extent.size() == 0) return;
    auto version = VersionId::from_bytes(extent.version());
    uint64_t size = extent.block_bytes(), end = extent.offset() + extent.size();
    for (uint64_t i = extent.offset() / size; version && i * size < end; ++i) {
      BlockKey key{extent.home(), {VersionId{*version}, static_cast<uint32_t>(i)}};
      size_t have =
          count([&key](Incarnation& at) { return at.storage().blocks().segments().has(key); });
      if (have < majority(extent.home()))
        complain(fmt::format("block {} of an object that stands is on {} nodes, at home in {}", i,
                             have, extent.home()));
    }
  }

  World& world_;
  const LayoutState& state_;
  std::vector<SimNode*> up_;
  bool may_lose_ = false;  // one machine
  PartitionId partition_ = 0;
  std::string wrong_;
};

}  // namespace

std::string endangered(World& world) {
  std::shared_ptr<const LayoutState> newest;
  for (auto& node : world.nodes) {
    if (!node->serving()) continue;
    auto state = node->now()->cluster().layout();
    if (!newest || state->epoch > newest->epoch) newest = std::move(state);
  }
  return newest ? Look(world, *newest).look() : std::string();
}

}  // namespace covey::sim
