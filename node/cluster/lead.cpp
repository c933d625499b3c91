// Cluster: watching over a joint layout until one of the two stands alone.
//
// The new layout starts alone when every key is known to be chosen in it (change.h says how) and
// everybody who is up has done all of his part. Members that are away are waited for a while, then
// no longer: what is acknowledged is on a quorum without them. The leader keeps nothing that the
// next one could not ask for again.
#include <algorithm>

#include "base/core/codec.h"
#include "base/core/log.h"
#include "base/core/seeded_bug.h"
#include "node/cluster/cluster.h"

namespace covey {
namespace {

constexpr Duration kAskAwayEvery = std::chrono::seconds(10);

uint64_t ms(Duration d) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
}

std::string seconds(Duration d) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(d).count()) + " s";
}

}  // namespace

Task<void> Cluster::lead() {
  auto state = register_.state();
  TimePoint now = runtime_.clock.now();
  if (lead_.epoch != state->epoch) {
    lead_ = Lead();
    lead_.epoch = state->epoch;
    lead_.began = now;
    co_await register_.push(everybody());
  }
  if (now < lead_.next_report) co_return;
  lead_.next_report = now + kReportEvery;
  if (!lead_.asked_empty) lead_.empty = co_await old_members_empty();
  // Each time others were asked the change may have ended meanwhile.
  if (register_.state()->epoch != lead_.epoch || scope_.stop_requested()) co_return;
  co_await collect_reports();
  if (register_.state()->epoch != lead_.epoch || scope_.stop_requested()) co_return;

  ChangeVerdict verdict = judge();
  std::string back = why_take_back(verdict);
  if (!back.empty()) {
    log_warn("the change of the layout is taken back: {}", back);
    growth_waits_ = "the change was taken back: " + back;
    Status done = co_await end_joint(false);
    if (!done) log_debug("taking back waits: {}", to_string(done.error()));
  } else if (may_complete(verdict)) {
    Status done = co_await end_joint(true);
    if (!done) log_debug("completing the change waits: {}", to_string(done.error()));
  } else if (!lead_.empty && !lead_.asked_sizes) {
    lead_.asked_sizes = true;
    lead_.bytes = co_await ask_sizes();
  }
}

// The fast case: nothing to move. If a quorum of each partition's replicas held nothing when it
// adopted the joint layout, and so refused everything older, nothing was ever chosen before.
Task<bool> Cluster::old_members_empty() {
  LayoutState state = *register_.state();
  std::vector<NodeId> old_nodes;
  for (const Member& member : state.current.members)
    if (alive(member.id)) old_nodes.push_back(member.id);
  Result<bool> here = data_empty(kv_);
  if (!here || !*here) {
    lead_.asked_empty = true;
    co_return false;
  }
  LayoutRegister::Emptiness found = co_await register_.ask_empty(old_nodes);
  lead_.asked_empty = found.silent.empty();
  for (PartitionId p = 0; p < state.current.partitions(); ++p)
    if (!is_majority(state.current.replicas(p), found.empty)) co_return false;
  co_return true;
}

Task<void> Cluster::collect_reports() {
  const LayoutState state = *register_.state();
  std::set<NodeId> ask;
  for (const Layout* layout : {&state.current, &*state.next})
    for (const Member& member : layout->members) ask.insert(member.id);
  TimePoint now = runtime_.clock.now();
  std::vector<NodeId> nodes;
  for (const NodeId& node : ask) {
    // Those that gossip holds for dead are asked now and then: gossip may be wrong.
    bool try_it = alive(node) || now - lead_.heard[node] > kAskAwayEvery;
    if (!try_it) continue;
    if (!alive(node)) lead_.heard[node] = now - kHeardWithin;
    nodes.push_back(node);
  }
  auto told = co_await register_.ask_details(nodes, LayoutAsk::kReport, encode(lead_.view));
  for (const LayoutRegister::Told& one : told) {
    auto report = decode_node_report(one.detail);
    if (!report || report->epoch != state.epoch) continue;
    lead_.reports[one.from] = std::move(*report);
    lead_.heard[one.from] = runtime_.clock.now();
  }
  // Somebody has not adopted this state, or lost the push.
  if (told.size() < nodes.size()) co_await register_.push(everybody());
}

