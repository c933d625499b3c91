// Reading a register on a quorum, without a ballot: equal ranks on a quorum are the answer; where
// they differ, the highest row is relayed unchanged, or the partition's holder settles the key.
#include <algorithm>

#include "base/core/seeded_bug.h"
#include "store/register/service.h"

namespace covey {

namespace {

constexpr Duration kRetryPause = std::chrono::milliseconds(5);
constexpr Duration kReadStep = std::chrono::milliseconds(1000);
constexpr std::string_view kAgain = "again";  // Error::detail: try the read again

tl::unexpected<Error> again(ErrorCode code = ErrorCode::kUnavailable) {
  return fail(code, "no quorum of the partition's replicas answered", std::string(kAgain));
}

}  // namespace

Task<Result<ReadResult>> RegisterService::read(RegisterKey key, bool with_inline, Fence fence,
                                               TimePoint deadline) {
  Error error{ErrorCode::kUnavailable, "no quorum of the partition's replicas answered", {}};
  for (int tries = 0; runtime_.clock.now() < deadline && !scope_.stop_requested(); ++tries) {
    if (tries > 0) co_await pause(kRetryPause);
    CO_TRY(PlaceRef at, place(key.partition));
    if (at->alone) {
      Want want = with_inline ? Want::kRowInline : Want::kRow;
      Reply reply = co_await finish(acceptor_.read(key, want, fence));
      if (reply.answer == Answer::kStale)
        co_return fail(ErrorCode::kStale, "the bucket has changed: read it again");
      if (reply.answer != Answer::kYes) co_return fail(reply.code, reply.message, reply.detail);
      co_return co_await result_of(std::move(key), std::move(reply), with_inline, deadline);
    }
    auto result = co_await read_once(key, at, with_inline, fence, deadline);
    if (result || result.error().detail != kAgain) co_return result;
    error.code = result.error().code;
  }
  co_return fail(error.code, error.message);
}

RegisterService::Judged RegisterService::judge_read(const Place& place,
                                                    const Gather& gather) const {
  Judged judged;
  judged.missing = true;
  std::vector<NodeId> yes;
  for (const Got& got : gather.got) {
    if (got.reply.answer != Answer::kYes) continue;
    yes.push_back(got.from);
    if (got.reply.present && (judged.missing || got.reply.entry.rank > judged.rank)) {
      judged.missing = false;
      judged.rank = got.reply.entry.rank;
      judged.highest_at = got.from;
    }
  }
  // A committed tombstone that is the highest says the same as a missing row: other replicas may
  // have collected it. An uncommitted one does not.
  bool gone = false;
  for (const Got& got : gather.got)
    gone = gone || (got.reply.answer == Answer::kYes && !judged.missing &&
                    got.reply.entry.rank == judged.rank && got.reply.entry.tombstone &&
                    got.reply.entry.committed);
  for (const Got& got : gather.got) {
    if (got.reply.answer != Answer::kYes) continue;
    bool same = got.reply.present != judged.missing && got.reply.entry.rank == judged.rank;
    if (same || (gone && !got.reply.present)) judged.agree.push_back(got.from);
  }
  judged.decided = place.sets.quorum(judged.agree);
  if (gone && judged.decided) judged.missing = true;
  return judged;
}

Task<Result<ReadResult>> RegisterService::read_once(RegisterKey key, PlaceRef at, bool with_inline,
                                                    Fence fence, TimePoint deadline) {
  TimePoint until = std::min(deadline, runtime_.clock.after(kReadStep));
  Request request;
  request.verb = Verb::kRead;
  request.epoch = at->epoch;
  request.key = key;
  request.fence = fence;
  std::vector<NodeId> order = nearest(*at);
  auto gather = std::make_shared<Gather>();
  size_t first = at->sets.next.empty() ? at->all.size() / 2 + 1 : order.size();
  size_t asked = 0;
  const Want full = with_inline ? Want::kRowInline : Want::kRow;
  // Others are asked before self: their answers travel while this node looks.
  request.want = full;
  if (order[0] != self_) ask(gather, order[0], encode_request(request), until);
  request.want = Want::kRank;
  std::string head = encode_request(request);
  for (asked = 1; asked < first; ++asked) ask(gather, order[asked], head, until);
  if (order[0] == self_) ask_self(gather, acceptor_.read(key, full, fence));

  TimePoint hedge = runtime_.clock.after(kHedgeAfter);
  Judged judged;
  while (true) {
    for (const Got& got : gather->got) {
      if (got.reply.answer == Answer::kStale)
        co_return fail(ErrorCode::kStale, "the bucket has changed: read it again");
    }
    judged = judge_read(*at, *gather);
    if (judged.decided) break;
    if (gather->complete() && asked == order.size()) break;
    bool hedged = asked == order.size();
    bool arrived = false;  // no co_await inside a condition: GCC 12 miscompiles it
    if (!gather->complete()) arrived = co_await more(gather, hedged ? until : hedge);
    if (!arrived) {
      if (hedged) break;
      for (; asked < order.size(); ++asked) ask(gather, order[asked], head, until);
    }
  }
  if (!judged.missing) heard(key, judged.rank.ballot);
  if (!judged.decided) {
    std::vector<NodeId> yes;
    bool corrupt = false;
    for (const Got& got : gather->got) {
      if (got.reply.answer == Answer::kYes) yes.push_back(got.from);
      corrupt =
          corrupt || (got.reply.answer == Answer::kError && got.reply.code == ErrorCode::kCorrupt);
    }
    if (!at->sets.quorum(yes))
      co_return again(corrupt ? ErrorCode::kCorrupt : ErrorCode::kUnavailable);
    co_return co_await relay(std::move(key), at, std::move(judged), with_inline, fence, deadline);
  }
  // A crash may have taken the mark that this replica's row is committed; what waits for it (space
  // to be given back) would wait for ever.
  const Reply* own = gather->from(self_);
  bool unmarked = own && own->answer == Answer::kYes && own->present && !own->entry.committed &&
                  own->entry.rank == judged.rank;
  if (unmarked && !judged.missing) note_committed(key, judged.rank);
  if (judged.missing) {
    ReadResult gone;
    gone.rank = judged.rank;
    co_return gone;
  }
  for (Got& got : gather->got)
    if (got.reply.has_entry && got.reply.entry.rank == judged.rank)
      co_return co_await result_of(std::move(key), std::move(got.reply), with_inline, deadline);
  auto reply = co_await fetch(key, judged.highest_at, full, fence, until);
  if (!reply || !reply->present || reply->entry.rank != judged.rank) co_return again();
  co_return co_await result_of(std::move(key), std::move(*reply), with_inline, deadline);
}

Task<Result<ReadResult>> RegisterService::result_of(RegisterKey key, Reply reply, bool with_inline,
                                                    TimePoint deadline) {
  ReadResult result;
  if (reply.present) result.rank = reply.entry.rank;
  if (!reply.present || reply.entry.tombstone) co_return std::move(result);
  result.row = std::move(reply.entry.row);
  if (!with_inline) co_return std::move(result);
  result.attachment = std::move(reply.text);
  if (result.attachment) co_return std::move(result);
  const RegisterTable* table = tables_.find(key.table);
  std::optional<std::pair<VersionId, std::string>> name;
  if (table) name = table->inline_attachment(*result.row);
  if (!name) co_return std::move(result);
  CO_TRY(std::string value,
         co_await read_attachment(key.partition, name->first, name->second, deadline));
  result.attachment = std::move(value);
  co_return std::move(result);
}

Task<Result<Reply>> RegisterService::fetch(RegisterKey key, NodeId from, Want want, Fence fence,
                                           TimePoint deadline) {
  Reply reply;
  if (from == self_) {
    reply = co_await finish(acceptor_.read(key, want, fence));
  } else {
    Request request;
    request.verb = Verb::kRead;
    request.epoch = epoch();
    request.key = std::move(key);
    request.want = want;
    request.fence = fence;
    reply = co_await call(from, encode_request(request), deadline);
  }
  if (reply.answer != Answer::kYes) co_return fail(ErrorCode::kUnavailable, reply.message);
  co_return std::move(reply);
}

Task<Result<ReadResult>> RegisterService::relay(RegisterKey key, PlaceRef at, Judged judged,
                                                bool with_inline, Fence fence, TimePoint deadline) {
  TimePoint until = std::min(deadline, runtime_.clock.after(kReadStep));
  auto found = co_await fetch(key, judged.highest_at, Want::kAll, fence, until);
  if (!found || !found->present || found->entry.rank != judged.rank) co_return again();
  if (SEEDED_BUG("register-relay-skipped"))
    co_return co_await result_of(std::move(key), std::move(*found), with_inline, deadline);
  Request request;
  request.verb = Verb::kAccept;
  request.epoch = at->epoch;
  request.key = key;
  request.entry = found->entry;
  request.entry.committed = false;
  request.repair = true;
  request.attachments = std::move(found->attachments);
  request.fence = fence;
  std::string head = encode_request(request);
  auto gather = std::make_shared<Gather>();
  auto agrees = [&judged](const NodeId& node) {
    return std::find(judged.agree.begin(), judged.agree.end(), node) != judged.agree.end();
  };
  for (const NodeId& node : at->all)
    if (node != self_ && !agrees(node)) ask(gather, node, head, until);
  if (at->self_in && !agrees(self_)) {
    Acceptor::Outcome own = step(request);
    if (own.reply.answer == Answer::kYes) {
      Holding& held = holding(key.partition);
      ++held.foreign;
      if (held.held && held.ballot < request.entry.rank.ballot) held.held = false;
    }
    ask_self(gather, std::move(own));
  }
  while (true) {
    std::vector<NodeId> yes = judged.agree;
    bool refused = false;
    for (const Got& got : gather->got) {
      if (got.reply.answer == Answer::kYes) yes.push_back(got.from);
      refused = refused || got.reply.answer == Answer::kNack || got.reply.answer == Answer::kFloor;
    }
    if (at->sets.quorum(yes)) break;
    bool arrived = false;
    if (!refused) arrived = co_await more(gather, until);
    if (!arrived) {
      // A higher ballot is promised there: whoever writes this partition settles the key.
      if (refused) (void)co_await settle_by_holder(key, at, below(judged.rank), until);
      co_return again();
    }
  }
  note_committed(key, judged.rank);
  Reply reply;
  reply.present = true;
  reply.entry = std::move(found->entry);
  co_return co_await result_of(std::move(key), std::move(reply), with_inline, deadline);
}

Task<Status> RegisterService::settle_by_holder(RegisterKey key, PlaceRef at, Rank above,
                                               TimePoint deadline) {
  NodeId to = route(*at);
  if (to == self_) co_return co_await settle(std::move(key), above, deadline);
  Request request;
  request.verb = Verb::kSettle;
  request.epoch = at->epoch;
  request.key = std::move(key);
  request.above = above;
  Duration left = deadline - runtime_.clock.now();
  request.budget_ms = static_cast<uint32_t>(std::max<int64_t>(left.count() / 1'000'000, 1));
  TimePoint until = std::min(deadline, runtime_.clock.after(kFailOverAfter));
  Reply reply = co_await call(to, encode_request(request), until);
  if (reply.answer == Answer::kYes) co_return Status();
  if (reply.answer != Answer::kError)
    co_return fail(ErrorCode::kUnavailable, "the partition's holder works under another layout");
  if (reply.code == ErrorCode::kTimeout) suspect(to);
  co_return fail(reply.code == ErrorCode::kNoSpace ? reply.code : ErrorCode::kUnavailable,
                 reply.message);
}

// ---- attachments and fences

Task<Status> RegisterService::put_attachments(PartitionId partition, std::vector<Attachment> rows,
                                              Fence fence, TimePoint deadline) {
  CO_TRY(PlaceRef at, place(partition));
  Request request;
  request.verb = Verb::kPutAttachments;
  request.key.partition = partition;
  request.attachments = std::move(rows);
  request.fence = fence;
  co_return co_await on_quorum(at, std::move(request), deadline);
}

Task<Result<std::string>> RegisterService::read_attachment(PartitionId partition, VersionId owner,
                                                           std::string suffix, TimePoint deadline) {
  CO_TRY(PlaceRef at, place(partition));
  std::vector<NodeId> without;
  auto text = co_await look_for_attachment(at, partition, owner, suffix, deadline, without);
  if (!text && at->sets.quorum(without) && !text.is(ErrorCode::kCorrupt))
    co_return fail(ErrorCode::kNotFound, "no replica of a quorum has the attachment");
  co_return text;
}

Task<Result<std::string>> RegisterService::look_for_attachment(PlaceRef at, PartitionId partition,
                                                               VersionId owner, std::string suffix,
                                                               TimePoint deadline,
                                                               std::vector<NodeId>& without) {
  Request request;
  request.verb = Verb::kReadAttachment;
  request.epoch = at->epoch;
  request.key.partition = partition;
  Attachment wanted;
  wanted.owner = owner;
  wanted.suffix = suffix;
  request.attachments.push_back(std::move(wanted));
  std::string head = encode_request(request);
  Error error{ErrorCode::kUnavailable, "no replica that answered has the attachment", {}};
  for (const NodeId& node : nearest(*at)) {
    Reply reply;
    if (node == self_) {
      reply = co_await finish(acceptor_.read_attachment(partition, owner, suffix));
    } else {
      TimePoint until = std::min(deadline, runtime_.clock.after(kReadStep));
      reply = co_await call(node, head, until);
    }
    if (reply.answer == Answer::kYes && reply.text) co_return std::move(*reply.text);
    if (reply.answer == Answer::kYes) without.push_back(node);
    if (reply.answer == Answer::kError && reply.code == ErrorCode::kCorrupt)
      error = Error{reply.code, reply.message, {}};
  }
  co_return fail(error.code, error.message);
}

Task<Status> RegisterService::fence(PartitionId partition, Fence fence, TimePoint deadline) {
  CO_TRY(PlaceRef at, place(partition));
  Request request;
  request.verb = Verb::kFence;
  request.key.partition = partition;
  request.fence = fence;
  co_return co_await on_quorum(at, std::move(request), deadline);
}

}  // namespace covey
