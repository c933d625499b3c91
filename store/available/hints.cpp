// Carrying over: hints to the replicas that they are for, and rows to replicas that missed them.
#include <algorithm>

#include "base/core/log.h"
#include "store/available/hint_rows.h"
#include "store/available/service.h"

namespace covey {
namespace {

constexpr Duration kRound = std::chrono::seconds(1);
constexpr size_t kHintsPerRound = 256;
constexpr size_t kOwedPerRound = 256;
constexpr Duration kCountHintsEvery = std::chrono::minutes(1);
constexpr size_t kAttachmentBytesMax = 1 << 20;  // with one row

constexpr char kFirstHint = static_cast<char>(TableId::kHints);

std::string place_of_row(const RegisterKey& key) {
  std::string place(1, static_cast<char>(key.table));
  return place.append(key.key);
}

}  // namespace

AvailableRows::Progress AvailableRows::progress() const {
  Progress now = totals_;
  now.hints = hints_, now.owed = owed_count_;
  return now;
}

Task<void> AvailableRows::run(Scope& scope) {
  while (true) {
    Status handed = co_await hand_over(scope);
    if (!handed) log_debug("hints: {}", to_string(handed.error()));
    std::vector<NodeId> nodes;
    for (const auto& [node, rows] : owed_) nodes.push_back(node);
    for (const NodeId& node : nodes) {
      if (scope.stop_requested()) break;
      if (healthy(node)) co_await pay_owed(node);
    }
    bool go_on = co_await scope.sleep(runtime_.clock, kRound);
    if (!go_on) co_return;
  }
}

// What comes and goes is counted as it does; what purging a partition makes of rows is not.
Status AvailableRows::count_hints() {
  if (runtime_.clock.now() < count_hints_at_) return {};
  count_hints_at_ = runtime_.clock.after(kCountHintsEvery);
  auto rows = kv_.scan(std::string(1, kFirstHint), std::string(1, kFirstHint + 1));
  uint64_t count = 0;
  for (; rows->valid(); rows->next()) ++count;
  TRY_STATUS(rows->status());
  hints_ = count;
  return {};
}

// Some, each time the next ones: those in front may wait for replicas that are away for long.
Task<Status> AvailableRows::hand_over(Scope& scope) {
  CO_TRY_STATUS(count_hints());
  std::vector<std::string> keys;
  {
    auto rows = kv_.scan(next_hint_.empty() ? std::string(1, kFirstHint) : next_hint_,
                         std::string(1, kFirstHint + 1));
    for (; rows->valid() && keys.size() < kHintsPerRound; rows->next())
      keys.emplace_back(rows->key());
    CO_TRY_STATUS(rows->status());
    next_hint_ = rows->valid() ? std::string(rows->key()) : std::string();
  }
  for (std::string& hint : keys) {
    if (scope.stop_requested()) co_return Status();
    CO_TRY(RegisterKey key, key_of_hint(hint));
    Status done = co_await hand_over_one(std::move(hint), std::move(key));
    // The replicas of this one do not answer; those of the others may.
    if (!done && !done.is(ErrorCode::kUnavailable)) co_return done;
  }
  co_return Status();
}

Result<std::vector<Attachment>> AvailableRows::attachments_here(const RegisterKey& key,
                                                                std::string_view row) {
  std::vector<Attachment> found;
  const AvailableTable* of = table(key.table);
  if (!of) return found;
  for (auto& [owner, suffix] : of->attachments(row)) {
    TRY(auto stored, kv_.get(attachment_store_key(key.partition, owner, suffix)));
    if (stored) found.push_back({owner, std::move(suffix), std::move(stored->bytes)});
  }
  return found;
}

// Erased when a majority of the replicas has it, and every one that is up: they see to the others.
Task<Status> AvailableRows::hand_over_one(std::string hint, RegisterKey key) {
  CO_TRY(auto kept, kv_.get(hint));
  if (!kept) co_return Status();
  CO_TRY(Hint one, decode_hint(kept->bytes));
  Place at = place(key.partition);
  std::string row = encode_available(one.row);
  CO_TRY(std::vector<Attachment> attachments, attachments_here(key, row));
  std::vector<NodeId> have;
  bool all = true;
  for (const NodeId& node : at.replicas) {
    if (node == self_) {
      WriteBatch own;
      CO_TRY_STATUS(store(key, at, one.row, 0, attachments, own));
      CO_TRY_STATUS(co_await kv_.write(std::move(own)));
      have.push_back(node);
      continue;
    }
    if (!healthy(node)) continue;
    AvailableRequest request;
    request.verb = AvailableVerb::kMerge;
    request.key = key;
    request.row = row;
    bool sent = true;
    for (const Attachment& attachment : attachments) {
      if (attachment.value.size() < kAttachmentBytesMax / 16) {
        request.attachments.push_back(attachment);
        continue;
      }
      AvailableRequest big;
      big.verb = AvailableVerb::kPutAttachments;
      big.key.partition = key.partition;
      big.attachments.push_back(attachment);
      auto put = co_await call(node, std::move(big), runtime_.clock.after(kAvailableCall));
      sent = sent && put.has_value();
    }
    auto merged = co_await call(node, std::move(request), runtime_.clock.after(kAvailableCall));
    if (merged && sent && merged->replica)
      have.push_back(node);
    else
      all = false;
  }
  if (!all || !at.sets.quorum(have))
    co_return fail(ErrorCode::kUnavailable, "too few replicas answer to hand a row over");
  CO_TRY(auto now, kv_.get(hint));
  if (!now || now->bytes != kept->bytes) co_return Status();  // written meanwhile: again later
  WriteBatch batch;
  batch.erase(hint);
  if (!at.self_in)
    for (const Attachment& attachment : attachments)
      batch.erase(attachment_store_key(key.partition, attachment.owner, attachment.suffix));
  batch.use_reserve();
  CO_TRY_STATUS(co_await kv_.write(std::move(batch)));
  if (hints_ > 0) --hints_;
  ++totals_.handed_over;
  co_return Status();
}

// ---- rows that a replica missed: in memory only, since comparing replicas finds them, too

void AvailableRows::owe(const NodeId& node, const RegisterKey& key) {
  if (owed_count_ >= kOwedMax) return;
  bool fresh = owed_[node].emplace(key.partition, place_of_row(key)).second;
  if (fresh) ++owed_count_;
}

Task<void> AvailableRows::pay_owed(NodeId node) {
  for (size_t i = 0; i < kOwedPerRound; ++i) {
    auto rows = owed_.find(node);
    if (rows == owed_.end() || rows->second.empty()) co_return;
    auto [partition, row_place] = *rows->second.begin();
    RegisterKey key{static_cast<TableId>(row_place[0]), partition, row_place.substr(1)};
    Place at = place(partition);
    auto here = known(key, at);
    bool drop = !here || !at.self_in || !has_node(at.replicas, node);
    if (!drop) {
      AvailableRequest request;
      request.verb = AvailableVerb::kMerge;
      request.key = key;
      request.row = encode_available(here->row);
      auto attachments = attachments_here(key, request.row);
      if (attachments) request.attachments = std::move(*attachments);
      auto sent = co_await call(node, std::move(request), runtime_.clock.after(kAvailableCall));
      bool later = sent.is(ErrorCode::kTimeout) || sent.is(ErrorCode::kUnavailable) ||
                   sent.is(ErrorCode::kOverloaded) || sent.is(ErrorCode::kNoSpace);
      if (later || scope_.stop_requested()) co_return;
      // What it refuses for another reason must not keep the rest waiting: comparing finds it.
      if (sent) ++totals_.handed_over;
    }
    rows = owed_.find(node);
    if (rows == owed_.end()) co_return;
    if (rows->second.erase({partition, row_place}) > 0 && owed_count_ > 0) --owed_count_;
    if (rows->second.empty()) owed_.erase(rows);
  }
}

Task<Status> AvailableRows::spread(RegisterKey key, TimePoint deadline) {
  AvailableRequest question;
  question.key = key;
  CO_TRY(Gathered seen, co_await gather(std::move(question), deadline));
  Place at = place(key.partition);
  CO_TRY(Known here, known(key, at));
  for (const AvailableReply& reply : seen.replies) {
    for (const AvailableItem& item : reply.items) {
      CO_TRY(AvailableRow other, decode_available(item.row));
      here.row.join(other);
    }
  }
  WriteBatch batch;
  std::vector<Attachment> none;
  CO_TRY_STATUS(store(key, at, here.row, here.actor, none, batch));
  if (!batch.empty()) {
    CO_TRY_STATUS(co_await kv_.write(std::move(batch)));
  }
  AvailableRequest request;
  request.verb = AvailableVerb::kMerge;
  request.key = key;
  request.row = encode_available(here.row);
  CO_TRY(request.attachments, attachments_here(key, request.row));
  auto answers = std::make_shared<Answers>();
  TimePoint until = std::min(deadline, runtime_.clock.after(kAvailableCall));
  for (const NodeId& node : at.others) ask(answers, node, request, until);
  co_await wait(answers, at, at.self_in, deadline);
  std::vector<NodeId> have;
  if (at.self_in) have.push_back(self_);
  for (const auto& [node, reply] : answers->got) have.push_back(node);
  if (at.sets.quorum(have)) co_return Status();
  co_return fail(ErrorCode::kUnavailable, "too few replicas answer");
}

}  // namespace covey
