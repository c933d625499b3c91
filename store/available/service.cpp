// Writes: who coordinates one, what it changes, when it is acknowledged.
#include "store/available/service.h"

#include <algorithm>

#include "base/core/log.h"

namespace covey {
namespace {

constexpr const char* kStopping = "this node is stopping: ask another one";

}  // namespace

AvailableRows::AvailableRows(Runtime runtime, Kv& kv, RegisterService& registers,
                             const Topology& topology, Peers& peers)
    : runtime_(runtime),
      kv_(kv),
      registers_(registers),
      topology_(topology),
      peers_(peers),
      self_(peers.self()),
      hlc_(peers.self()) {}

Task<void> AvailableRows::stop() {
  scope_.request_stop();
  co_await scope_.join();
}

AvailableRows::Place AvailableRows::place(PartitionId partition) const {
  std::shared_ptr<const LayoutState> layout = topology_.layout();
  Place at;
  at.sets = replica_sets(*layout, partition % layout->current.partitions());
  at.replicas = at.sets.all();
  for (const NodeId& node : at.replicas) {
    if (node == self_) at.self_in = true;
    if (node != self_) at.others.push_back(node);
  }
  return at;
}

bool AvailableRows::healthy(const NodeId& node) const {
  if (node == self_) return true;
  auto suspect = suspects_.find(node);
  if (suspect != suspects_.end() && runtime_.clock.now() < suspect->second) return false;
  return topology_.alive(node);
}

const AvailableTable* AvailableRows::table(TableId id) const {
  const RegisterTable* found = registers_.tables().find(id);
  return found && found->joins() ? static_cast<const AvailableTable*>(found) : nullptr;
}

Task<Result<AvailableReply>> AvailableRows::call(NodeId to, AvailableRequest request,
                                                 TimePoint deadline) {
  PeerMessage message;
  message.head = encode_available_request(request);
  auto answered = co_await peers_.call(to, PeerService::kAvailable, std::move(message), deadline);
  if (answered.is(ErrorCode::kTimeout) || answered.is(ErrorCode::kUnavailable)) {
    suspects_[to] = runtime_.clock.after(kAvailableSuspect);
  } else {
    suspects_.erase(to);
  }
  CO_TRY(PeerMessage raw, std::move(answered));
  co_return decode_available_reply(raw.head);
}

Task<void> AvailableRows::ask_task(AnswersRef answers, NodeId to, AvailableRequest request,
                                   TimePoint deadline) {
  auto reply = co_await call(to, std::move(request), deadline);
  ++answers->done;
  if (reply) answers->got.emplace_back(to, std::move(*reply));
  answers->progress.set();
}

void AvailableRows::ask(const AnswersRef& answers, const NodeId& to,
                        const AvailableRequest& request, TimePoint deadline) {
  answers->asked.push_back(to);
  if (scope_.stop_requested()) {
    ++answers->done;
    return;
  }
  scope_.spawn(ask_task(answers, to, request, deadline));
}

Task<void> AvailableRows::wait(AnswersRef answers, Place at, bool self, TimePoint deadline) {
  TimePoint until = std::min(deadline, runtime_.clock.after(kAvailableWait));
  while (answers->done < answers->asked.size()) {
    std::vector<NodeId> have;
    if (self) have.push_back(self_);
    bool hope = false;  // somebody who is worth waiting for has not answered
    for (const auto& [node, reply] : answers->got) have.push_back(node);
    if (at.sets.quorum(have)) co_return;
    for (const NodeId& node : answers->asked)
      hope = hope || (healthy(node) && std::find(have.begin(), have.end(), node) == have.end());
    if (!hope) co_return;
    answers->progress.reset();
    bool more = co_await answers->progress.wait_until(runtime_.clock, until);
    if (!more) break;
  }
  // Who was not heard of in time is not waited for by the next request.
  if (runtime_.clock.now() < until) co_return;
  for (const NodeId& node : answers->asked) {
    bool heard = std::any_of(answers->got.begin(), answers->got.end(),
                             [&node](const auto& one) { return one.first == node; });
    if (!heard) suspects_[node] = runtime_.clock.after(kAvailableSuspect);
  }
}

Levels AvailableRows::levels() const {
  return {{"available_calls", scope_.running(), kAvailableCallsMax},
          {"available_rows_owed", owed_count_, kOwedMax, false},
          {"available_answers_kept", served_.size(), kServedMax, false}};
}

Task<Result<AvailableRows::Gathered>> AvailableRows::gather(AvailableRequest request,
                                                            TimePoint deadline) {
  Gathered gathered;
  if (scope_.stop_requested()) co_return fail(ErrorCode::kUnavailable, kStopping);
  if (scope_.running() >= kAvailableCallsMax)
    co_return fail(ErrorCode::kOverloaded, "too many requests are under way: try again");
  Place at = place(request.key.partition);
  auto answers = std::make_shared<Answers>();
  TimePoint until = std::min(deadline, runtime_.clock.after(kAvailableCall));
  for (const NodeId& node : at.others) ask(answers, node, request, until);
  auto own = co_await answer(request);
  if (own) gathered.from_replica = at.self_in;
  if (own) gathered.replies.push_back(std::move(*own));
  co_await wait(answers, at, at.self_in, deadline);
  if (scope_.stop_requested()) co_return fail(ErrorCode::kUnavailable, kStopping);
  std::vector<NodeId> have;
  if (at.self_in) have.push_back(self_);
  for (auto& [node, reply] : answers->got) {
    have.push_back(node);
    gathered.from_replica = gathered.from_replica || reply.replica;
    gathered.replies.push_back(reply);
  }
  if (at.sets.quorum(have)) co_return gathered;
  // Below a majority, what others keep for the replicas counts too.
  auto hints = std::make_shared<Answers>();
  for (const Member& member : topology_.layout()->current.members) {
    bool replica = has_node(at.replicas, member.id);
    if (!replica && member.id != self_ && healthy(member.id)) ask(hints, member.id, request, until);
  }
  Place nobody;  // no quorum: all of them are waited for
  if (!hints->asked.empty()) co_await wait(hints, nobody, false, deadline);
  if (scope_.stop_requested()) co_return fail(ErrorCode::kUnavailable, kStopping);
  for (auto& [node, reply] : hints->got) gathered.replies.push_back(reply);
  if (gathered.replies.empty()) co_return fail(ErrorCode::kUnavailable, "no replica answers");
  co_return gathered;
}

// ---- writes

Task<Result<std::string>> AvailableRows::mutate(RegisterKey key, Mutation mutation,
                                                TimePoint deadline) {
  Place at = place(key.partition);
  if (at.self_in) co_return co_await coordinate(std::move(key), std::move(mutation), deadline);
  std::vector<NodeId> order = at.others;
  auto far = [this](const NodeId& node) {
    return std::tuple(!topology_.same_zone(node), topology_.round_trip(node));
  };
  std::stable_sort(order.begin(), order.end(),
                   [&far](const NodeId& a, const NodeId& b) { return far(a) < far(b); });
  for (const NodeId& node : order) {
    if (!healthy(node)) continue;
    AvailableRequest request;
    request.verb = AvailableVerb::kMutate;
    request.key = key;
    request.body = mutation.body;
    request.operation = mutation.operation;
    request.attachments = mutation.attachments;
    request.budget_ms = static_cast<uint32_t>(kAvailableWait.count() / 1'000'000);
    TimePoint until = std::min(deadline, runtime_.clock.after(2 * kAvailableWait));
    auto reply = co_await call(node, std::move(request), until);
    if (reply) co_return reply->text.value_or(std::string());
    // It may do it yet, any time later. Acknowledged by somebody else meanwhile, and replaced by a
    // write that saw it, it would then replace that one: so the client has to ask again.
    if (reply.is(ErrorCode::kTimeout))
      co_return fail(ErrorCode::kUnavailable, "the replica that writes does not answer: try again");
    bool next = reply.is(ErrorCode::kUnavailable) || reply.is(ErrorCode::kNoSpace) ||
                reply.is(ErrorCode::kOverloaded);
    if (!next) co_return tl::unexpected<Error>(std::move(reply).error());
  }
  co_return co_await coordinate(std::move(key), std::move(mutation), deadline);
}

HlcStamp AvailableRows::stamp_above(const AvailableRow& row) {
  HlcStamp stamp = hlc_.tick(runtime_.clock.wall_now());
  const Sibling* top = row.winner();
  // A stamp from the far future moves this key's stamps only, never this node's clock.
  if (top && top->stamp >= stamp) {
    stamp.wall_ms = top->stamp.wall_ms;
    stamp.counter = top->stamp.counter + 1;
  }
  return stamp;
}

void AvailableRows::witness(const AvailableRow& row) {
  const Sibling* top = row.winner();
  if (!top) return;
  auto ahead = std::chrono::duration_cast<std::chrono::milliseconds>(kHlcAheadMax).count();
  if (top->stamp.wall_ms <= runtime_.clock.wall_now().ms + ahead) {
    hlc_.witness(top->stamp);
  } else if (totals_.clock_ahead++ == 0) {
    log_warn("node {} wrote with a clock far ahead of this one's: set the clocks (ntp)",
             short_name(top->stamp.node));
  }
}

// Changes `row` as the mutation says, by an event of `actor`. What the table refuses is returned.
Result<std::string> AvailableRows::change(const AvailableTable& table, const RegisterKey& key,
                                          const Mutation& mutation, AvailableRow& row,
                                          uint64_t actor, WriteBatch& batch) {
  int64_t wall = runtime_.clock.wall_now().ms;
  if (!mutation.body.empty() && mutation.body[0] == kRemoveVersion) {
    auto version = VersionId::from_bytes(std::string_view(mutation.body).substr(1));
    if (!version) return fail(ErrorCode::kInvalid, "a removal names no version");
    (void)row.next_dot(actor, wall);
    row.remove([&version](const Sibling& one) { return one.version == *version; });
    return std::string();
  }
  std::optional<std::string> current;
  if (const std::string* now = row.current()) current = *now;
  TRY(RegisterTable::Write write, table.inner().apply(current, mutation));
  if (write.tombstone && !current) return std::move(write.reply);  // nothing to delete
  Sibling fresh;
  fresh.stamp = stamp_above(row);
  fresh.dot = row.next_dot(actor, wall);
  fresh.tombstone = write.tombstone;
  if (!write.tombstone) fresh.version = table.version_of(write.row);
  if (write.tombstone) fresh.version = runtime_.rng.id<VersionId>();
  fresh.row = write.tombstone ? std::string() : std::move(write.row);
  const Dot top = row.winner() ? row.winner()->dot : Dot{};
  const VersionId version = row.winner() ? row.winner()->version : VersionId{};
  bool keep = table.versions();
  row.write(std::move(fresh), [&](const Sibling& one) {
    return !keep || one.tombstone || one.dot == top || one.version == version;
  });
  trim(table, key, row, batch);
  return std::move(write.reply);
}

// No key keeps more losers than kSiblingsMax: the oldest go, and the log says so.
void AvailableRows::trim(const AvailableTable& table, const RegisterKey& key, AvailableRow& row,
                         WriteBatch& batch) {
  while (row.siblings.size() > kSiblingsMax) {
    const Sibling& oldest = row.siblings.back();
    if (table.log()) {
      ConflictEvent event;
      event.kind = ConflictEvent::Kind::kDropped;
      event.key = key.key;
      event.winner = row.siblings.front().version;
      event.loser = oldest.version;
      table.log()->add(std::move(event), batch);
    }
    row.siblings.pop_back();
  }
}

Task<Result<std::string>> AvailableRows::coordinate(RegisterKey key, Mutation mutation,
                                                    TimePoint deadline) {
  const AvailableTable* of = table(key.table);
  if (!of) co_return fail(ErrorCode::kInvalid, "not a table of available buckets");
  AvailableRequest question;
  question.key = key;
  CO_TRY(Gathered seen, co_await gather(std::move(question), deadline));
  // From here to the write nothing suspends: no other write of this node comes in between.
  Place at = place(key.partition);
  auto bucket = BucketId::from_bytes(std::string_view(key.key).substr(0, BucketId::kSize));
  if (bucket && key.table != TableId::kAvailableParts) {
    CO_TRY(bool closed, sealed(*bucket));
    if (closed) co_return fail(ErrorCode::kStale, "the bucket is being deleted");
  }
  CO_TRY(Known here, known(key, at));
  AvailableRow row = std::move(here.row);
  for (const AvailableReply& reply : seen.replies) {
    for (const AvailableItem& item : reply.items) {
      CO_TRY(AvailableRow other, decode_available(item.row));
      row.join(other);
    }
  }
  witness(row);
  WriteBatch batch;
  uint64_t actor = here.actor;
  if (actor == 0 && at.self_in) {
    CO_TRY(actor, actor_of(key.partition, batch));
  }
  if (actor == 0) actor = runtime_.rng.next() | 1;
  const std::map<uint64_t, uint64_t> before = row.context;
  CO_TRY(std::string reply, change(*of, key, mutation, row, actor, batch));
  if (row.context == before) co_return reply;
  CO_TRY_STATUS(store(key, at, row, actor, mutation.attachments, batch));
  CO_TRY_STATUS(co_await kv_.write(std::move(batch)));
  CO_TRY_STATUS(co_await deliver(std::move(key), encode_available(row),
                                 std::move(mutation.attachments), deadline));
  co_return reply;
}

// Sends a row that is durable here to its replicas. Complete when a majority has it, or when nobody
// else answers: then one copy has to do, which a replica owes to the others, or a hint is.
Task<Status> AvailableRows::deliver(RegisterKey key, std::string row,
                                    std::vector<Attachment> attachments, TimePoint deadline) {
  Place at = place(key.partition);
  if (at.others.empty()) co_return Status();
  AvailableRequest request;
  request.verb = AvailableVerb::kMerge;
  request.key = key;
  request.row = std::move(row);
  request.attachments = std::move(attachments);
  TimePoint until = std::min(deadline, runtime_.clock.after(kAvailableCall));
  auto answers = std::make_shared<Answers>();
  for (const NodeId& node : at.others) ask(answers, node, request, until);
  co_await wait(answers, at, at.self_in, deadline);
  std::vector<NodeId> have;
  if (at.self_in) have.push_back(self_);
  for (const auto& [node, reply] : answers->got) have.push_back(node);
  if (at.self_in)
    for (const NodeId& node : at.others)
      if (!has_node(have, node)) owe(node, key);
  if (at.sets.quorum(have)) co_return Status();
  // Not that nobody else is there: this node no longer asks.
  if (scope_.stop_requested()) co_return fail(ErrorCode::kUnavailable, kStopping);
  ++totals_.fewer_copies;
  if (have.size() + (at.self_in ? 0 : 1) >= 2) co_return Status();
  // A second copy wherever there is room for one.
  for (const Member& member : topology_.layout()->current.members) {
    if (has_node(at.replicas, member.id) || member.id == self_ || !healthy(member.id)) continue;
    AvailableRequest hint = request;
    TimePoint soon = std::min(deadline, runtime_.clock.after(kAvailableWait));
    auto kept = co_await call(member.id, std::move(hint), soon);
    if (kept) break;
  }
  co_return Status();
}

}  // namespace covey
