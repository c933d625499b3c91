#include "node/cluster/layout_register.h"

#include <xxhash.h>

#include <algorithm>

#include "base/core/log.h"
#include "base/core/seeded_bug.h"

namespace covey {
namespace {

std::vector<NodeId> ids(const Layout& layout) {
  std::vector<NodeId> nodes;
  for (const Member& member : layout.members) nodes.push_back(member.id);
  return nodes;
}

std::string describe(const LayoutState& state, bool was_joint) {
  std::string text = "layout epoch " + std::to_string(state.epoch) + ": " +
                     std::to_string(state.current.members.size()) + " nodes";
  if (state.joint()) text += ", changing to " + std::to_string(state.next->members.size());
  if (was_joint && !state.joint()) text += " (change complete)";
  return text;
}

}  // namespace

LayoutRegister::LayoutRegister(Runtime runtime, Kv& kv, Peers& peers)
    : runtime_(runtime), kv_(kv), peers_(peers) {}

Status LayoutRegister::load() {
  TRY(auto stored, load_layout(kv_));
  if (!stored) return {};
  bytes_ = encode_layout_state(*stored);
  digest_ = XXH3_64bits(bytes_.data(), bytes_.size());
  // Rows written while joint count as well after a restart: that errs on the safe side.
  TRY(empty_at_adoption_, data_empty(kv_));
  state_ = std::make_shared<const LayoutState>(std::move(*stored));
  return {};
}

void LayoutRegister::on_adopt(std::function<void(const LayoutState&)> callback) {
  on_adopt_.push_back(std::move(callback));
}

Task<Status> LayoutRegister::bootstrap(LayoutState first) {
  CHECK(!state_);
  co_return co_await adopt(std::move(first));
}

Task<Status> LayoutRegister::adopt(LayoutState chosen) {
  co_await turn_.acquire();
  Status done = co_await adopt_in_turn(std::move(chosen));
  turn_.release();
  co_return done;
}

Task<Status> LayoutRegister::adopt_in_turn(LayoutState chosen) {
  if (state_ && state_->cluster != chosen.cluster)
    co_return fail(ErrorCode::kDenied, "this node belongs to cluster " + state_->cluster.hex() +
                                           ", not " + chosen.cluster.hex() +
                                           ": two clusters never merge");
  if (state_ && chosen.epoch <= state_->epoch) co_return Status();
  CO_TRY(PartitionSet leaving, co_await enter_and_leave(chosen));
  CO_TRY_STATUS(co_await store_layout(kv_, chosen, std::move(leaving)));

  // From here to the end is one turn of the loop: no row can be accepted in between, so that
  // 'empty' means empty of everything accepted under a lower epoch.
  bool was_joint = state_ && state_->joint();
  bytes_ = encode_layout_state(chosen);
  digest_ = XXH3_64bits(bytes_.data(), bytes_.size());
  auto fresh = std::make_shared<const LayoutState>(std::move(chosen));
  for (const auto& callback : on_adopt_) callback(*fresh);
  Result<bool> empty = data_empty(kv_);
  empty_at_adoption_ = empty && *empty;
  state_ = std::move(fresh);
  log_info("{}", describe(*state_, was_joint));
  co_return Status();
}

// A partition whose tenure here is another than before starts empty; one that is not this node's
// any more is to be purged. Returns what is to be purged then.
Task<Result<PartitionSet>> LayoutRegister::enter_and_leave(const LayoutState& chosen) {
  CO_TRY(PartitionSet leaving, load_leaving(kv_));
  std::vector<PartitionId> enters;
  for (PartitionId p = 0; state_ && p < chosen.current.partitions(); ++p) {
    auto before = state_->tenure(p, peers_.self()), now = chosen.tenure(p, peers_.self());
    if (now && before != now) enters.push_back(p);
    if (before && !now) leaving.insert(p);
  }
  if (SEEDED_BUG("layout-tenure-ignored")) enters.clear();
  for (PartitionId p : enters) leaving.erase(p);
  if (!enters.empty() && enter_) {
    CO_TRY_STATUS(co_await enter_(std::move(enters)));
  }
  co_return std::move(leaving);
}

LayoutReply LayoutRegister::own_state() const {
  return {LayoutAnswer::kState, bytes_, {}, empty_at_adoption_};
}

Task<Result<PeerMessage>> LayoutRegister::serve(NodeId from, PeerMessage request) {
  CO_TRY(LayoutRequest asked, decode_layout_request(request.head));
  const LayoutAsk ask = asked.ask;
  const std::string base = asked.base;
  std::string value = asked.value;
  co_await turn_.acquire();
  Result<LayoutReply> reply = co_await answer(std::move(asked));
  turn_.release();
  if (!reply) co_return tl::unexpected<Error>(std::move(reply).error());
  // Outside the turn, since it may take a while: nobody's vote waits for it.
  bool report = ask == LayoutAsk::kReport || ask == LayoutAsk::kSizes;
  if (report && reporter_ && reply->state == base) {
    CO_TRY(reply->detail, co_await reporter_(ask, std::move(value)));
  }
  PeerMessage message;
  message.head = encode(*reply);
  co_return message;
}

Task<Result<LayoutReply>> LayoutRegister::answer(LayoutRequest request) {
  if (request.ask == LayoutAsk::kGet) co_return own_state();
  CO_TRY(LayoutState base, decode_layout_state(request.base));
  const uint32_t epoch = base.epoch;
  CO_TRY_STATUS(co_await adopt_in_turn(std::move(base)));
  bool votes = request.ask == LayoutAsk::kPrepare || request.ask == LayoutAsk::kAccept;
  if (request.ask == LayoutAsk::kEmpty && !state_->joint()) {
    LayoutReply reply = own_state();
    CO_TRY(reply.flag, data_empty(kv_));
    co_return reply;
  }
  if (!votes || state_->epoch != epoch) co_return own_state();
  if (!state_->current.find(peers_.self()))
    co_return fail(ErrorCode::kInvalid, "this node is not a member and has no vote");
  if (may_vote_ && !may_vote_())
    co_return fail(ErrorCode::kUnavailable, "it is not known yet whether this node's disk forgot");
  co_return co_await vote(std::move(request), epoch);
}

Task<Result<LayoutReply>> LayoutRegister::vote(LayoutRequest request, uint32_t epoch) {
  CO_TRY(LayoutVote mine, load_vote(kv_, epoch));
  counter_ = std::max(counter_, request.ballot.counter);
  LayoutReply reply;
  // Nobody prepares one ballot twice: a proposer that was started again counts from the beginning,
  // and would offer another value under a ballot that it has used.
  bool again = request.ask == LayoutAsk::kPrepare && request.ballot == mine.promised &&
               !SEEDED_BUG("layout-ballot-reused");
  if (request.ballot < mine.promised || again) {
    reply.answer = LayoutAnswer::kNo;
    reply.ballot = mine.promised;
    co_return reply;
  }
  reply.answer = LayoutAnswer::kYes;
  mine.promised = request.ballot;
  if (request.ask == LayoutAsk::kPrepare) {
    reply.ballot = mine.accepted;
    reply.state = mine.value;
  } else {
    CO_TRY(LayoutState value, decode_layout_state(request.value));
    if (value.cluster != state_->cluster || value.epoch != epoch + 1)
      co_return fail(ErrorCode::kInvalid, "the proposed layout does not follow the current one");
    mine.accepted = request.ballot;
    mine.value = std::move(request.value);
  }
  CO_TRY_STATUS(co_await store_vote(kv_, std::move(mine)));
  co_return reply;
}

Task<void> LayoutRegister::ask_one(Answers& into, NodeId node, std::string head) {
  PeerMessage message;
  message.head = std::move(head);
  auto raw = co_await peers_.call(node, PeerService::kLayout, std::move(message),
                                  runtime_.clock.after(kLayoutCallTimeout));
  if (raw) {
    into.push_back({node, decode_layout_reply(raw->head)});
  } else {
    into.push_back({node, tl::unexpected<Error>(raw.error())});
  }
}

Task<LayoutRegister::Answers> LayoutRegister::ask_all(std::vector<NodeId> nodes,
                                                      LayoutRequest request) {
  Answers answers;
  Scope scope;
  std::string head = encode(request);
  for (const NodeId& node : nodes) scope.spawn(ask_one(answers, node, head));
  co_await scope.join();
  co_return answers;
}

Task<Status> LayoutRegister::propose(LayoutState base, LayoutState value) {
  std::string mine = encode_layout_state(value);
  for (int i = 0; i < kLayoutAttemptsMax; ++i) {
    if (!state_ || state_->epoch != base.epoch)
      co_return fail(ErrorCode::kStale, "the layout has changed meanwhile");
    CO_TRY(bool chosen, co_await attempt(base, mine));
    if (chosen)
      co_return bytes_ == mine ? Status()
                               : Status(fail(ErrorCode::kConflict, "another layout was chosen"));
    // Somebody else proposes too: let one of us finish.
    co_await runtime_.clock.sleep(
        std::chrono::milliseconds(50 + runtime_.rng.below(200) * (i + 1)));
  }
  co_return fail(ErrorCode::kUnavailable, "others propose layouts at the same time");
}

Task<Result<bool>> LayoutRegister::attempt(LayoutState base, std::string mine) {
  const std::vector<NodeId> nodes = ids(base.current);
  LayoutRequest request;
  request.base = encode_layout_state(base);
  request.ballot.counter = ++counter_;
  request.ballot.node = peers_.self();
  request.value = std::move(mine);
  LayoutBallot highest;
  for (LayoutAsk phase : {LayoutAsk::kPrepare, LayoutAsk::kAccept}) {
    request.ask = phase;
    Answers answers = co_await ask_all(nodes, request);
    std::vector<NodeId> yes;
    bool refused = false;
    for (Answered& answered : answers) {
      if (!answered.reply) continue;
      LayoutReply& reply = *answered.reply;
      counter_ = std::max(counter_, reply.ballot.counter);
      if (reply.answer == LayoutAnswer::kState) {
        CO_TRY(LayoutState newer, decode_layout_state(reply.state));
        CO_TRY_STATUS(co_await adopt(std::move(newer)));
        co_return fail(ErrorCode::kStale, "the layout has changed meanwhile");
      }
      if (reply.answer == LayoutAnswer::kNo) refused = true;
      if (reply.answer != LayoutAnswer::kYes) continue;
      yes.push_back(answered.from);
      // What may have been chosen already must be proposed again, not ours.
      if (phase == LayoutAsk::kPrepare && !reply.state.empty() && highest < reply.ballot &&
          !SEEDED_BUG("layout-accepted-ignored"))
        highest = reply.ballot, request.value = reply.state;
    }
    if (!is_majority(nodes, yes)) {
      if (refused) co_return false;
      co_return fail(ErrorCode::kUnavailable, "no majority of the layout's members answers");
    }
  }
  CO_TRY(LayoutState chosen, decode_layout_state(request.value));
  CO_TRY_STATUS(co_await adopt(std::move(chosen)));
  co_return true;
}

Task<Result<std::optional<LayoutState>>> LayoutRegister::fetch(NodeId from) {
  Answers answers;
  LayoutRequest request;
  co_await ask_one(answers, from, encode(request));
  if (!answers[0].reply) co_return tl::unexpected<Error>(answers[0].reply.error());
  if (answers[0].reply->state.empty()) co_return std::optional<LayoutState>();
  CO_TRY(LayoutState state, decode_layout_state(answers[0].reply->state));
  co_return std::optional<LayoutState>(std::move(state));
}

Task<void> LayoutRegister::push(std::vector<NodeId> to) {
  LayoutRequest request;
  request.ask = LayoutAsk::kPush;
  request.base = bytes_;
  Answers ignored = co_await ask_all(std::move(to), std::move(request));
}

Task<LayoutRegister::Emptiness> LayoutRegister::ask_empty(std::vector<NodeId> nodes) {
  LayoutRequest request;
  request.ask = LayoutAsk::kEmpty;
  request.base = bytes_;
  const std::string asked_under = bytes_;
  Answers answers = co_await ask_all(std::move(nodes), std::move(request));
  Emptiness result;
  for (const Answered& answered : answers) {
    // A node that has gone on to another epoch has said nothing about this one.
    if (!answered.reply || answered.reply->state != asked_under)
      result.silent.push_back(answered.from);
    else
      (answered.reply->flag ? result.empty : result.filled).push_back(answered.from);
  }
  co_return result;
}

Task<std::vector<LayoutRegister::Told>> LayoutRegister::ask_details(std::vector<NodeId> nodes,
                                                                    LayoutAsk ask,
                                                                    std::string value) {
  LayoutRequest request;
  request.ask = ask;
  request.base = bytes_;
  request.value = std::move(value);
  const std::string asked_under = bytes_;
  Answers answers = co_await ask_all(std::move(nodes), std::move(request));
  std::vector<Told> told;
  for (Answered& answered : answers)
    if (answered.reply && answered.reply->state == asked_under)
      told.push_back({answered.from, std::move(answered.reply->detail)});
  co_return told;
}

}  // namespace covey
