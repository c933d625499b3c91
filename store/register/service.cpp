#include "store/register/service.h"

#include <algorithm>

#include "base/core/seeded_bug.h"
#include "store/meta/node_rows.h"
#include "store/register/damage.h"

namespace covey {

namespace {

constexpr Duration kProbeEvery = std::chrono::milliseconds(500);
constexpr Duration kRetryPause = std::chrono::milliseconds(10);

struct Counted {  // one of a bounded number
  explicit Counted(size_t& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  size_t& count_;
};

Reply refuse(ErrorCode code, std::string message) {
  return refusal(Error{code, std::move(message), {}}).reply;
}

Reply reply_of(Result<std::string> result) {
  if (!result) {
    if (result.is(ErrorCode::kStale)) {
      Reply stale;
      stale.answer = Answer::kStale;
      return stale;
    }
    return refusal(result.error()).reply;
  }
  Reply reply;
  reply.text = std::move(*result);
  return reply;
}

}  // namespace

RegisterService::RegisterService(Runtime& runtime, Kv& kv, Topology& topology, Peers& peers,
                                 std::vector<const RegisterTable*> tables)
    : runtime_(runtime),
      kv_(kv),
      topology_(topology),
      peers_(peers),
      tables_(tables),
      acceptor_(kv, tables_),
      self_(topology.self()),
      tag_(node_tag(self_)) {}

Task<Result<std::unique_ptr<RegisterService>>> RegisterService::open(
    Runtime& runtime, Kv& kv, Topology& topology, Peers& peers,
    std::vector<const RegisterTable*> tables) {
  std::unique_ptr<RegisterService> service(
      new RegisterService(runtime, kv, topology, peers, std::move(tables)));
  CO_TRY(std::optional<KvValue> stored, kv.get(node_row_key(kRegisterBootRow)));
  if (stored) {
    Reader r(stored->bytes);
    service->boot_ = r.u32();
    if (!r.done()) co_return fail(ErrorCode::kCorrupt, "the stored boot epoch is malformed");
  }
  if (service->boot_ == 0 || !SEEDED_BUG("register-boot-reused")) ++service->boot_;
  std::string value;
  Writer w(value);
  w.u32(service->boot_);
  WriteBatch batch;
  batch.put(node_row_key(kRegisterBootRow), std::move(value));
  batch.use_reserve();  // a node must start on a full disk, too
  CO_TRY_STATUS(co_await kv.write(std::move(batch)));
  co_return std::move(service);
}

Task<void> RegisterService::stop() {
  scope_.request_stop();
  co_await scope_.join();
}

void RegisterService::on_epoch_change() {
  for (auto& [partition, holding] : holdings_) holding.held = false;
  learnt_.clear();
  ages_.clear();
}

Result<bool> RegisterService::empty() {
  for (const RegisterTable* table : tables_.all()) {
    std::string begin(1, static_cast<char>(table->id()));
    auto it = kv_.scan(begin, behind_prefix(begin));
    if (it->valid()) return false;
    TRY_STATUS(it->status());
  }
  return true;
}

// ---- routing

NodeId RegisterService::route(const Place& place) const {
  for (const NodeId& node : place.all)
    if (healthy(node)) return node;
  for (const NodeId& node : place.all)
    if (!suspects_.contains(node)) return node;
  return place.all.front();
}

void RegisterService::suspect(NodeId node) {
  if (node == self_ || scope_.stop_requested() || !suspects_.insert(node).second) return;
  scope_.spawn(probe(node));
}

// Routing comes back to a node when it answers again.
Task<void> RegisterService::probe(NodeId node) {
  while (true) {
    bool go_on = co_await scope_.sleep(runtime_.clock, kProbeEvery);
    if (!go_on) break;
    Request ping;
    Reply reply = co_await call(node, encode_request(ping), runtime_.clock.after(kFailOverAfter));
    if (reply.answer == Answer::kYes) break;
  }
  suspects_.erase(node);
}

Task<RegisterService::Sent> RegisterService::propose(NodeId to, std::string head,
                                                     TimePoint deadline) {
  auto gather = std::make_shared<Gather>();
  ask(gather, to, std::move(head), deadline);
  co_await more(gather, std::min(deadline, runtime_.clock.after(kFailOverAfter)));
  if (gather->got.empty()) {
    // Slow or gone? A holder that answers a ping is left to finish.
    Request ping;
    Reply pong = co_await call(to, encode_request(ping), runtime_.clock.after(kFailOverAfter));
    if (pong.answer == Answer::kYes) co_await more(gather, deadline);
  }
  Sent sent;
  sent.delivered = true;
  if (gather->got.empty()) co_return sent;
  Reply& reply = gather->got.front().reply;
  bool lost = reply.answer == Answer::kError &&
              (reply.code == ErrorCode::kTimeout || reply.code == ErrorCode::kCancelled ||
               reply.code == ErrorCode::kCorrupt);
  if (reply.answer == Answer::kError && reply.code == ErrorCode::kUnavailable)
    sent.delivered = false;
  sent.answered = !lost && sent.delivered;
  sent.reply = std::move(reply);
  co_return sent;
}

Task<Result<std::string>> RegisterService::mutate(RegisterKey key, Mutation mutation,
                                                  TimePoint deadline) {
  if (in_flight_ >= kRegisterCallsMax || scope_.stop_requested())
    co_return fail(ErrorCode::kOverloaded, "too many writes are under way: try again");
  Counted counted(in_flight_);
  CO_TRY(PlaceRef at, place(key.partition));
  if (at->alone) {
    if (kv_.busy()) co_await relief(deadline);
    co_return co_await execute(std::move(key), std::move(mutation), deadline);
  }
  co_return co_await route_mutation(std::move(key), std::move(mutation), deadline);
}

// 0: not known, or another process may have taken its place since.
uint32_t RegisterService::boot_of(const NodeId& node, uint64_t connection) const {
  auto known = boots_.find(node);
  const bool same =
      known != boots_.end() && connection != 0 && known->second.connection == connection;
  return same ? known->second.boot : 0;
}

Task<Result<std::string>> RegisterService::route_mutation(RegisterKey key, Mutation mutation,
                                                          TimePoint deadline) {
  while (runtime_.clock.now() < deadline && !scope_.stop_requested()) {
    CO_TRY(PlaceRef at, place(key.partition));
    NodeId to = route(*at);
    if (to == self_) {
      if (kv_.busy()) co_await relief(deadline);
      auto done = co_await execute(key, mutation, deadline);
      auto other = std::find_if(at->all.begin(), at->all.end(), [this](const NodeId& node) {
        return node != self_ && healthy(node);
      });
      bool damaged = !done && done.error().detail == kDamagedPromise;
      if (damaged && other == at->all.end())
        co_return fail(done.error().code, done.error().message);
      if (!damaged) co_return done;
      to = *other;
    }
    Request request;
    request.verb = Verb::kPropose;
    request.epoch = at->epoch;
    request.key = key;
    request.operation = mutation.operation;
    request.body = mutation.body;
    request.attachments = mutation.attachments;
    request.fence = mutation.fence;
    Duration left = deadline - runtime_.clock.now();
    request.budget_ms = static_cast<uint32_t>(left.count() * 9 / 10 / 1'000'000);
    const uint64_t connection = peers_.connection(to);
    request.from_boot = boot_;
    request.to_boot = boot_of(to, connection);
    request.number = ++proposals_;
    Sent sent = co_await propose(to, encode_request(request), deadline);
    const bool restarted = sent.answered && sent.reply.answer == Answer::kBoot;
    if (restarted) boots_[to] = {sent.reply.epoch, connection};
    // It has begun anew since it was asked. A copy may have reached it before, and what it did then
    // is not known; unless nobody would have heeded a request to a boot not known.
    const bool another = restarted || (!sent.delivered && peers_.connection(to) != connection);
    if (another && request.to_boot != 0 && !SEEDED_BUG("register-proposal-anew"))
      co_return co_await look_up_elsewhere(at, to, std::move(request), deadline);
    if (restarted) continue;
    if (sent.answered) {
      Reply& reply = sent.reply;
      if (reply.answer == Answer::kYes) co_return reply.text.value_or(std::string());
      if (reply.answer == Answer::kStale)
        co_return fail(ErrorCode::kStale, "the bucket has changed: read it again");
      if (reply.answer == Answer::kError)
        co_return fail(reply.code, std::move(reply.message), std::move(reply.detail));
      co_await pause(kRetryPause);  // the layout is changing
      continue;
    }
    if (sent.delivered) {
      suspect(to);
      co_return co_await look_up_elsewhere(at, to, std::move(request), deadline);
    }
    suspect(to);  // it did nothing: go on with the next replica
    co_await pause(kRetryPause);
  }
  co_return fail(ErrorCode::kUnavailable, "no replica that can write this key answered");
}

// The holder's answer was lost: the operation is looked for, never proposed again.
Task<Result<std::string>> RegisterService::look_up_elsewhere(PlaceRef at, NodeId tried,
                                                             Request request, TimePoint deadline) {
  request.verb = Verb::kLookUp;
  for (const NodeId& node : at->all) {
    if (node == tried || !healthy(node)) continue;
    if (runtime_.clock.now() >= deadline) break;
    if (node == self_) {
      Mutation mutation;
      mutation.operation = request.operation;
      mutation.body = request.body;
      mutation.fence = request.fence;
      auto found = co_await look_up_for(request.key, std::move(mutation), deadline);
      if (found || found.is(ErrorCode::kUnknownOutcome)) co_return found;
      continue;
    }
    request.attachments.clear();
    Duration left = deadline - runtime_.clock.now();
    request.budget_ms = static_cast<uint32_t>(left.count() * 9 / 10 / 1'000'000);
    Reply reply = co_await call(node, encode_request(request), deadline);
    if (reply.answer == Answer::kYes) co_return reply.text.value_or(std::string());
    if (reply.answer == Answer::kError && reply.code == ErrorCode::kUnknownOutcome) break;
  }
  co_return fail(ErrorCode::kUnknownOutcome,
                 "the node that wrote this key stopped answering: read it to see what it holds");
}

// ---- answering

Levels RegisterService::levels() const {
  size_t longest = 0;
  for (const auto& [key, queue] : busy_keys_) longest = std::max(longest, queue.size());
  return {{"register_calls", in_flight_, kRegisterCallsMax},
          {"register_key_queue", longest, kKeyQueueMax},
          {"register_learnt_keys", learnt_.size(), kLearntKeysMax, false},
          {"register_commit_notices", notices_waiting_, kNoticesFlush, false}};
}

Task<Result<PeerMessage>> RegisterService::serve(NodeId from, PeerMessage message) {
  PeerMessage out;
  auto request = decode_request(message.head);
  if (!request) co_return fail(ErrorCode::kInvalid, request.error().message);
  Reply reply;
  if (request->verb == Verb::kPing) {
    out.head = encode_reply(reply);
    co_return out;
  }
  if (request->verb == Verb::kCommitted) {
    for (const CommitNotice& notice : request->notices) heard(notice.key, notice.rank.ballot);
    WriteBatch batch = acceptor_.committed(request->notices);
    if (!batch.empty()) (void)kv_.write_unlogged(std::move(batch));
    co_return out;
  }
  if (request->verb == Verb::kPropose) {
    reply = co_await serve_proposal(from, std::move(*request));
  } else {
    reply = co_await serve_placed(std::move(*request));
  }
  out.head = encode_reply(reply);
  co_return out;
}

// Executes a proposal once; its copies get the first one's answer.
Task<Reply> RegisterService::serve_proposal(NodeId from, Request request) {
  if (request.to_boot != boot_) {
    Reply other;
    other.answer = Answer::kBoot;
    other.epoch = boot_;
    co_return other;
  }
  const uint32_t boot = request.from_boot;
  const uint64_t number = request.number;
  ProposalBook::Met met = proposed_.meet(from, boot, number);
  if (!met.served) co_return refuse(ErrorCode::kTimeout, "a proposal came too late");
  if (!met.first && SEEDED_BUG("register-proposal-twice"))
    co_return co_await serve_placed(std::move(request));
  if (met.first) {
    Reply reply = co_await serve_placed(std::move(request));
    proposed_.finish(from, boot, number, met.served, reply);
    co_return reply;
  }
  TimePoint until = runtime_.clock.after(std::chrono::milliseconds(request.budget_ms));
  bool ended = co_await met.served->done.wait_until(runtime_.clock, until);
  if (!ended) co_return refuse(ErrorCode::kTimeout, "the proposal still runs");
  co_return *met.served->reply;
}

Task<Reply> RegisterService::serve_placed(Request request) {
  const bool writes = request.verb == Verb::kAccept || request.verb == Verb::kPropose;
  if (writes && kv_.busy()) co_await relief(runtime_.clock.after(kReliefMax));
  auto at = place(request.key.partition);
  if (!at || scope_.stop_requested())
    co_return refuse(ErrorCode::kUnavailable, "this node does not serve the partition now");
  if (request.epoch != (*at)->epoch && !SEEDED_BUG("register-epoch-ignored")) {
    Reply other;
    other.answer = Answer::kEpoch;
    other.epoch = (*at)->epoch;
    co_return other;
  }
  if (!(*at)->self_in)
    co_return refuse(ErrorCode::kUnavailable, "this node is no replica of the partition");
  if (request.verb >= Verb::kPropose) co_return co_await serve_holder(std::move(request));
  co_return co_await serve_replica(std::move(request));
}

Task<Reply> RegisterService::serve_replica(Request request) {
  if (request.verb == Verb::kRange) {
    if (auto refused = acceptor_.fenced(request.key.partition, request.fence))
      co_return co_await finish(std::move(*refused));
    KvVersion after = 0;
    Reply reply = range_reply(request, after);
    auto durable = co_await kv_.durable(after);
    co_return durable ? std::move(reply) : refusal(durable.error()).reply;
  }
  // A promise to somebody else ends what this node holds.
  const Ballot ballot = request.verb == Verb::kAccept ? request.entry.rank.ballot : request.ballot;
  Acceptor::Outcome outcome = step(request);
  if (outcome.reply.answer == Answer::kYes &&
      (request.verb == Verb::kAccept || request.verb == Verb::kPrepare)) {
    Holding& held = holding(request.key.partition);
    ++held.foreign;
    if (held.held && held.ballot < ballot) drop(request.key.partition, held.ballot);
    saw(ballot);
  }
  co_return co_await finish(std::move(outcome));
}

Task<Reply> RegisterService::serve_holder(Request request) {
  if (in_flight_ >= kRegisterCallsMax)
    co_return refuse(ErrorCode::kOverloaded, "too many writes are under way: try again");
  Counted counted(in_flight_);
  TimePoint deadline = runtime_.clock.after(std::chrono::milliseconds(request.budget_ms));
  if (request.verb == Verb::kSettle) {
    Status done = co_await settle(std::move(request.key), request.above, deadline);
    co_return done ? Reply() : refusal(done.error()).reply;
  }
  Mutation mutation;
  mutation.operation = request.operation;
  mutation.body = std::move(request.body);
  mutation.attachments = std::move(request.attachments);
  mutation.fence = request.fence;
  if (request.verb == Verb::kLookUp)
    co_return reply_of(co_await look_up_for(std::move(request.key), std::move(mutation), deadline));
  co_return reply_of(co_await execute(std::move(request.key), std::move(mutation), deadline));
}

Task<void> RegisterService::relief(TimePoint deadline) {
  co_await kv_.relief(std::min(deadline, runtime_.clock.after(kReliefMax)));
}

// ---- notices of committed rows

void RegisterService::note_committed(const RegisterKey& key, const Rank& rank) {
  auto at = place(key.partition);
  if (!at) return;
  for (const NodeId& node : (*at)->all) notices_[node].push_back({key, rank});
  if (++notices_waiting_ >= kNoticesFlush) return flush_notices();
  if (flushing_ || scope_.stop_requested()) return;
  flushing_ = true;
  scope_.spawn(flush_later());
}

Task<void> RegisterService::flush_later() {
  co_await scope_.sleep(runtime_.clock, kNoticeDelay);
  flushing_ = false;
  flush_notices();
}

void RegisterService::flush_notices() {
  auto all = std::move(notices_);
  notices_.clear();
  notices_waiting_ = 0;
  for (auto& [node, list] : all) {
    if (node == self_) {
      WriteBatch batch = acceptor_.committed(list);
      if (!batch.empty()) (void)kv_.write_unlogged(std::move(batch));
      continue;
    }
    Request told;
    told.verb = Verb::kCommitted;
    told.epoch = epoch();
    told.notices = std::move(list);
    peers_.tell(node, PeerService::kRegister, encode_request(told));
  }
}

Result<Registers::LocalState> RegisterService::local(const RegisterKey& key) {
  LocalState state;
  TRY(std::optional<KvValue> stored, kv_.get(register_store_key(key)));
  // A row that was here and is not was a tombstone, collected when all had it.
  state.committed = true;
  if (!stored) return state;
  TRY(EntryView view, view_entry(stored->bytes));
  state.committed = view.committed;
  if (!view.tombstone) state.row = std::string(view.row);
  return state;
}

}  // namespace covey
