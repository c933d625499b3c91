// Cluster: start, join, follow; what it tells the storage layers.
#include "node/cluster/cluster.h"

#include <algorithm>

#include "base/core/log.h"

namespace covey {
namespace {

constexpr Duration kUnknownRoundTrip = std::chrono::milliseconds(100);

}  // namespace

Cluster::Cluster(ClusterOptions options, Runtime runtime, Kv& kv, Peers& peers,
                 Membership& membership)
    : options_(std::move(options)),
      runtime_(runtime),
      kv_(kv),
      self_(peers.self()),
      membership_(membership),
      register_(runtime, kv, peers),
      mover_(runtime, kv, *this) {
  peers.serve(PeerService::kLayout, register_);
  register_.on_enter(
      [this](std::vector<PartitionId> partitions) { return mover_.enter(std::move(partitions)); });
  register_.may_vote(options_.may_vote);
  register_.on_report(
      [this](LayoutAsk ask, std::string value) { return report(ask, std::move(value)); });
  register_.on_adopt([this](const LayoutState& state) {
    Status taken = mover_.adopted(state);
    if (!taken)
      log_error("the progress of the layout change is lost: {}", to_string(taken.error()));
  });
}

Task<Status> Cluster::start() {
  CO_TRY_STATUS(register_.load());
  started_ = runtime_.clock.now();
  if (register_.state()) {
    CO_TRY_STATUS(mover_.adopted(*register_.state()));
  }
  if (!register_.state() && !options_.has_seeds) {
    LayoutState first;
    first.cluster = runtime_.rng.id<ClusterId>();
    first.epoch = 1;
    std::vector<Member> members(1);
    members[0] = {self_, options_.meta.name, options_.meta.zone,
                  std::max<uint64_t>(options_.meta.capacity_bytes, 1)};
    CO_TRY(first.current, assign_layout(nullptr, std::move(members), options_.partitions));
    CO_TRY_STATUS(co_await register_.bootstrap(std::move(first)));
    log_info("founded cluster {}", register_.state()->cluster.hex());
  }
  if (!register_.state()) {
    CO_TRY(bool empty, registers_empty(kv_));
    if (!empty)
      co_return fail(ErrorCode::kCorrupt,
                     "the metadata holds rows but no layout: move meta_dir away and start again, "
                     "this node then joins as a new one");
  }
  announce();
  mover_.start(scope_);
  scope_.spawn(run());
  co_return Status();
}

Task<void> Cluster::stop() {
  scope_.request_stop();
  wake_.set();
  ready_.set();
  co_await scope_.join();
}

Task<bool> Cluster::wait_ready(TimePoint deadline) {
  if (!register_.state()) (void)co_await ready_.wait_until(runtime_.clock, deadline);
  co_return register_.state() != nullptr;
}

Task<void> Cluster::run() {
  while (!scope_.stop_requested()) {
    co_await step();
    if (register_.state() && !ready_.is_set()) ready_.set();
    (void)co_await wake_.wait_until(runtime_.clock, runtime_.clock.after(kClusterStep));
    wake_.reset();
  }
}

Task<void> Cluster::step() {
  refresh_views();
  reach_members();
  if (!register_.state()) co_return co_await join();
  co_await pull_newer();
  announce();
  mover_.wake();
  if (options_.may_vote && !options_.may_vote()) co_return;
  if (changing_ || !leads()) co_return;
  if (register_.state()->joint()) {
    changing_ = true;
    co_await lead();
    changing_ = false;
  } else if (options_.auto_layout) {
    co_await stage_when_settled();
  }
}

// A node without a layout adopts that of the one cluster gossip shows.
Task<void> Cluster::join() {
  std::optional<ClusterId> found;
  std::vector<NodeId> ask;
  for (const MemberView& node : *views_) {
    if (node.id == self_ || node.state != MemberState::kAlive || node.meta.layout_epoch == 0)
      continue;
    if (found && *found != node.meta.cluster) {
      if (foreign_.insert(node.id).second)
        log_error(
            "the seeds show two clusters, {} and {}: this node joins neither; keep the seeds of "
            "one",
            found->hex(), node.meta.cluster.hex());
      join_waits_ = "the seeds show two clusters; keep the seeds of one";
      co_return;
    }
    found = node.meta.cluster;
    ask.push_back(node.id);
  }
  for (const NodeId& node : ask) {
    auto state = co_await register_.fetch(node);
    if (scope_.stop_requested()) co_return;
    if (!state || !*state) {
      join_waits_ = "found the cluster, but node " + short_name(node) + " does not answer on rpc" +
                    (state ? "" : ": " + state.error().message);
      continue;
    }
    ClusterId cluster = (*state)->cluster;
    Status adopted = co_await register_.adopt(std::move(**state));
    if (adopted) log_info("joined cluster {} through {}", cluster.hex(), short_name(node));
    if (!adopted) log_error("cannot adopt the layout: {}", to_string(adopted.error()));
    announce();
    co_return;
  }
}

Task<void> Cluster::pull_newer() {
  std::vector<NodeId> newer;
  for (const MemberView& node : *views_) {
    if (node.id == self_ || node.meta.layout_epoch == 0) continue;
    if (node.meta.cluster != register_.state()->cluster)
      refuse_foreign(node);
    else if (node.meta.layout_epoch > register_.state()->epoch &&
             node.state <= MemberState::kSuspect)
      newer.push_back(node.id);
  }
  for (const NodeId& node : newer) {
    auto state = co_await register_.fetch(node);
    if (!state || !*state || (*state)->epoch <= register_.state()->epoch) continue;
    Status adopted = co_await register_.adopt(std::move(**state));
    if (!adopted) log_error("cannot adopt the layout: {}", to_string(adopted.error()));
    co_return;
  }
}

void Cluster::refuse_foreign(const MemberView& node) {
  if (foreign_.size() >= kGossipMembersMax || !foreign_.insert(node.id).second) return;
  log_error(
      "node {} ({}) belongs to cluster {}, this one to {}: two clusters never merge; to move that "
      "node here, empty its meta_dir and data_dirs and start it with seeds",
      node.meta.name, node.meta.gossip.str(), node.meta.cluster.hex(),
      register_.state()->cluster.hex());
}

void Cluster::announce() {
  MemberMeta meta = options_.meta;
  if (auto state = register_.state()) {
    meta.cluster = state->cluster;
    meta.layout_epoch = state->epoch;
    meta.layout_digest = register_.digest();
  }
  if (meta == options_.meta) return;
  options_.meta = meta;
  membership_.update_meta(std::move(meta));
}

void Cluster::set_space(uint64_t capacity_bytes, uint64_t free_bytes) {
  MemberMeta meta = options_.meta;
  meta.capacity_bytes = capacity_bytes;
  meta.free_bytes = free_bytes;
  if (meta == options_.meta) return;
  options_.meta = meta;
  membership_.update_meta(std::move(meta));
}

void Cluster::reach_members() {
  if (!options_.reach) return;
  for (const MemberView& node : *views_) {
    if (node.id == self_ || node.meta.rpc.host.empty() || node.meta.rpc.port == 0) continue;
    Address& known = reached_[node.id];
    if (known == node.meta.rpc) continue;
    known = node.meta.rpc;
    options_.reach(node.id, known);
  }
}

void Cluster::refresh_views() const {
  Gossip::Members fresh = membership_.members();
  if (fresh == views_) return;
  views_ = std::move(fresh);
  view_index_.clear();
  for (size_t i = 0; i < views_->size(); ++i) view_index_.emplace((*views_)[i].id, i);
}

const MemberView* Cluster::view(const NodeId& node) const {
  refresh_views();
  auto at = view_index_.find(node);
  return at == view_index_.end() ? nullptr : &(*views_)[at->second];
}

bool Cluster::alive(const NodeId& node) const {
  if (node == self_) return true;
  const MemberView* known = view(node);
  return known && known->state <= MemberState::kSuspect;
}

// Gossip measures one node after the other: for seconds after a start not all of them. Such a one
// is taken to be as far as the farthest of those that were, so that what is sought is not sought at
// the others alone.
Duration Cluster::round_trip(const NodeId& node) const {
  if (node == self_) return Duration(0);
  const MemberView* known = view(node);
  if (known && known->rtt > Duration::zero()) return known->rtt;
  Duration farthest{0};
  for (const MemberView& other : *views_) farthest = std::max(farthest, other.rtt);
  return farthest > Duration::zero() ? farthest : kUnknownRoundTrip;
}

bool Cluster::same_zone(const NodeId& node) const {
  if (node == self_) return true;
  const MemberView* known = view(node);
  return known && known->meta.zone == options_.meta.zone;
}

std::vector<Cluster::MemberStatus> Cluster::members() const {
  std::vector<MemberStatus> list;
  auto state = register_.state();
  if (!state) return list;
  auto add = [&](const Member& member) {
    MemberStatus status{member,
                        state->current.find(member.id) != nullptr,
                        state->next && state->next->find(member.id),
                        {}};
    if (const MemberView* known = view(member.id)) status.gossip = *known;
    list.push_back(std::move(status));
  };
  for (const Member& member : state->current.members) add(member);
  if (state->next)
    for (const Member& member : state->next->members)
      if (!state->current.find(member.id)) add(member);
  return list;
}

std::string Cluster::waits() const { return register_.state() ? std::string() : join_waits_; }

}  // namespace covey
