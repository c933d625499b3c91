// Settling a partition while the layout is joint, so that the new layout may begin.
//
// Ranges on which a quorum of both sets agrees, and whose rows are all known to be committed, need
// nothing more. Of the others every replica lists its rows; a key whose highest row is not
// committed and held by a quorum of the new set is written again by the partition's holder.
#include <algorithm>
#include <set>

#include "base/core/seeded_bug.h"
#include "store/sync/row_sync.h"

namespace covey {

namespace {

constexpr Duration kSettleStep = std::chrono::seconds(3);

bool majority(const std::vector<NodeId>& set, const std::vector<NodeId>& yes) {
  size_t count = 0;
  for (const NodeId& node : set) count += std::count(yes.begin(), yes.end(), node) > 0 ? 1 : 0;
  return 2 * count > set.size();
}

bool joined(const TableSet& tables, TableId id) {
  const RegisterTable* table = tables.find(id);
  return table && table->joins();
}

}  // namespace

// One replica's list of a range, or its verdict on ranges.
struct RowSync::Listed {
  NodeId node;
  SyncReply reply;
};

Task<void> RowSync::list_at(NodeId node, SyncRequest request, TimePoint deadline,
                            std::vector<Listed>& lists) {
  auto reply = co_await ask(node, std::move(request), deadline);
  if (reply) lists.push_back({node, std::move(*reply)});
}

uint32_t RowSync::settled_epoch(PartitionId partition) const {
  auto it = settled_.find(partition);
  return it == settled_.end() ? 0 : it->second;
}

Task<Result<SettleReport>> RowSync::settle(PartitionId partition, TimePoint deadline) {
  Session session;
  session.partition = partition;
  session.deadline = deadline;
  CO_TRY(session.at, place(partition));
  SettleReport report;
  report.partition = partition;
  report.epoch = session.at.epoch;
  std::string behind;
  bool whole = false;
  while (!whole) {
    if (runtime_.clock.now() >= deadline || stopped_)
      co_return fail(ErrorCode::kTimeout, "settling took longer than it was given");
    CO_TRY(Page page, own_page(partition, behind, false));
    whole = page.whole;
    SyncRequest request;
    request.verb = SyncVerb::kCompare;
    request.epoch = session.at.epoch;
    request.partition = partition;
    request.behind = behind;
    request.ranges = page.ranges;
    std::vector<Listed> verdicts;
    TimePoint asked = runtime_.clock.now();
    TimePoint until = std::min(deadline, runtime_.clock.after(kSyncStep));
    Scope scope;
    for (const NodeId& node : session.at.others)
      scope.spawn(list_at(node, request, until, verdicts));
    // What this replica tells itself must be as durable as what others tell.
    Status durable = co_await kv_.durable(kv_.visible_version());
    co_await scope.join();
    CO_TRY_STATUS(std::move(durable));
    if (!current(session.at))
      co_return fail(ErrorCode::kStale, "the layout has changed: settle again");
    Duration took = runtime_.clock.now() - asked;
    for (size_t i = 0; i < page.ranges.size(); ++i) {
      std::vector<NodeId> same{topology_.self()};
      for (const Listed& one : verdicts)
        if (i < one.reply.same.size() && one.reply.same[i]) same.push_back(one.node);
      const bool agreed = session.at.sets.quorum(same) || SEEDED_BUG("sync-settle-unasked");
      if (!page.committed[i] || !agreed) {
        CO_TRY_STATUS(co_await settle_range(session, report, behind, page.ranges[i].end));
      }
      behind = page.ranges[i].end;
    }
    co_await pace(session, took);
  }
  report.done = report.left == 0 && current(session.at);
  if (report.done) settled_[partition] = report.epoch;
  totals_.settled += report.settled;
  co_return report;
}

Task<Status> RowSync::settle_range(Session& session, SettleReport& report, std::string behind,
                                   std::string to) {
  const ReplicaSets& sets = session.at.sets;
  const std::vector<NodeId>& fresh = sets.next.empty() ? sets.current : sets.next;
  bool more = true;
  while (more) {
    if (runtime_.clock.now() >= session.deadline || stopped_)
      co_return fail(ErrorCode::kTimeout, "settling took longer than it was given");
    SyncRequest request;
    request.verb = SyncVerb::kList;
    request.epoch = session.at.epoch;
    request.partition = session.partition;
    request.behind = behind;
    request.to = to;
    std::vector<Listed> lists;
    TimePoint until = std::min(session.deadline, runtime_.clock.after(kSyncStep));
    Scope scope;
    for (const NodeId& node : session.at.others) scope.spawn(list_at(node, request, until, lists));
    auto own = answer_list(request);
    Status durable = co_await kv_.durable(kv_.visible_version());
    co_await scope.join();
    CO_TRY_STATUS(std::move(durable));
    if (!current(session.at))
      co_return fail(ErrorCode::kStale, "the layout has changed: settle again");
    if (!own) co_return tl::unexpected<Error>(own.error());
    lists.push_back({topology_.self(), std::move(*own)});
    std::vector<NodeId> answered;
    for (const Listed& one : lists) answered.push_back(one.node);
    if (!sets.quorum(answered) && !SEEDED_BUG("sync-settle-below-quorum"))
      co_return fail(ErrorCode::kUnavailable,
                     "no quorum of the partition's replicas in the old and the new layout answers");
    // Only up to the smallest last place of the lists that were cut.
    more = false;
    std::string end = to;
    for (const Listed& one : lists) {
      if (!one.reply.cut || one.reply.marks.empty()) continue;
      if (!more || one.reply.marks.back().place < end) end = one.reply.marks.back().place;
      more = true;
    }
    std::map<std::string, RowMark> highest;
    for (const Listed& one : lists) {
      for (const RowMark& mark : one.reply.marks) {
        if (more && mark.place > end) break;
        auto [at, first] = highest.try_emplace(mark.place, mark);
        if (first) continue;
        if (at->second.rank < mark.rank) at->second = mark;
        if (at->second.rank == mark.rank && mark.committed) at->second.committed = true;
      }
    }
    // Who holds the highest row: a collected tombstone counts where the floor is not below it.
    std::map<std::string, std::vector<NodeId>> holders;
    for (const Listed& one : lists) {
      std::set<std::string_view> there;
      for (const RowMark& mark : one.reply.marks) {
        if (more && mark.place > end) break;
        there.insert(mark.place);
        if (mark.rank == highest[mark.place].rank) holders[mark.place].push_back(one.node);
      }
      for (const auto& [place, mark] : highest)
        if (mark.tombstone && mark.committed && one.reply.floor >= mark.rank &&
            !there.contains(place))
          holders[place].push_back(one.node);
    }
    std::vector<RowMark> open;
    for (const auto& [place, mark] : highest) {
      bool settled = mark.committed && majority(fresh, holders[place]);
      // A row of another rank may know what the highest does not: all that answer are joined.
      if (joined(registers_.tables(), static_cast<TableId>(place[0])))
        settled = settled && holders[place].size() == lists.size();
      if (!settled) open.push_back(mark);
    }
    report.rows += highest.size();
    uint64_t done = 0;
    for (size_t i = 0; i < open.size(); i += kSettlesAtOnce) {
      Scope settles;
      for (size_t k = i; k < std::min(open.size(), i + kSettlesAtOnce); ++k)
        settles.spawn(settle_place(session, open[k].place, open[k], done));
      co_await settles.join();
    }
    report.settled += done;
    report.left += open.size() - done;
    behind = end;
  }
  co_return Status();
}

// `session` and `done` outlive the task: its spawner joins it.
Task<void> RowSync::settle_place(Session& session, std::string place, RowMark highest,
                                 uint64_t& done) {
  TimePoint until = std::min(session.deadline, runtime_.clock.after(kSettleStep));
  auto key = key_of(session.partition, place);
  if (!key) co_return;
  Status settled;
  if (is_fence(place)) {
    Fence fence{BucketId::from_bytes(key->key).value_or(BucketId{}), highest.rank.seq};
    settled = co_await registers_.fence(session.partition, fence, until);
  } else if (joined(registers_.tables(), key->table)) {
    settled = fail(ErrorCode::kUnavailable, "rows of available buckets cannot be spread yet");
    if (spread) settled = co_await spread(std::move(*key), until);
  } else {
    settled = co_await registers_.settle_key(std::move(*key), below(highest.rank), until);
  }
  if (settled) ++done;
}

}  // namespace covey
