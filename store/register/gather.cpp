// Placement of partitions, and asking several replicas at once.
#include <algorithm>

#include "base/core/seeded_bug.h"
#include "store/register/service.h"

namespace covey {

const Reply* RegisterService::Gather::from(const NodeId& node) const {
  for (const Got& one : got)
    if (one.from == node) return &one.reply;
  return nullptr;
}

Result<RegisterService::PlaceRef> RegisterService::place(PartitionId partition) {
  if (standing_by_)
    return fail(ErrorCode::kUnavailable,
                "this node waits for the others to say that its disk forgot nothing");
  std::shared_ptr<const LayoutState> layout = topology_.layout();
  if (layout != placed_) {
    placed_ = layout;
    places_.assign(layout->current.partitions(), nullptr);
  }
  if (partition >= places_.size())
    return fail(ErrorCode::kInvalid, "the layout has no such partition");
  PlaceRef& known = places_[partition];
  if (!known) {
    auto made = std::make_shared<Place>();
    made->epoch = layout->epoch;
    made->sets = replica_sets(*layout, partition);
    made->all = made->sets.all();
    if (layout->joint() && SEEDED_BUG("register-joint-quorum-of-new"))
      made->sets.current = made->sets.next;
    made->self_in = std::find(made->all.begin(), made->all.end(), self_) != made->all.end();
    made->alone = made->self_in && made->all.size() == 1;
    known = std::move(made);
  }
  return known;
}

bool RegisterService::healthy(const NodeId& node) const {
  return node == self_ || (!suspects_.contains(node) && topology_.alive(node));
}

std::vector<NodeId> RegisterService::nearest(const Place& place) const {
  std::vector<NodeId> order = place.all;
  auto far = [this](const NodeId& node) {
    return std::tuple(node != self_, !healthy(node), !topology_.same_zone(node),
                      topology_.round_trip(node));
  };
  std::stable_sort(order.begin(), order.end(),
                   [&far](const NodeId& a, const NodeId& b) { return far(a) < far(b); });
  return order;
}

Task<Reply> RegisterService::finish(Acceptor::Outcome outcome) {
  Status done;
  if (!outcome.batch.empty()) {
    if (SEEDED_BUG("register-ack-before-sync")) {
      done = kv_.write_unlogged(std::move(outcome.batch));
    } else {
      done = co_await kv_.write(std::move(outcome.batch));
    }
  } else if (outcome.after != 0) {
    done = co_await kv_.durable(outcome.after);
  }
  if (!done) co_return refusal(done.error()).reply;
  co_return std::move(outcome.reply);
}

Task<Reply> RegisterService::call(NodeId to, std::string head, TimePoint deadline) {
  PeerMessage message;
  message.head = std::move(head);
  auto answer = co_await peers_.call(to, PeerService::kRegister, std::move(message), deadline);
  if (!answer) co_return refusal(answer.error()).reply;
  auto reply = decode_reply(answer->head);
  if (!reply) co_return refusal(reply.error()).reply;
  if (reply->answer == Answer::kNack) saw(reply->promised);
  co_return std::move(*reply);
}

Task<void> RegisterService::ask_task(GatherRef gather, NodeId to, std::string head,
                                     TimePoint deadline) {
  Got got;
  got.from = to;
  got.reply = co_await call(to, std::move(head), deadline);
  if (got.reply.answer == Answer::kNack && gather->accept != Ballot{} &&
      gather->accept < got.reply.promised)
    drop(gather->partition, gather->accept);
  gather->got.push_back(std::move(got));
  gather->progress.set();
}

Task<void> RegisterService::self_task(GatherRef gather, Acceptor::Outcome outcome) {
  Got got;
  got.from = self_;
  got.reply = co_await finish(std::move(outcome));
  gather->got.push_back(std::move(got));
  gather->progress.set();
}

void RegisterService::ask(const GatherRef& gather, const NodeId& to, std::string head,
                          TimePoint deadline) {
  ++gather->asked;
  scope_.spawn(ask_task(gather, to, std::move(head), deadline));
}

void RegisterService::ask_self(const GatherRef& gather, Acceptor::Outcome outcome) {
  ++gather->asked;
  scope_.spawn(self_task(gather, std::move(outcome)));
}

Task<bool> RegisterService::more(GatherRef gather, TimePoint deadline) {
  if (gather->complete()) co_return false;
  gather->progress.reset();
  co_return co_await gather->progress.wait_until(runtime_.clock, deadline);
}

Task<void> RegisterService::pause(Duration min) {
  Duration random(static_cast<int64_t>(runtime_.rng.below(static_cast<uint64_t>(min.count()))));
  co_await scope_.sleep(runtime_.clock, min + random);
}

Acceptor::Outcome RegisterService::step(const Request& q) {
  switch (q.verb) {
    case Verb::kPrepare: {
      Acceptor::Outcome out = acceptor_.prepare(q.key.partition, q.ballot);
      if (SEEDED_BUG("register-promise-unsynced") && !out.batch.empty())
        (void)kv_.write_unlogged(std::exchange(out.batch, WriteBatch()));
      return out;
    }
    case Verb::kLearn: return acceptor_.learn(q.key, q.ballot);
    case Verb::kAccept: {
      auto out = acceptor_.accept(q.key, q.entry, q.attachments, q.fence, epoch());
      if (q.repair) out.batch.use_repair_share();
      return out;
    }
    case Verb::kRead: return acceptor_.read(q.key, q.want, q.fence);
    case Verb::kPutAttachments:
      return acceptor_.put_attachments(q.key.partition, q.attachments, q.fence);
    case Verb::kReadAttachment:
      if (q.attachments.empty()) break;
      return acceptor_.read_attachment(q.key.partition, q.attachments[0].owner,
                                       q.attachments[0].suffix);
    case Verb::kFence: return acceptor_.fence(q.key.partition, q.fence);
    default: break;
  }
  return refusal(Error{ErrorCode::kInvalid, "not a request to a replica", {}});
}

Task<Status> RegisterService::on_quorum(PlaceRef place, Request request, TimePoint deadline) {
  request.epoch = place->epoch;
  auto gather = std::make_shared<Gather>();
  std::string head;
  if (!place->alone) head = encode_request(request);
  for (const NodeId& node : place->all)
    if (node != self_) ask(gather, node, head, deadline);
  if (place->self_in) ask_self(gather, step(request));
  Error error{ErrorCode::kUnavailable, "no quorum of the partition's replicas answered", {}};
  while (true) {
    std::vector<NodeId> yes;
    for (const Got& got : gather->got) {
      if (got.reply.answer == Answer::kYes) yes.push_back(got.from);
      if (got.reply.answer == Answer::kStale)
        co_return fail(ErrorCode::kStale, "the bucket has changed: read it again");
      if (got.reply.answer == Answer::kError && got.reply.code == ErrorCode::kNoSpace)
        error = Error{ErrorCode::kNoSpace, got.reply.message, {}};
    }
    if (place->sets.quorum(yes)) co_return Status();
    bool arrived = co_await more(gather, deadline);
    if (!arrived) break;
  }
  co_return fail(error.code, error.message);
}

}  // namespace covey
