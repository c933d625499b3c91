#include "node/cluster/change.h"

#include <algorithm>

#include "base/core/codec.h"
#include "base/core/seeded_bug.h"

namespace covey {
namespace {

constexpr size_t kErrorBytesMax = 300;
// What moving a partition costs besides its bytes, so that empty ones count as progress too.
constexpr uint64_t kMoveBytes = 64 * kKiB;

std::string_view cut(std::string_view text) { return text.substr(0, kErrorBytesMax); }

void write_flags(Writer& w, const std::vector<uint8_t>& flags) {
  w.varint(flags.size());
  for (uint8_t one : flags) w.u8(one);
}

std::vector<uint8_t> read_flags(Reader& r) {
  std::string_view bytes = r.bytes();
  return {bytes.begin(), bytes.end()};
}

bool has(const std::map<NodeId, NodeReport>& reports, const NodeId& node, PartitionId partition,
         uint8_t flags) {
  auto at = reports.find(node);
  return at != reports.end() && partition < at->second.partitions.size() &&
         (at->second.partitions[partition] & flags) == flags;
}

std::vector<NodeId> live(const std::vector<NodeId>& nodes, const std::set<NodeId>& away) {
  std::vector<NodeId> up;
  for (const NodeId& node : nodes)
    if (!away.contains(node)) up.push_back(node);
  return up;
}

// Judges one partition that changes; adds what it says about nodes to the view.
class PartitionJudge {
 public:
  PartitionJudge(const ChangeInput& in, ChangeVerdict& out,
                 std::map<NodeId, ChangeView::Node>& nodes)
      : in_(in), out_(out), nodes_(nodes) {}

  void judge(PartitionId p, const ReplicaSets& sets) {
    if (!is_majority(sets.current, live(sets.current, in_.away))) ++out_.cannot_serve;
    if (!is_majority(sets.next, live(sets.next, in_.away))) ++out_.cannot_finish;
    if (in_.empty || !sets.changes()) return;
    uint8_t& flags = out_.view.partitions[p];
    for (const auto& [node, report] : in_.reports)
      if (has(in_.reports, node, p, kSettled)) flags |= kSettled;
    std::vector<NodeId> rows, all;
    bool everybody = true;
    for (const NodeId& node : sets.next) {
      bool rows_here = has(in_.reports, node, p, kRowsHere);
      bool all_here = rows_here && has(in_.reports, node, p, kBlocksHere);
      if (rows_here) rows.push_back(node);
      if (all_here) all.push_back(node);
      if (!rows_here && !in_.away.contains(node)) everybody = false;
      count(p, sets, node, all_here);
    }
    if (everybody && is_majority(sets.next, rows)) flags |= kRowsThere;
    ++out_.view.to_settle;
    if (flags & kSettled) ++out_.view.settled;
    const bool settled = (flags & kSettled) || SEEDED_BUG("layout-unsettled");
    if (!settled || !is_majority(sets.next, all)) out_.safe = false;
  }

 private:
  void count(PartitionId p, const ReplicaSets& sets, const NodeId& node, bool done) {
    ChangeView::Node& shown = nodes_[node];
    if (!done && !in_.away.contains(node)) out_.whole = false;
    if (has_node(sets.current, node)) return;
    uint64_t bytes = p < in_.bytes.size() ? in_.bytes[p] : 0;
    ++shown.moves, shown.bytes += bytes;
    if (done) ++shown.moves_done, shown.bytes_done += bytes;
  }

