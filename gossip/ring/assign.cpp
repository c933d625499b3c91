// assign_layout: quotas per member (quotas.h), then the cheapest flow that meets them.
//
// As in Garage's layout algorithm (arXiv 2302.13798), partitions, their zones and members form a
// flow network in which a replica that stays where it is costs nothing and one that moves costs 1.
// What stays is a cheapest flow of its size by itself, so only the replicas that must move are
// searched for, and the result moves the least that the quotas allow. A second, smaller network
// per place in the list hands out who is asked first, evenly.
#include <xxhash.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/core/check.h"
#include "gossip/ring/flow.h"
#include "gossip/ring/layout.h"
#include "gossip/ring/quotas.h"

namespace covey {
namespace {

// Partition -> member indices, in any order.
using Sets = std::vector<std::vector<uint16_t>>;

Status check_members(const std::vector<Member>& members) {
  if (members.empty()) return fail(ErrorCode::kInvalid, "a layout needs at least one member");
  if (members.size() > kNodesMax)
    return fail(ErrorCode::kInvalid,
                "a layout has at most " + std::to_string(kNodesMax) + " members");
  std::set<std::string_view> names;
  for (size_t i = 0; i < members.size(); ++i) {
    const Member& member = members[i];
    if (member.capacity_bytes == 0)
      return fail(ErrorCode::kInvalid, "node " + member.name + " has capacity 0: set `capacity`");
    if (!names.insert(member.name).second)
      return fail(ErrorCode::kInvalid,
                  "two nodes are named " + member.name + ": set another `name` on one of them");
    if (i > 0 && members[i - 1].id == member.id)
      return fail(ErrorCode::kInvalid, "node " + member.name + " is listed twice");
  }
  return {};
}

// The previous replicas of each partition, as indices into `members`, in their order.
Sets carried_over(const Layout* previous, const std::vector<Member>& members, uint32_t partitions) {
  Sets kept(partitions);
  if (!previous) return kept;
  std::vector<int> index_now;
  for (const Member& old : previous->members) {
    auto at = std::find_if(members.begin(), members.end(),
                           [&](const Member& member) { return member.id == old.id; });
    index_now.push_back(at == members.end() ? -1 : static_cast<int>(at - members.begin()));
  }
  for (uint32_t p = 0; p < partitions; ++p)
    for (uint16_t old : previous->assignment[p])
      if (index_now[old] >= 0) kept[p].push_back(static_cast<uint16_t>(index_now[old]));
  return kept;
}

class Placement {
 public:
  Placement(const QuotaInput& in, std::vector<uint32_t> quota)
      : in_(in),
        members_(static_cast<uint32_t>(in.capacity.size())),
        graph_(2 + in.partitions + in.partitions * in.zones + members_),
        left_(std::move(quota)) {}

  Sets run(const Sets& kept) {
    build(kept);
    for (uint32_t p = 0; p < in_.partitions; ++p)
      for (uint16_t member : kept[p]) take(p, member);
    if (fresh(kept)) place_greedily();
    while (graph_.augment(kSource, kSink)) {
    }
    Sets sets(in_.partitions);
    for (uint32_t p = 0; p < in_.partitions; ++p) {
      for (uint32_t m = 0; m < members_; ++m)
        if (graph_.flow(to_member_[p * members_ + m]) > 0)
          sets[p].push_back(static_cast<uint16_t>(m));
      CHECK(sets[p].size() == in_.spread.copies);
    }
    return sets;
  }

 private:
  static constexpr FlowGraph::Vertex kSource = 0, kSink = 1;
  FlowGraph::Vertex partition_vertex(uint32_t p) const { return 2 + p; }
  FlowGraph::Vertex zone_vertex(uint32_t p, uint32_t z) const {
    return 2 + in_.partitions + p * in_.zones + z;
  }
  FlowGraph::Vertex member_vertex(uint32_t m) const {
    return 2 + in_.partitions + in_.partitions * in_.zones + m;
  }