std::set<NodeId> Cluster::away_members() {
  const LayoutState& state = *register_.state();
  std::set<NodeId> away;
  TimePoint now = runtime_.clock.now();
  for (const Layout* layout : {&state.current, &*state.next})
    for (const Member& member : layout->members) {
      auto heard = lead_.heard.find(member.id);
      Duration quiet = now - (heard == lead_.heard.end() ? lead_.began : heard->second);
      if (alive(member.id) ? quiet > kSilentAfter : quiet >= kHeardWithin) away.insert(member.id);
    }
  std::erase_if(lead_.away_since, [&](const auto& entry) { return !away.contains(entry.first); });
  for (const NodeId& node : away) lead_.away_since.emplace(node, now);
  return away;
}

ChangeVerdict Cluster::judge() {
  ChangeInput input;
  input.state = *register_.state();
  input.reports = lead_.reports;
  input.away = away_members();
  input.bytes = lead_.bytes;
  input.empty = lead_.empty;
  ChangeVerdict verdict = judge_change(input);
  TimePoint now = runtime_.clock.now();
  verdict.view.elapsed_ms = ms(now - lead_.began);
  verdict.view.left_ms = estimate_left_ms(verdict.view);
  if (verdict.cannot_finish == 0) lead_.no_quorum_since = TimePoint();
  if (verdict.cannot_finish > 0 && lead_.no_quorum_since == TimePoint())
    lead_.no_quorum_since = now;
  for (const Member& member : input.state.next->members) {
    auto since = lead_.away_since.find(member.id);
    if (since == lead_.away_since.end()) continue;
    verdict.view.waits = "node " + member.name + " has been away for " +
                         seconds(now - since->second) + " since the change began";
  }
  if (verdict.cannot_serve > 0)
    verdict.view.waits = std::to_string(verdict.cannot_serve) +
                         " partitions have lost their quorum: start the nodes that are down";
  lead_.view = verdict.view;
  return verdict;
}

bool Cluster::may_complete(const ChangeVerdict& verdict) const {
  if (SEEDED_BUG("layout-joint-too-short")) return true;
  if (!verdict.whole) return false;
  TimePoint now = runtime_.clock.now();
  for (const Member& member : register_.state()->next->members) {
    auto since = lead_.away_since.find(member.id);
    if (since != lead_.away_since.end() && now - since->second < kAwayGrace) return false;
  }
  return true;
}

// Why the change is better taken back; empty: it is not.
std::string Cluster::why_take_back(const ChangeVerdict& verdict) {
  const LayoutState& state = *register_.state();
  if (verdict.cannot_serve > 0) return {};  // neither way helps
  TimePoint now = runtime_.clock.now();
  if (verdict.cannot_finish > 0 && now - lead_.no_quorum_since >= kNoQuorumMax)
    return "too few nodes of the new layout are up to take writes";
  for (const Member& member : state.next->members) {
    if (state.current.find(member.id)) continue;
    auto since = lead_.away_since.find(member.id);
    if (since != lead_.away_since.end() && now - since->second >= kJoinerAwayMax)
      return "node " + member.name + ", which was to join, is away";
  }
  return {};
}

// Either layout may follow: while joint every write was chosen in both, and what is older is in the
// old one anyway.
Task<Status> Cluster::end_joint(bool complete) {
  LayoutState base = *register_.state();
  if (!base.joint()) co_return Status();
  LayoutState last = base;
  last.epoch = base.epoch + 1;
  last.next.reset();
  if (complete) {
    last.current = *base.next;
  } else {
    last.current.version = base.next->version + 1;
    std::erase_if(last.departed,
                  [&](const NodeId& node) { return base.current.find(node) != nullptr; });
    for (const Member& member : base.next->members)
      if (!base.current.find(member.id))
        taken_back_[member.id] = runtime_.clock.after(kTakenBackPause);
  }
  CO_TRY_STATUS(co_await register_.propose(std::move(base), std::move(last)));
  announce();
  co_await register_.push(everybody());
  co_return Status();
}

Task<Status> Cluster::revert() {
  if (!register_.state() || !register_.state()->joint())
    co_return fail(ErrorCode::kInvalid, "no change of the layout is under way");
  co_return co_await end_joint(false);
}

Task<Result<std::string>> Cluster::report(LayoutAsk ask, std::string value) {
  if (ask == LayoutAsk::kReport) {
    auto heard = decode_change_view(value);
    if (heard) mover_.hear(*heard);
    co_return encode(mover_.report());
  }
  std::string out;
  if (!mover_.data()) co_return out;
  CO_TRY(std::vector<uint64_t> sizes, co_await mover_.data()->sizes());
  Writer w(out);
  for (uint64_t size : sizes) w.varint(size);
  co_return out;
}

}  // namespace covey