  const ChangeInput& in_;
  ChangeVerdict& out_;
  std::map<NodeId, ChangeView::Node>& nodes_;
};

}  // namespace

std::string encode(const NodeReport& report) {
  std::string out;
  Writer w(out);
  w.u32(report.epoch);
  w.u8(report.control ? 1 : 0);
  write_flags(w, report.partitions);
  w.bytes(cut(report.error));
  return out;
}

Result<NodeReport> decode_node_report(std::string_view bytes) {
  Reader r(bytes);
  NodeReport report;
  report.epoch = r.u32();
  report.control = r.u8() != 0;
  report.partitions = read_flags(r);
  report.error = r.bytes();
  if (!r.done()) return fail(ErrorCode::kInvalid, "malformed report on a layout change");
  return report;
}

std::string encode(const ChangeView& view) {
  std::string out;
  Writer w(out);
  w.u32(view.epoch);
  write_flags(w, view.partitions);
  w.varint(view.nodes.size());
  for (const ChangeView::Node& node : view.nodes) {
    w.raw(node.id.view());
    w.u8(node.away ? 1 : 0);
    for (uint64_t n :
         {uint64_t{node.moves}, uint64_t{node.moves_done}, node.bytes, node.bytes_done})
      w.varint(n);
    w.bytes(cut(node.error));
  }
  for (uint64_t n :
       {uint64_t{view.to_settle}, uint64_t{view.settled}, view.elapsed_ms, view.left_ms})
    w.varint(n);
  w.bytes(cut(view.waits));
  return out;
}

Result<ChangeView> decode_change_view(std::string_view bytes) {
  Reader r(bytes);
  ChangeView view;
  view.epoch = r.u32();
  view.partitions = read_flags(r);
  uint64_t nodes = r.varint();
  for (uint64_t i = 0; i < nodes && i < kNodesMax && r.ok(); ++i) {
    ChangeView::Node node;
    if (auto id = NodeId::from_bytes(r.raw(NodeId::kSize))) node.id = NodeId{*id};
    node.away = r.u8() != 0;
    node.moves = static_cast<uint32_t>(r.varint());
    node.moves_done = static_cast<uint32_t>(r.varint());
    node.bytes = r.varint();
    node.bytes_done = r.varint();
    node.error = r.bytes();
    view.nodes.push_back(std::move(node));
  }
  view.to_settle = static_cast<uint32_t>(r.varint());
  view.settled = static_cast<uint32_t>(r.varint());
  view.elapsed_ms = r.varint();
  view.left_ms = r.varint();
  view.waits = r.bytes();
  if (!r.done()) return fail(ErrorCode::kInvalid, "malformed view of a layout change");
  return view;
}

uint32_t ChangeView::moves() const {
  uint32_t sum = 0;
  for (const Node& node : nodes) sum += node.moves;
  return sum;
}
uint32_t ChangeView::moves_done() const {
  uint32_t sum = 0;
  for (const Node& node : nodes) sum += node.moves_done;
  return sum;
}
uint64_t ChangeView::bytes() const {
  uint64_t sum = 0;
  for (const Node& node : nodes) sum += node.bytes;
  return sum;
}
uint64_t ChangeView::bytes_done() const {
  uint64_t sum = 0;
  for (const Node& node : nodes) sum += node.bytes_done;
  return sum;
}

ChangeVerdict judge_change(const ChangeInput& in) {
  ChangeVerdict out;
  const Layout& next = *in.state.next;
  out.safe = out.whole = true;
  out.view.epoch = in.state.epoch;
  out.view.partitions.assign(next.partitions(), 0);
  std::map<NodeId, ChangeView::Node> nodes;
  std::vector<NodeId> members, control;
  for (const Member& member : next.members) {
    members.push_back(member.id);
    ChangeView::Node& shown = nodes[member.id];
    shown.id = member.id;
    shown.away = in.away.contains(member.id);
    auto report = in.reports.find(member.id);
    if (report != in.reports.end()) shown.error = report->second.error;
    bool has_control = report != in.reports.end() && report->second.control;
    if (has_control) control.push_back(member.id);
    if (!has_control && !shown.away) out.whole = false;
  }
  if (!is_majority(members, control)) out.safe = false;
  PartitionJudge judge(in, out, nodes);
  for (PartitionId p = 0; p < next.partitions(); ++p) judge.judge(p, replica_sets(in.state, p));
  out.whole = out.whole && out.safe;
  for (auto& [id, node] : nodes) out.view.nodes.push_back(std::move(node));
  return out;
}

uint64_t estimate_left_ms(const ChangeView& view) {
  uint64_t all = view.bytes() + (view.moves() + view.to_settle) * kMoveBytes;
  uint64_t done = view.bytes_done() + (view.moves_done() + view.settled) * kMoveBytes;
  if (done == 0 || view.elapsed_ms == 0 || done > all) return 0;
  double rate = static_cast<double>(done) / static_cast<double>(view.elapsed_ms);
  return static_cast<uint64_t>(static_cast<double>(all - done) / rate);
}

std::vector<Move> moves_of(const Layout& current, const Layout& next) {
  std::vector<Move> moves;
  for (PartitionId p = 0; p < next.partitions(); ++p) {
    std::vector<NodeId> before = current.replicas(p);
    for (const NodeId& node : next.replicas(p))
      if (!has_node(before, node)) moves.push_back({p, node});
  }
  return moves;
}

}  // namespace covey