  void build(const Sets& kept) {
    for (uint32_t m = 0; m < members_; ++m)
      to_sink_.push_back(
          graph_.add_edge(member_vertex(m), kSink, static_cast<int32_t>(left_[m]), 0));
    for (uint32_t p = 0; p < in_.partitions; ++p) {
      from_source_.push_back(graph_.add_edge(kSource, partition_vertex(p),
                                             static_cast<int32_t>(in_.spread.copies), 0));
      for (uint32_t z = 0; z < in_.zones; ++z)
        to_zone_.push_back(graph_.add_edge(partition_vertex(p), zone_vertex(p, z),
                                           static_cast<int32_t>(in_.spread.per_zone), 0));
      for (uint32_t m = 0; m < members_; ++m) {
        bool stays = std::find(kept[p].begin(), kept[p].end(), m) != kept[p].end();
        to_member_.push_back(
            graph_.add_edge(zone_vertex(p, in_.zone[m]), member_vertex(m), 1, stays ? 0 : 1));
      }
    }
  }

  // Gives the partition a replica on the member if every limit allows it.
  bool take(uint32_t p, uint32_t m) {
    const FlowGraph::Edge path[] = {from_source_[p], to_zone_[p * in_.zones + in_.zone[m]],
                                    to_member_[p * members_ + m], to_sink_[m]};
    for (FlowGraph::Edge edge : path)
      if (graph_.room(edge) == 0) return false;
    for (FlowGraph::Edge edge : path) graph_.seed(edge);
    --left_[m];
    return true;
  }

  static bool fresh(const Sets& kept) {
    return std::all_of(kept.begin(), kept.end(), [](const auto& set) { return set.empty(); });
  }

  // With nothing to keep every placement costs the same, so a head start is safe. Who has most
  // room goes first; a hash breaks ties, so that members share partitions with many others.
  void place_greedily() {
    std::vector<uint32_t> order(members_);
    for (uint32_t p = 0; p < in_.partitions; ++p) {
      std::vector<std::pair<uint64_t, uint64_t>> rank(members_);
      for (uint32_t m = 0; m < members_; ++m) {
        uint32_t seed[2] = {p, m};
        rank[m] = {UINT64_MAX - left_[m], XXH3_64bits(seed, sizeof seed)};
        order[m] = m;
      }
      std::sort(order.begin(), order.end(),
                [&](uint32_t a, uint32_t b) { return rank[a] < rank[b]; });
      uint32_t taken = 0;
      for (uint32_t m : order) {
        if (taken == in_.spread.copies) break;
        if (take(p, m)) ++taken;
      }
    }
  }

