// The byte form of LayoutState, on disk and on the wire:
//   u8 format (2) | cluster 16 | u32 epoch | u8 joint | layout | layout if joint
//   | varint departed | id* | u64 XXH3 of all before
//   layout = u64 version | u8 copies | varint members | member* | varint partitions
//   | (u16 index, varint since)*
// Decoding accepts only what encoding makes: sorted unique members, distinct indices in range.
#include <xxhash.h>

#include <set>

#include "base/core/codec.h"
#include "gossip/ring/layout.h"

namespace covey {
namespace {

constexpr uint8_t kFormat = 2;
constexpr size_t kChecksumBytes = 8;
constexpr size_t kLabelBytesMax = 255;  // a name or a zone
constexpr uint64_t kPartitionsMax = 65536;
constexpr uint64_t kReplicaBytesMin = 3;

void write_layout(Writer& w, const Layout& layout) {
  w.u64(layout.version);
  w.u8(static_cast<uint8_t>(layout.copies));
  w.varint(layout.members.size());
  for (const Member& member : layout.members) {
    w.raw(member.id.view());
    w.bytes(member.name);
    w.bytes(member.zone);
    w.u64(member.capacity_bytes);
  }
  w.varint(layout.assignment.size());
  for (size_t p = 0; p < layout.assignment.size(); ++p)
    for (size_t i = 0; i < layout.assignment[p].size(); ++i) {
      w.u16(layout.assignment[p][i]);
      w.varint(layout.since.empty() ? 0 : layout.since[p][i]);
    }
}

Error malformed(std::string what) {
  return Error{ErrorCode::kCorrupt, "layout record is malformed: " + std::move(what), {}};
}

Result<std::vector<Member>> read_members(Reader& r) {
  uint64_t count = r.varint();
  if (!r.ok() || count == 0 || count > kNodesMax)
    return tl::unexpected<Error>(malformed("member count"));
  std::vector<Member> members;
  std::set<std::string_view> names;
  for (uint64_t i = 0; i < count; ++i) {
    Member member;
    auto id = NodeId::from_bytes(r.raw(NodeId::kSize));
    std::string_view name = r.bytes(), zone = r.bytes();
    member.capacity_bytes = r.u64();
    if (!r.ok() || !id || name.size() > kLabelBytesMax || zone.size() > kLabelBytesMax ||
        member.capacity_bytes == 0 || !names.insert(name).second)
      return tl::unexpected<Error>(malformed("member"));
    if (!members.empty() && !(members.back().id < *id))
      return tl::unexpected<Error>(malformed("members out of order"));
    member.id = *id;
    member.name = name;
    member.zone = zone;
    members.push_back(std::move(member));
  }
  return members;
}

Result<Layout> read_layout(Reader& r) {
  Layout layout;
  layout.version = r.u64();
  layout.copies = r.u8();
  TRY(layout.members, read_members(r));
  if (layout.copies == 0 || layout.copies > kCopiesMax || layout.copies > layout.members.size())
    return tl::unexpected<Error>(malformed("copies"));
  uint64_t partitions = r.varint();
  if (!r.ok() || partitions == 0 || partitions > kPartitionsMax ||
      r.rest().size() < partitions * layout.copies * kReplicaBytesMin)
    return tl::unexpected<Error>(malformed("partition count"));
  layout.assignment.resize(partitions);
  layout.since.resize(partitions);
  for (uint64_t p = 0; p < partitions; ++p) {
    auto& replicas = layout.assignment[p];
    for (uint32_t i = 0; i < layout.copies; ++i) {
      uint16_t index = r.u16();
      uint64_t since = r.varint();
      if (since > UINT32_MAX) return tl::unexpected<Error>(malformed("tenure"));
      if (index >= layout.members.size()) return tl::unexpected<Error>(malformed("replica index"));
      for (uint16_t other : replicas)
        if (other == index) return tl::unexpected<Error>(malformed("replica twice"));
      replicas.push_back(index);
      layout.since[p].push_back(static_cast<uint32_t>(since));
    }
  }
  if (!r.ok()) return tl::unexpected<Error>(malformed("assignment"));
  return layout;
}

}  // namespace

std::string encode_layout_state(const LayoutState& state) {
  std::string out;
  Writer w(out);
  w.u8(kFormat);
  w.raw(state.cluster.view());
  w.u32(state.epoch);
  w.u8(state.next ? 1 : 0);
  write_layout(w, state.current);
  if (state.next) write_layout(w, *state.next);
  w.varint(state.departed.size());
  for (const NodeId& node : state.departed) w.raw(node.view());
  w.u64(XXH3_64bits(out.data(), out.size()));
  return out;
}

Result<LayoutState> decode_layout_state(std::string_view bytes) {
  if (bytes.size() < 1 + kChecksumBytes) return tl::unexpected<Error>(malformed("too short"));
  std::string_view body = bytes.substr(0, bytes.size() - kChecksumBytes);
  Reader sum(bytes.substr(body.size()));
  Reader r(body);
  if (uint8_t format = r.u8(); format != kFormat)
    return fail(ErrorCode::kInvalid,
                "layout record has format " + std::to_string(format) +
                    ", which this version of covey does not know: upgrade covey on this node");
  if (sum.u64() != XXH3_64bits(body.data(), body.size()))
    return tl::unexpected<Error>(malformed("checksum"));
  LayoutState state;
  auto cluster = ClusterId::from_bytes(r.raw(ClusterId::kSize));
  state.epoch = r.u32();
  uint8_t joint = r.u8();
  if (!r.ok() || !cluster || state.epoch == 0 || joint > 1)
    return tl::unexpected<Error>(malformed("header"));
  state.cluster = *cluster;
  TRY(state.current, read_layout(r));
  if (joint) {
    TRY(Layout next, read_layout(r));
    if (next.partitions() != state.current.partitions())
      return tl::unexpected<Error>(malformed("partition counts differ"));
    state.next = std::move(next);
  }
  uint64_t departed = r.varint();
  if (!r.ok() || departed > kDepartedMax) return tl::unexpected<Error>(malformed("departed"));
  for (uint64_t i = 0; i < departed; ++i) {
    auto id = NodeId::from_bytes(r.raw(NodeId::kSize));
    if (!id) return tl::unexpected<Error>(malformed("departed"));
    state.departed.push_back(*id);
  }
  if (!r.done()) return tl::unexpected<Error>(malformed("trailing bytes"));
  return state;
}

}  // namespace covey
