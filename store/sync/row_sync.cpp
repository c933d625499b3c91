#include "store/sync/row_sync.h"

#include <algorithm>

#include "base/core/log.h"

namespace covey {

namespace {

constexpr Duration kPauseMax = std::chrono::milliseconds(500);
constexpr Duration kBusy = std::chrono::milliseconds(5);
// A row in flight is committed by the time it is looked at again.
constexpr Duration kSettleAfter = std::chrono::milliseconds(100);
constexpr Duration kSettleStep = std::chrono::seconds(3);
constexpr size_t kTakeBytes = 1024 * 1024;  // of one batch, about

}  // namespace

uint32_t budget_until(TimePoint now, TimePoint deadline) {
  int64_t ms = (deadline - now).count() * 9 / 10 / 1'000'000;
  return static_cast<uint32_t>(std::clamp<int64_t>(ms, 1, 1'000'000'000));
}

RowSync::RowSync(Runtime runtime, Kv& kv, RegisterService& registers, const Topology& topology,
                 Peers& peers)
    : runtime_(runtime), kv_(kv), registers_(registers), topology_(topology), peers_(peers) {}

Result<RowSync::Place> RowSync::place(PartitionId partition) const {
  std::shared_ptr<const LayoutState> layout = topology_.layout();
  if (!layout || partition >= layout->current.partitions())
    return fail(ErrorCode::kInvalid, "the layout has no such partition");
  Place at;
  at.epoch = layout->epoch;
  at.sets = replica_sets(*layout, partition);
  at.others = at.sets.all();
  auto self = std::find(at.others.begin(), at.others.end(), topology_.self());
  if (self == at.others.end())
    return fail(ErrorCode::kInvalid, "this node is no replica of the partition");
  at.others.erase(self);
  return at;
}

Task<Result<SyncReply>> RowSync::ask(NodeId node, SyncRequest request, TimePoint deadline) {
  const uint32_t epoch = request.epoch;
  PeerMessage message;
  message.head = encode_sync(request);
  auto raw = co_await peers_.call(node, PeerService::kSync, std::move(message), deadline);
  if (!raw) {
    // What is wrong with the other one's disk must not read as if it were wrong with this one's.
    const bool theirs =
        raw.is(ErrorCode::kCorrupt) || raw.is(ErrorCode::kNoSpace) || raw.is(ErrorCode::kIo);
    co_return fail(theirs ? ErrorCode::kUnavailable : raw.code(), raw.error().message);
  }
  CO_TRY(SyncReply reply, decode_sync_reply(raw->head));
  if (reply.epoch_differs || reply.epoch != epoch)
    co_return fail(ErrorCode::kUnavailable, "the other replica works under another layout epoch");
  co_return std::move(reply);
}

// Half of the time at most is spent on comparing, and less when the other side is busy.
Task<void> RowSync::pace(Session& session, Duration took) {
  if (session.best.count() == 0 || took < session.best) session.best = took;
  bool busy = took > 4 * session.best + kBusy;
  Duration pause = std::min(busy ? 4 * took : took / 2, kPauseMax);
  if (pause.count() > 0) co_await runtime_.clock.sleep(pause);
}

// ---- own rows

Result<RowSync::Page> RowSync::own_page(PartitionId partition, const std::string& behind,
                                        bool attachments) const {
  Page page;
  RangeCutter cutter;
  bool committed = true;
  PartitionWalk walk(kv_, registers_.tables(), partition, behind);
  for (; walk.valid() && cutter.rows() < kSyncPageRows; walk.next()) {
    if (cutter.rows() % kRangeRowsMax == 0) page.committed.push_back(true);
    page.committed.back() = page.committed.back() && walk.committed();
    cutter.add(walk.place(), walk.hash());
    if (!attachments || !walk.committed() || walk.tombstone() || is_fence(walk.place())) continue;
    TRY(bool lacks, lacks_attachments(partition, walk.place(), walk.value()));
    if (lacks) page.incomplete.emplace_back(walk.place());
  }
  TRY_STATUS(walk.status());
  page.whole = !walk.valid();
  page.ranges = cutter.finish(page.whole);
  page.committed.resize(page.ranges.size(), committed);
  return page;
}

Result<RowSync::Marks> RowSync::own_marks(PartitionId partition, const std::string& behind,
                                          const std::string& to, size_t limit) const {
  Marks marks;
  PartitionWalk walk(kv_, registers_.tables(), partition, behind);
  for (; walk.valid() && (to.empty() || walk.place() <= to); walk.next()) {
    if (marks.rows.size() == limit) {
      marks.cut = true;
      break;
    }
    marks.rows.push_back(walk.mark());
  }
  TRY_STATUS(walk.status());
  return marks;
}

std::vector<AttachmentName> RowSync::needed(const RegisterKey& key, const Entry& entry) const {
  std::vector<AttachmentName> names = entry.names;
  const RegisterTable* table = registers_.tables().find(key.table);
  if (entry.tombstone || !table) return names;
  for (auto& [owner, suffix] : table->attachments(entry.row)) {
    AttachmentName name{owner, std::move(suffix)};
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

Result<bool> RowSync::lacks_attachments(PartitionId partition, std::string_view place,
                                        std::string_view value) const {
  TRY(Entry entry, decode_entry(value));
  TRY(RegisterKey key, key_of(partition, place));
  for (const AttachmentName& name : needed(key, entry)) {
    TRY(auto stored, kv_.get(attachment_store_key(partition, name.owner, name.suffix)));
    if (!stored) return true;
  }
  return false;
}

// ---- one partition

Task<Result<RowSyncReport>> RowSync::catch_up(PartitionId partition, TimePoint deadline) {
  Session session;
  session.partition = partition;
  session.deadline = deadline;
  CO_TRY(session.at, place(partition));
  session.report.partition = partition;
  session.report.epoch = session.at.epoch;
  session.report.peers = session.at.others.size();
  const uint64_t changes = registers_.changes(partition);
  auto checked = attachments_checked_.find(partition);
  session.check_attachments = checked == attachments_checked_.end() || checked->second != changes;
  ++totals_.catch_ups;
  std::map<std::string, Unsettled> before;
  for (int round = 0; round < kSyncRoundsMax; ++round) {
    if (runtime_.clock.now() >= deadline || stopped_) break;
    before = std::exchange(session.unsettled, {});
    session.report.left = 0;
    session.report.peers_done = 0;
    session.report.why.clear();
    std::vector<NodeId> done{topology_.self()};
    for (const NodeId& node : session.at.others) {
      Status compared = co_await compare_with(session, node);
      if (!current(session.at))
        co_return fail(ErrorCode::kStale, "the layout has changed: compare again");
      if (compared.is(ErrorCode::kNoSpace) || compared.is(ErrorCode::kCorrupt) ||
          compared.is(ErrorCode::kIo))
        co_return tl::unexpected<Error>(compared.error());
      if (!compared) {
        session.report.why =
            "comparing with " + short_name(node) + ": " + to_string(compared.error());
        log_debug("partition {}: comparing with {}: {}", partition, short_name(node),
                  to_string(compared.error()));
        continue;
      }
      ++session.report.peers_done;
      done.push_back(node);
    }
    session.report.quorum = session.at.sets.quorum(done);
    // Under load some row is always in flight. What was met for the first time in this round was
    // written after the round before, and need not be waited for.
    bool again = round == 0 && !session.unsettled.empty();
    for (const auto& [place, row] : session.unsettled) {
      auto old = before.find(place);
      if (old == before.end() && round > 0) continue;
      again = true;
      if (round == 0 || old->second.seen == row.seen) ++session.report.left;
    }
    if (!again) break;
    co_await settle_rows(session);
    if (round + 1 == kSyncRoundsMax && session.report.why.empty())
      session.report.why = "rows in doubt are not settled";
  }
  // As of the start: what came since may have come behind the walk.
  if (session.check_attachments && session.report.complete())
    attachments_checked_[partition] = changes;
  totals_.rows_pulled += session.report.rows_pulled;
  totals_.attachments_pulled += session.report.attachments_pulled;
  totals_.bytes_pulled += session.report.bytes_pulled;
  totals_.settled += session.report.settled;
  co_return session.report;
}

Task<Result<size_t>> RowSync::bring(PartitionId partition, std::vector<CommitNotice> rows,
                                    TimePoint deadline) {
  Session session;
  session.partition = partition;
  session.deadline = deadline;
  CO_TRY(session.at, place(partition));
  std::vector<std::string> places;
  for (const NodeId& node : session.at.others) {
    places.clear();
    for (const CommitNotice& row : rows) {
      CO_TRY(bool lacking, registers_.acceptor().lacks(row));
      if (lacking) places.push_back(place_of(row.key));
    }
    if (places.empty()) break;
    Status pulled = co_await pull(session, node, places);
    if (!current(session.at))
      co_return fail(ErrorCode::kStale, "the layout has changed: compare again");
    if (pulled.is(ErrorCode::kNoSpace) || pulled.is(ErrorCode::kCorrupt))
      co_return tl::unexpected<Error>(pulled.error());
  }
  if (!session.unsettled.empty()) co_await settle_rows(session);
  size_t left = 0;
  for (const CommitNotice& row : rows) {
    CO_TRY(bool lacking, registers_.acceptor().lacks(row));
    left += lacking ? 1 : 0;
  }
  totals_.rows_pulled += session.report.rows_pulled;
  totals_.attachments_pulled += session.report.attachments_pulled;
  totals_.bytes_pulled += session.report.bytes_pulled;
  co_return left;
}

Task<Status> RowSync::compare_with(Session& session, NodeId node) {
  std::string behind;
  bool whole = false;
  while (!whole) {
    if (runtime_.clock.now() >= session.deadline || stopped_)
      co_return fail(ErrorCode::kTimeout, "comparing took longer than it was given");
    CO_TRY(Page page, own_page(session.partition, behind, session.check_attachments));
    whole = page.whole;
    SyncRequest request;
    request.verb = SyncVerb::kCompare;
    request.epoch = session.at.epoch;
    request.partition = session.partition;
    request.behind = behind;
    request.ranges = page.ranges;
    TimePoint asked = runtime_.clock.now();
    CO_TRY(SyncReply reply,
           co_await ask(node, std::move(request),
                        std::min(session.deadline, runtime_.clock.after(kSyncStep))));
    if (reply.same.size() != page.ranges.size())
      co_return fail(ErrorCode::kInvalid, "an answer about other ranges than asked for");
    Duration took = runtime_.clock.now() - asked;
    for (size_t i = 0; i < page.ranges.size(); ++i) {
      if (!reply.same[i]) {
        CO_TRY_STATUS(co_await bring_range(session, node, behind, page.ranges[i].end));
      }
      behind = page.ranges[i].end;
    }
    if (!page.incomplete.empty()) {
      CO_TRY_STATUS(co_await repair_attachments(session, std::move(page.incomplete)));
    }
    co_await pace(session, took);
  }
  co_return Status();
}

// Takes over what `node` has more of in (behind, to].
Task<Status> RowSync::bring_range(Session& session, NodeId node, std::string behind,
                                  std::string to) {
  bool more = true;
  while (more) {
    if (runtime_.clock.now() >= session.deadline || stopped_)
      co_return fail(ErrorCode::kTimeout, "comparing took longer than it was given");
    SyncRequest request;
    request.verb = SyncVerb::kList;
    request.epoch = session.at.epoch;
    request.partition = session.partition;
    request.behind = behind;
    request.to = to;
    TimePoint asked = runtime_.clock.now();
    CO_TRY(SyncReply theirs,
           co_await ask(node, std::move(request),
                        std::min(session.deadline, runtime_.clock.after(kSyncStep))));
    Duration took = runtime_.clock.now() - asked;
    if (theirs.cut && theirs.marks.empty())
      co_return fail(ErrorCode::kInvalid, "a list that ends before it begins");
    std::string end = theirs.cut ? theirs.marks.back().place : to;
    CO_TRY(Marks mine, own_marks(session.partition, behind, end, 4 * kSyncMarksMax));
    if (mine.cut) {
      end = mine.rows.back().place;
      std::erase_if(theirs.marks, [&end](const RowMark& mark) { return mark.place > end; });
    }
    more = theirs.cut || mine.cut;
    behind = end;
    RowDifferences differ = compare_rows(mine.rows, theirs.marks);
    std::vector<CommitNotice> notices;
    for (const RowMark& mark : differ.committed) {
      CO_TRY(RegisterKey key, key_of(session.partition, mark.place));
      notices.push_back({std::move(key), mark.rank});
    }
    session.report.flagged += notices.size();
    if (current(session.at)) registers_.mark_committed(notices);
    for (const RowMark& mark : differ.unsettled)
      if (session.unsettled.size() < kUnsettledMax)
        session.unsettled.try_emplace(mark.place, Unsettled{mark.rank, false});
    std::vector<std::string> places;
    for (const RowMark& mark : differ.lacking) places.push_back(mark.place);
    if (!places.empty()) {
      CO_TRY_STATUS(co_await pull(session, node, std::move(places)));
    }
    if (more) co_await pace(session, took);
  }
  co_return Status();
}

Task<Status> RowSync::pull(Session& session, NodeId node, std::vector<std::string> places) {
  size_t at = 0;
  while (at < places.size()) {
    SyncRequest request;
    request.verb = SyncVerb::kPull;
    request.epoch = session.at.epoch;
    request.partition = session.partition;
    size_t count = std::min(places.size() - at, kSyncPlacesMax);
    for (size_t i = at; i < at + count; ++i) request.places.push_back(places[i]);
    TimePoint asked = runtime_.clock.now();
    CO_TRY(SyncReply reply,
           co_await ask(node, std::move(request),
                        std::min(session.deadline, runtime_.clock.after(kSyncStep))));
    Duration took = runtime_.clock.now() - asked;
    if (reply.looked_at == 0 || reply.looked_at > count)
      co_return fail(ErrorCode::kInvalid, "an answer about other rows than asked for");
    at += reply.looked_at;
    CO_TRY_STATUS(co_await take(session, std::move(reply.rows)));
    co_await pace(session, took);
  }
  co_return Status();
}

// Joins pulled rows, in batches.
Task<Status> RowSync::take(Session& session, std::vector<PulledRow> rows) {
  std::vector<Fence> fences;
  std::vector<RegisterService::MergeRow> batch;
  size_t bytes = 0, attachments = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    PulledRow& row = rows[i];
    CO_TRY(RegisterKey key, key_of(session.partition, row.place));
    bytes += row.place.size() + row.entry.row.size();
    if (is_fence(row.place)) {
      fences.push_back({BucketId::from_bytes(key.key).value_or(BucketId{}), row.entry.rank.seq});
    } else {
      Status complete = co_await complete_attachments(session, row);
      if (complete) {
        for (const Attachment& one : row.attachments) bytes += one.value.size();
        attachments += row.attachments.size();
        batch.push_back({std::move(key), std::move(row.entry), std::move(row.attachments)});
      } else {
        ++session.report.left;
        session.report.why = "the data of a row: " + to_string(complete.error());
      }
    }
    if (bytes < kTakeBytes && i + 1 < rows.size()) continue;
    std::vector<std::pair<RegisterKey, Rank>> sent;
    for (const auto& one : batch) sent.emplace_back(one.key, one.entry.rank);
    CO_TRY(std::vector<Merged> merged,
           co_await registers_.merge(session.partition, session.at.epoch, std::move(batch)));
    for (size_t k = 0; k < merged.size(); ++k) {
      session.report.rows_pulled += merged[k] == Merged::kTaken ? 1 : 0;
      if (merged[k] != Merged::kFloor) continue;
      session.unsettled[place_of(sent[k].first)] = Unsettled{sent[k].second, true};
    }
    if (!fences.empty()) {
      session.report.rows_pulled += fences.size();
      CO_TRY_STATUS(
          co_await registers_.merge_fences(session.partition, session.at.epoch, std::move(fences)));
    }
    session.report.bytes_pulled += bytes;
    session.report.attachments_pulled += attachments;
    batch.clear(), fences.clear();
    bytes = 0, attachments = 0;
  }
  co_return Status();
}

// The attachments that did not fit into the answer, one by one, from whoever has them. One that no
// replica has any more was reclaimed.
Task<Status> RowSync::complete_attachments(Session& session, PulledRow& row) {
  CO_TRY(RegisterKey key, key_of(session.partition, row.place));
  for (const AttachmentName& name : needed(key, row.entry)) {
    bool here = std::any_of(row.attachments.begin(), row.attachments.end(), [&](const auto& one) {
      return one.owner == name.owner && one.suffix == name.suffix;
    });
    if (here) continue;
    std::string store_key = attachment_store_key(session.partition, name.owner, name.suffix);
    CO_TRY(auto stored, kv_.get(store_key));
    if (stored) continue;
    auto value = co_await registers_.read_attachment(
        session.partition, name.owner, name.suffix,
        std::min(session.deadline, runtime_.clock.after(kSyncStep)));
    if (value.is(ErrorCode::kNotFound)) continue;
    if (!value) co_return tl::unexpected<Error>(value.error());
    row.attachments.push_back({name.owner, name.suffix, std::move(*value)});
  }
  co_return Status();
}

// Own rows whose attachments went to other replicas only.
Task<Status> RowSync::repair_attachments(Session& session, std::vector<std::string> places) {
  for (std::string& place : places) {
    CO_TRY(auto stored, kv_.get(store_key_of(session.partition, place)));
    if (!stored) continue;
    PulledRow row;
    row.place = std::move(place);
    CO_TRY(row.entry, decode_entry(stored->bytes));
    if (!row.entry.committed) continue;
    Status complete = co_await complete_attachments(session, row);
    if (!complete) {
      ++session.report.left;
      session.report.why = "the data of a row: " + to_string(complete.error());
      continue;
    }
    if (row.attachments.empty()) continue;
    std::vector<PulledRow> rows;
    rows.push_back(std::move(row));
    CO_TRY_STATUS(co_await take(session, std::move(rows)));
  }
  co_return Status();
}

// ---- rows that nobody knows to be committed

// `report` outlives the task: its spawner joins it.
Task<void> RowSync::settle_row(RegisterKey key, Rank above, TimePoint deadline,
                               RowSyncReport& report) {
  Status settled = co_await registers_.settle_key(std::move(key), above, deadline);
  if (settled) {
    ++report.settled;
  } else {
    report.why = "a row in doubt is not written again: " + to_string(settled.error());
  }
}

bool RowSync::settled_here(PartitionId partition, const std::string& place,
                           const Unsettled& row) const {
  auto stored = kv_.get(store_key_of(partition, place));
  if (!stored || !*stored) return false;
  auto view = view_entry((*stored)->bytes);
  return view && view->committed && view->rank >= row.seen;
}

Task<void> RowSync::settle_rows(Session& session) {
  co_await runtime_.clock.sleep(kSettleAfter);
  auto next = session.unsettled.begin();
  while (next != session.unsettled.end()) {
    if (runtime_.clock.now() >= session.deadline || stopped_ || !current(session.at)) break;
    TimePoint until = std::min(session.deadline, runtime_.clock.after(kSettleStep));
    Scope scope;
    for (size_t n = 0; n < kSettlesAtOnce && next != session.unsettled.end(); ++next) {
      auto key = key_of(session.partition, next->first);
      if (!key || is_fence(next->first)) continue;
      if (settled_here(session.partition, next->first, next->second)) continue;
      // In doubt: that row or a later one. Kept out by a floor: a later one.
      Rank above = next->second.floored ? next->second.seen : below(next->second.seen);
      scope.spawn(settle_row(std::move(*key), above, until, session.report));
      ++n;
    }
    co_await scope.join();
  }
  // Until all have heard that these rows are committed.
  co_await runtime_.clock.sleep(kSettleAfter);
}

}  // namespace covey