  const QuotaInput& in_;
  uint32_t members_;
  FlowGraph graph_;
  std::vector<uint32_t> left_;
  std::vector<FlowGraph::Edge> to_sink_, from_source_, to_zone_, to_member_;
};

// Picks one member out of each partition's `rest` for the next place in the list, so that each
// member is picked for floor or ceiling of its share: occurrences / rest size. Who held the place
// before keeps it where possible.
std::vector<uint16_t> pick_place(const Sets& rest, const Sets& before, size_t place,
                                 uint32_t members) {
  const uint32_t partitions = static_cast<uint32_t>(rest.size());
  const uint32_t size = static_cast<uint32_t>(rest[0].size());
  FlowGraph graph(2 + partitions + members);
  std::vector<uint32_t> occurs(members, 0);
  std::vector<FlowGraph::Edge> to_sink, from_source;
  std::vector<std::vector<FlowGraph::Edge>> to_member(partitions);
  for (const auto& set : rest)
    for (uint16_t m : set) ++occurs[m];
  for (uint32_t m = 0; m < members; ++m)
    to_sink.push_back(
        graph.add_edge(2 + partitions + m, 1, static_cast<int32_t>(occurs[m] / size), 0));
  for (uint32_t p = 0; p < partitions; ++p) {
    from_source.push_back(graph.add_edge(0, 2 + p, 1, 0));
    for (uint16_t m : rest[p]) {
      bool held = place < before[p].size() && before[p][place] == m;
      FlowGraph::Edge edge = graph.add_edge(2 + p, 2 + partitions + m, 1, held ? 0 : 1);
      to_member[p].push_back(edge);
      if (held && graph.room(to_sink[m]) > 0)
        graph.seed(from_source[p]), graph.seed(edge), graph.seed(to_sink[m]);
    }
  }
  while (graph.augment(0, 1)) {
  }
  // Everybody has the floor of the share now; augmenting never takes it away again.
  for (uint32_t m = 0; m < members; ++m)
    if (occurs[m] % size != 0) graph.raise_capacity(to_sink[m], 1);
  while (graph.augment(0, 1)) {
  }
  std::vector<uint16_t> picked(partitions);
  for (uint32_t p = 0; p < partitions; ++p) {
    CHECK(graph.flow(from_source[p]) == 1);
    for (size_t i = 0; i < rest[p].size(); ++i)
      if (graph.flow(to_member[p][i]) > 0) picked[p] = rest[p][i];
  }
  return picked;
}

Sets ordered(Sets rest, const Sets& before, uint32_t copies, uint32_t members) {
  Sets lists(rest.size());
  for (size_t place = 0; place < copies; ++place) {
    std::vector<uint16_t> picked = pick_place(rest, before, place, members);
    for (size_t p = 0; p < rest.size(); ++p) {
      lists[p].push_back(picked[p]);
      rest[p].erase(std::find(rest[p].begin(), rest[p].end(), picked[p]));
    }
  }
  return lists;
}

QuotaInput quota_input(const std::vector<Member>& members, uint32_t partitions, uint32_t copies,
                       const Sets& kept) {
  QuotaInput in;
  std::map<std::string_view, uint32_t> zones;
  for (const Member& member : members) {
    in.capacity.push_back(member.capacity_bytes);
    in.zone.push_back(
        zones.emplace(member.zone, static_cast<uint32_t>(zones.size())).first->second);
  }
  in.before.resize(members.size());
  for (const auto& set : kept)
    for (uint16_t m : set) ++in.before[m];
  in.zones = static_cast<uint32_t>(zones.size());
  in.partitions = partitions;
  in.spread = spread_over(copies, in.zones);
  return in;
}

void fill_tenures(const Layout* previous, uint32_t epoch, Layout& layout) {
  layout.since.resize(layout.assignment.size());
  for (PartitionId p = 0; p < layout.partitions(); ++p)
    for (uint16_t index : layout.assignment[p]) {
      auto held = previous ? previous->tenure(p, layout.members[index].id) : std::nullopt;
      layout.since[p].push_back(held.value_or(epoch));
    }
}

}  // namespace

Result<Layout> assign_layout(const Layout* previous, std::vector<Member> members,
                             uint32_t partitions, uint32_t epoch) {
  std::sort(members.begin(), members.end(),
            [](const Member& a, const Member& b) { return a.id < b.id; });
  TRY_STATUS(check_members(members));
  if (partitions == 0 || partitions > 65536)
    return fail(ErrorCode::kInvalid, "partitions must be between 1 and 65536");
  if (previous && previous->partitions() != partitions)
    return fail(ErrorCode::kInvalid, "the number of partitions is fixed at bootstrap");

  Layout layout;
  layout.version = previous ? previous->version + 1 : 1;
  layout.copies = std::min<uint32_t>(kCopiesMax, static_cast<uint32_t>(members.size()));
  Sets kept = carried_over(previous, members, partitions);
  QuotaInput in = quota_input(members, partitions, layout.copies, kept);
  Sets sets = Placement(in, replica_quotas(in)).run(kept);
  layout.assignment =
      ordered(std::move(sets), kept, layout.copies, static_cast<uint32_t>(members.size()));
  layout.members = std::move(members);
  fill_tenures(previous, epoch, layout);
  return layout;
}

}  // namespace covey
