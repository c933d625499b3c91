// Reads: what a majority knows, joined; below a majority, what anybody who answers knows.
#include <algorithm>

#include "base/core/limits.h"
#include "store/available/service.h"
#include "store/register/walk.h"

namespace covey {

Task<Result<AvailableRow>> AvailableRows::look_up(RegisterKey key, TimePoint deadline) {
  AvailableRequest question;
  question.key = std::move(key);
  CO_TRY(Gathered seen, co_await gather(std::move(question), deadline));
  AvailableRow row;
  for (const AvailableReply& reply : seen.replies) {
    for (const AvailableItem& item : reply.items) {
      CO_TRY(AvailableRow other, decode_available(item.row));
      row.join(other);
    }
  }
  // A hint tells of a key; that there is none only a replica can tell.
  if (!seen.from_replica && row.context.empty())
    co_return fail(ErrorCode::kUnavailable, "no replica of the key's partition answers");
  co_return row;
}

Task<Result<ReadResult>> AvailableRows::read(RegisterKey key, bool with_inline, Fence,
                                             TimePoint deadline) {
  const AvailableTable* of = table(key.table);
  if (!of) co_return fail(ErrorCode::kInvalid, "not a table of available buckets");
  PartitionId partition = key.partition;
  CO_TRY(AvailableRow row, co_await look_up(std::move(key), deadline));
  ReadResult result;
  const std::string* current = row.current();
  if (!current) co_return result;
  result.row = *current;
  if (!with_inline) co_return result;
  auto wanted = of->inner().inline_attachment(*current);
  if (!wanted) co_return result;
  auto body = co_await read_attachment(partition, wanted->first, wanted->second, deadline);
  if (body) result.attachment = std::move(*body);
  co_return result;
}

Task<Result<AvailableRows::Rows>> AvailableRows::rows(RegisterKey begin, std::string end,
                                                      size_t limit, TimePoint deadline) {
  AvailableRequest question;
  question.verb = AvailableVerb::kRange;
  question.key = std::move(begin);
  question.end = std::move(end);
  question.limit = limit;
  CO_TRY(Gathered seen, co_await gather(std::move(question), deadline));
  if (!seen.from_replica)
    co_return fail(ErrorCode::kUnavailable, "no replica of a part of the bucket answers");
  Rows found;
  std::string last;  // all answers tell of keys up to here
  std::map<std::string, AvailableRow> joined;
  for (const AvailableReply& reply : seen.replies) {
    if (reply.cut && !reply.items.empty() && (!found.truncated || reply.items.back().key < last)) {
      last = reply.items.back().key;
      found.truncated = true;
    }
    for (const AvailableItem& item : reply.items) {
      CO_TRY(AvailableRow row, decode_available(item.row));
      joined[item.key].join(row);
    }
  }
  for (auto& [key, row] : joined) {
    if (found.truncated && key > last) break;
    found.rows.emplace_back(key, std::move(row));
  }
  if (found.truncated) found.next = last + '\0';
  co_return found;
}

Task<Result<RangePage>> AvailableRows::range(RangeQuery query, TimePoint deadline) {
  RangePage page;
  std::string begin = query.begin, prefix;
  while (true) {
    RegisterKey from{query.table, query.partition, begin};
    std::string end = query.end;
    CO_TRY(Rows found, co_await rows(std::move(from), std::move(end), kListKeysMax, deadline));
    for (auto& [key, row] : found.rows) {
      if (!prefix.empty() && key.starts_with(prefix)) continue;
      const std::string* current = row.current();
      if (!current) continue;
      if (page.items.size() == query.limit) {
        page.truncated = true;
        page.next = key;
        co_return page;
      }
      RangeItem item;
      size_t cut = query.delimiter.empty() ? std::string::npos
                                           : key.find(query.delimiter, query.delimiter_from);
      if (cut != std::string::npos) {
        prefix = key.substr(0, cut + query.delimiter.size());
        item.is_prefix = true;
        item.key = prefix;
      } else {
        item.key = key;
        item.row = *current;
      }
      page.items.push_back(std::move(item));
    }
    if (!found.truncated) co_return page;
    begin = std::move(found.next);
    // What a common prefix stands for is not walked.
    if (!prefix.empty() && begin.starts_with(prefix)) begin = behind_prefix(prefix);
    if (begin.empty() || (!query.end.empty() && begin >= query.end)) co_return page;
  }
}

Task<Status> AvailableRows::put_attachments(PartitionId partition, std::vector<Attachment> rows,
                                            Fence, TimePoint deadline) {
  Place at = place(partition);
  AvailableRequest request;
  request.verb = AvailableVerb::kPutAttachments;
  request.key.partition = partition;
  request.attachments = std::move(rows);
  auto answers = std::make_shared<Answers>();
  TimePoint until = std::min(deadline, runtime_.clock.after(kAvailableCall));
  for (const NodeId& node : at.others) ask(answers, node, request, until);
  if (at.self_in) {
    CO_TRY(AvailableReply own, co_await answer(request));
    (void)own;
  }
  co_await wait(answers, at, at.self_in, deadline);
  if (at.self_in || !answers->got.empty()) co_return Status();
  // No replica answers: they go with the hint that will name them.
  CO_TRY(AvailableReply kept, co_await answer(std::move(request)));
  (void)kept;
  co_return Status();
}

Task<Result<std::string>> AvailableRows::read_attachment(PartitionId partition, VersionId owner,
                                                         std::string suffix, TimePoint deadline) {
  AvailableRequest request;
  request.verb = AvailableVerb::kReadAttachment;
  request.key.partition = partition;
  Attachment wanted;
  wanted.owner = owner;
  wanted.suffix = std::move(suffix);
  request.attachments.push_back(std::move(wanted));
  AvailableRequest here = request;
  CO_TRY(AvailableReply own, co_await answer(std::move(here)));
  if (own.text) co_return std::move(*own.text);
  Place at = place(partition);
  std::vector<NodeId> order = at.others, without;
  if (at.self_in) without.push_back(self_);
  for (const Member& member : topology_.layout()->current.members)
    if (member.id != self_ && !has_node(order, member.id)) order.push_back(member.id);
  std::stable_partition(order.begin(), order.end(),
                        [this](const NodeId& node) { return healthy(node); });
  for (const NodeId& node : order) {
    bool replica = has_node(at.replicas, node);
    if (!replica && !healthy(node)) continue;
    TimePoint until = std::min(deadline, runtime_.clock.after(kAvailableWait));
    AvailableRequest one = request;
    auto reply = co_await call(node, std::move(one), until);
    if (reply && reply->text) co_return std::move(*reply->text);
    if (reply && replica) without.push_back(node);
  }
  if (without.size() == at.replicas.size())
    co_return fail(ErrorCode::kNotFound, "no replica has the attachment");
  co_return fail(ErrorCode::kUnavailable, "no replica that answered has the attachment");
}

// ---- deletion of a bucket

Task<Result<bool>> AvailableRows::seal(BucketId bucket, TimePoint deadline) {
  AvailableRequest request;
  request.verb = AvailableVerb::kSeal;
  request.bucket = bucket;
  auto answers = std::make_shared<Answers>();
  std::shared_ptr<const LayoutState> layout = topology_.layout();
  std::vector<NodeId> members;
  for (const Member& member : layout->current.members) members.push_back(member.id);
  if (layout->next)
    for (const Member& member : layout->next->members)
      if (!has_node(members, member.id)) members.push_back(member.id);
  for (const NodeId& node : members)
    if (node != self_) ask(answers, node, request, deadline);
  CO_TRY(AvailableReply own, co_await answer(request));
  while (answers->done < answers->asked.size()) {
    answers->progress.reset();
    bool more = co_await answers->progress.wait_until(runtime_.clock, deadline);
    if (!more) break;
  }
  bool live = own.live;
  for (const auto& [node, reply] : answers->got) live = live || reply.live;
  if (!live && answers->got.size() < answers->asked.size())
    co_return fail(ErrorCode::kUnavailable,
                   "an available bucket is deleted only while all nodes are up: one that is away "
                   "may hold writes to it");
  co_return !live;
}

Task<Status> AvailableRows::unseal(BucketId bucket, TimePoint deadline) {
  AvailableRequest request;
  request.verb = AvailableVerb::kUnseal;
  request.bucket = bucket;
  auto answers = std::make_shared<Answers>();
  for (const Member& member : topology_.layout()->current.members)
    if (member.id != self_) ask(answers, member.id, request, deadline);
  CO_TRY(AvailableReply own, co_await answer(request));
  (void)own;
  Place nobody;
  co_await wait(answers, nobody, false, deadline);
  co_return Status();
}

}  // namespace covey
