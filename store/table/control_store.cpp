#include "store/table/control_store.h"

#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "base/core/codec.h"
#include "base/core/limits.h"
#include "base/core/log.h"
#include "store/meta/keyspace.h"

namespace covey {
namespace {

constexpr Duration kSyncEvery = std::chrono::seconds(10);
constexpr Duration kSyncTimeout = std::chrono::seconds(4);
constexpr Duration kDigestTimeout = std::chrono::seconds(3);
constexpr Duration kStalePause = std::chrono::milliseconds(100);
constexpr Duration kConfirmPause = std::chrono::milliseconds(20);  // between comparisons
constexpr size_t kRowsMax = 100000;
constexpr size_t kPageBytesMax = 512 * kKiB;
constexpr int kPagesMax = 1000;

std::string kv_key(const std::string& table, const std::string& key) {
  std::string name = table_begin(TableId::kControl);
  name.append(table).push_back('\0');
  name.append(key);
  return name;
}

// A row's counter is the clock's with room below for rewrites: a row that is rewritten stands above
// itself and below whatever was written by anybody who had seen it.
constexpr uint32_t kRewriteBits = 8;
constexpr uint32_t kRewritesMax = (1u << kRewriteBits) - 1;

HlcStamp rank_of(const rows::ControlRow& row) {
  return {row.wall_ms(), row.counter(), NodeId::from_bytes(row.node()).value_or(NodeId{})};
}

// What the clock said when it was written.
HlcStamp stamp_of(const rows::ControlRow& row) {
  HlcStamp stamp = rank_of(row);
  stamp.counter >>= kRewriteBits;
  return stamp;
}

// Where a PULL goes on: the last row it has seen.
std::string place_of(const std::string& table, const std::string& key) {
  std::string place;
  Writer writer(place);
  writer.bytes(table);
  writer.raw(key);
  return place;
}

}  // namespace

ControlStore::ControlStore(Runtime runtime, Kv& kv, Peers& peers, const Topology& topology)
    : runtime_(runtime), kv_(kv), peers_(peers), topology_(topology), hlc_(peers.self()) {
  peers.serve(PeerService::kControl, *this);
}

Status ControlStore::load() {
  std::string begin = table_begin(TableId::kControl);
  std::string end = table_end(TableId::kControl);
  auto rows = kv_.scan(begin, end);
  for (; rows->valid(); rows->next()) {
    rows::ControlRow row;
    std::string_view value = rows->value();
    if (!row.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
      return fail(ErrorCode::kCorrupt,
                  "a control row does not decode: wipe this node and let it join again");
    }
    hlc_.witness(stamp_of(row));
    RowKey key(row.table(), row.key());
    rows_[std::move(key)] = std::move(row);
  }
  return rows->status();
}

std::optional<std::string> ControlStore::get(std::string_view table, std::string_view key) const {
  auto it = rows_.find(RowKey(table, key));
  if (it == rows_.end() || it->second.removed()) return std::nullopt;
  return it->second.value();
}

std::vector<std::pair<std::string, std::string>> ControlStore::list(std::string_view table) const {
  std::vector<std::pair<std::string, std::string>> found;
  for (auto it = rows_.lower_bound(RowKey(table, ""));
       it != rows_.end() && it->first.first == table; ++it) {
    if (!it->second.removed()) found.emplace_back(it->first.second, it->second.value());
  }
  return found;
}

Task<Status> ControlStore::put(std::string table, std::string key, std::string value,
                               TimePoint deadline) {
  if (value.size() > kRowBytesMax)
    co_return fail(ErrorCode::kTooLarge, "a control row is at most 64 KiB");
  if (rows_.size() >= kRowsMax) co_return fail(ErrorCode::kTooLarge, "the control tables are full");
  rows::ControlRow row;
  row.set_table(std::move(table));
  row.set_key(std::move(key));
  row.set_value(std::move(value));
  co_return co_await write(std::move(row), deadline);
}

Task<Status> ControlStore::remove(std::string table, std::string key, TimePoint deadline) {
  rows::ControlRow row;
  row.set_table(std::move(table));
  row.set_key(std::move(key));
  row.set_removed(true);
  co_return co_await write(std::move(row), deadline);
}

Task<Status> ControlStore::rewrite(std::string table, std::string key, std::string value,
                                   TimePoint deadline) {
  auto it = rows_.find(RowKey(table, key));
  if (it == rows_.end() || it->second.removed())
    co_return fail(ErrorCode::kNotFound, "no such row");
  rows::ControlRow row;
  row.set_table(std::move(table));
  row.set_key(std::move(key));
  row.set_value(std::move(value));
  HlcStamp just_above = rank_of(it->second);
  if ((just_above.counter & kRewritesMax) == kRewritesMax)
    co_return co_await write(std::move(row), deadline);
  ++just_above.counter;
  just_above.node = peers_.self();
  co_return co_await write_as(std::move(row), just_above, deadline);
}

void ControlStore::on_change(std::string table, std::function<void(std::string_view key)> watcher) {
  watchers_.emplace_back(std::move(table), std::move(watcher));
}

namespace {

using Acks = Mailbox<std::pair<NodeId, Result<PeerMessage>>>;

Task<void> push_to(Peers& peers, NodeId to, PeerMessage message, TimePoint deadline,
                   std::shared_ptr<Acks> acks) {
  auto answer = co_await peers.call(to, PeerService::kControl, std::move(message), deadline);
  acks->put({to, std::move(answer)});
}

std::vector<NodeId> ids_of(const Layout& layout) {
  std::vector<NodeId> ids;
  for (const Member& member : layout.members) ids.push_back(member.id);
  return ids;
}

// Every row lives on every member: a majority of them, in both layouts while joint.
ReplicaSets member_sets(const LayoutState& layout) {
  ReplicaSets sets;
  sets.current = ids_of(layout.current);
  if (layout.next) sets.next = ids_of(*layout.next);
  return sets;
}

}  // namespace

Task<Status> ControlStore::write(rows::ControlRow row, TimePoint deadline) {
  HlcStamp stamp = hlc_.tick(runtime_.clock.wall_now());
  stamp.counter <<= kRewriteBits;
  co_return co_await write_as(std::move(row), stamp, deadline);
}

Task<Status> ControlStore::write_as(rows::ControlRow row, HlcStamp rank, TimePoint deadline) {
  row.set_wall_ms(rank.wall_ms);
  row.set_counter(rank.counter);
  row.set_node(std::string(rank.node.view()));
  std::vector<rows::ControlRow> own;
  own.push_back(row);
  CO_TRY_STATUS(co_await merge(std::move(own)));
  for (;;) {
    Status done = co_await push(row, deadline);
    if (!done.is(ErrorCode::kStale)) co_return done;
    if (runtime_.clock.now() >= deadline)
      co_return fail(ErrorCode::kUnavailable, "the layout is changing: try again in a moment");
    co_await runtime_.clock.sleep(kStalePause);
  }
}

Task<Status> ControlStore::push(rows::ControlRow row, TimePoint deadline) {
  std::shared_ptr<const LayoutState> layout = topology_.layout();
  const ReplicaSets sets = member_sets(*layout);
  rows::ControlMessage push;
  push.set_kind(rows::ControlMessage::PUSH);
  push.set_epoch(layout->epoch);
  *push.add_rows() = std::move(row);
  auto acks = std::make_shared<Acks>();
  Scope pushes;
  size_t others = 0;
  for (const NodeId& member : sets.all()) {
    if (member == peers_.self()) continue;
    ++others;
    PeerMessage message;
    message.head = push.SerializeAsString();
    pushes.spawn(push_to(peers_, member, std::move(message), deadline, acks));
  }
  std::vector<NodeId> have;
  have.push_back(peers_.self());
  bool stale = false;
  for (size_t i = 0; i < others; ++i) {
    auto [from, ack] = co_await acks->next();
    if (ack) have.push_back(from);
    if (ack.is(ErrorCode::kStale)) stale = true;
  }
  co_await pushes.join();
  if (stale || topology_.layout()->epoch != layout->epoch)
    co_return fail(ErrorCode::kStale, "the layout has changed");
  if (!sets.quorum(have)) {
    co_return fail(
        ErrorCode::kUnavailable,
        "too few nodes answered: the change is stored here and spreads when they return");
  }
  co_return Status();
}

// Members that have adopted the joint layout refuse what is pushed under the one before; so what
// was acknowledged under it is on one of any majority of them.
Task<Status> ControlStore::catch_up(TimePoint deadline) {
  std::shared_ptr<const LayoutState> layout = topology_.layout();
  const ReplicaSets sets = member_sets(*layout);
  std::vector<NodeId> have;
  for (const NodeId& member : sets.current) {
    if (runtime_.clock.now() >= deadline) break;
    if (member == peers_.self()) {
      have.push_back(member);
      continue;
    }
    if (!topology_.alive(member)) continue;
    Status synced = co_await sync_with(member, layout->epoch);
    if (synced) have.push_back(member);
  }
  if (is_majority(sets.current, have)) co_return Status();
  co_return fail(ErrorCode::kUnavailable, "no majority of the members answers");
}

Task<Status> ControlStore::merge(std::vector<rows::ControlRow> rows) {
  WriteBatch batch;
  std::vector<RowKey> changed;
  for (rows::ControlRow& row : rows) {
    hlc_.witness(stamp_of(row));
    RowKey key(row.table(), row.key());
    auto it = rows_.find(key);
    if (it != rows_.end() && rank_of(it->second) >= rank_of(row)) continue;
    if (it == rows_.end() && rows_.size() >= kRowsMax)
      co_return fail(ErrorCode::kTooLarge, "the control tables are full");
    batch.put(kv_key(row.table(), row.key()), row.SerializeAsString());
    rows_[key] = std::move(row);
    digest_.reset();
    changed.push_back(std::move(key));
  }
  if (batch.empty()) co_return co_await kv_.durable(kv_.visible_version());
  batch.use_reserve();  // few and small, and keys must be taken back on a full disk, too
  // Who looks now sees the rows; so whoever watches must not learn of them later than the digest.
  for (const RowKey& key : changed) {
    for (size_t i = 0; i < watchers_.size(); ++i) {
      if (watchers_[i].first == key.first) watchers_[i].second(key.second);
    }
  }
  co_return co_await kv_.write(std::move(batch));
}

// The order of rows is fixed, so equal tables have equal digests.
uint64_t ControlStore::digest() const {
  if (digest_) return *digest_;
  uint64_t digest = 0;
  for (const auto& [key, row] : rows_) {
    std::string text = place_of(key.first, key.second);
    Writer writer(text);
    writer.u64(static_cast<uint64_t>(row.wall_ms()));
    writer.u32(row.counter());
    writer.raw(row.node());
    digest = XXH3_64bits_withSeed(text.data(), text.size(), digest);
  }
  digest_ = digest;
  return digest;
}

rows::ControlMessage ControlStore::page_after(std::string after) const {
  rows::ControlMessage page;
  page.set_kind(rows::ControlMessage::PUSH);
  auto it = rows_.begin();
  if (!after.empty()) {
    Reader reader(after);
    std::string table(reader.bytes());
    it = rows_.upper_bound(RowKey(std::move(table), std::string(reader.rest())));
  }
  size_t bytes = 0;
  for (; it != rows_.end() && bytes < kPageBytesMax; ++it) {
    bytes += it->second.ByteSizeLong();
    *page.add_rows() = it->second;
    page.set_after(place_of(it->first.first, it->first.second));
  }
  page.set_more(it != rows_.end());
  return page;
}

Task<Result<PeerMessage>> ControlStore::serve(NodeId from, PeerMessage request) {
  rows::ControlMessage message;
  if (!message.ParseFromString(request.head))
    co_return fail(ErrorCode::kInvalid, "a control message does not decode");
  PeerMessage reply;
  switch (message.kind()) {
    case rows::ControlMessage::PUSH: {
      std::shared_ptr<const LayoutState> layout = topology_.layout();
      if (message.epoch() != 0 && layout && message.epoch() < layout->epoch)
        co_return fail(ErrorCode::kStale, "the layout has changed");
      std::vector<rows::ControlRow> rows(message.rows().begin(), message.rows().end());
      CO_TRY_STATUS(co_await merge(std::move(rows)));
      co_return reply;
    }
    case rows::ControlMessage::DIGEST: {
      const uint32_t epoch = topology_.layout() ? topology_.layout()->epoch : 0;
      if (message.epoch() > epoch)
        co_return fail(ErrorCode::kUnavailable, "this node has not adopted that layout yet");
      message.set_epoch(epoch);
      message.set_digest(digest());
      reply.head = message.SerializeAsString();
      co_return reply;
    }
    case rows::ControlMessage::PULL:
      reply.head = page_after(message.after()).SerializeAsString();
      co_return reply;
    default: co_return fail(ErrorCode::kInvalid, "an unknown control message: upgrade this node");
  }
}

Task<Status> ControlStore::sync_with(NodeId peer, uint32_t epoch) {
  rows::ControlMessage ask;
  ask.set_epoch(epoch);
  ask.set_kind(rows::ControlMessage::DIGEST);
  PeerMessage message;
  message.head = ask.SerializeAsString();
  CO_TRY(PeerMessage reply, co_await peers_.call(peer, PeerService::kControl, std::move(message),
                                                 runtime_.clock.after(kDigestTimeout)));
  rows::ControlMessage answer;
  if (!answer.ParseFromString(reply.head))
    co_return fail(ErrorCode::kInvalid, "a control message does not decode");
  Status same_epoch;
  if (epoch != 0 && answer.epoch() != epoch)
    same_epoch = fail(ErrorCode::kUnavailable, "the other node has adopted a later layout");
  if (answer.digest() == digest()) {
    CO_TRY_STATUS(co_await kv_.durable(kv_.visible_version()));
    co_return same_epoch;
  }
  ask.set_kind(rows::ControlMessage::PULL);
  for (int pages = 0; pages < kPagesMax; ++pages) {
    PeerMessage pull;
    pull.head = ask.SerializeAsString();
    CO_TRY(PeerMessage page, co_await peers_.call(peer, PeerService::kControl, std::move(pull),
                                                  runtime_.clock.after(kSyncTimeout)));
    if (!answer.ParseFromString(page.head))
      co_return fail(ErrorCode::kInvalid, "a control message does not decode");
    std::vector<rows::ControlRow> rows(answer.rows().begin(), answer.rows().end());
    CO_TRY_STATUS(co_await merge(std::move(rows)));
    if (!answer.more()) break;
    ask.set_after(answer.after());
  }
  co_return same_epoch;
}

// ---- is this all?

Task<void> ControlStore::sync_into(NodeId peer, uint32_t epoch, std::vector<NodeId>& same) {
  Status synced = co_await sync_with(peer, epoch);
  if (synced) same.push_back(peer);
}

// A row that was acknowledged is on a majority of the members, of both sets while joint. A majority
// that answers under this epoch shares a member with it: had the layout changed before the row was
// written, that majority would have adopted the change.
Task<Status> ControlStore::compare_with_majority() {
  std::shared_ptr<const LayoutState> layout = topology_.layout();
  if (!layout) co_return fail(ErrorCode::kUnavailable, "this node has not joined the cluster yet");
  const ReplicaSets sets = member_sets(*layout);
  std::vector<NodeId> same;
  Scope asking;
  for (const NodeId& member : sets.all()) {
    if (member == peers_.self()) same.push_back(member);
    if (member == peers_.self() || !topology_.alive(member)) continue;
    asking.spawn(sync_into(member, layout->epoch, same));
  }
  co_await asking.join();
  if (sets.quorum(same) && topology_.layout()->epoch == layout->epoch) co_return Status();
  co_return fail(ErrorCode::kUnavailable,
                 "too few nodes answer to know whether this node has all users and keys");
}

Task<Status> ControlStore::confirm(TimePoint deadline) {
  // A comparison under way may have passed by what this call is about.
  const uint64_t need = rounds_.begun + 1;
  while (rounds_.good < need) {
    if (rounds_.ended >= need) co_return rounds_.failure;
    if (rounds_.begun > rounds_.ended) {
      std::shared_ptr<Event> over = rounds_.over;
      bool in_time = co_await over->wait_until(runtime_.clock, deadline);
      if (!in_time)
        co_return fail(ErrorCode::kUnavailable, "the other nodes do not answer in time");
      continue;
    }
    ++rounds_.begun;
    std::shared_ptr<Event> over = rounds_.over = std::make_shared<Event>();
    if (runtime_.clock.now() < rounds_.not_before)
      co_await runtime_.clock.sleep(rounds_.not_before - runtime_.clock.now());
    Status done = co_await compare_with_majority();
    rounds_.not_before = runtime_.clock.after(kConfirmPause);
    rounds_.ended = rounds_.begun;
    if (done) rounds_.good = rounds_.begun;
    rounds_.failure = std::move(done);
    over->set();
  }
  co_return Status();
}

Task<void> ControlStore::run(Scope& scope) {
  bool go_on = true;
  while (go_on) {
    std::shared_ptr<const LayoutState> layout = topology_.layout();
    std::vector<Member> members;
    if (layout) members = layout->joint() ? layout->next->members : layout->current.members;
    for (const Member& member : members) {
      if (member.id == peers_.self() || !topology_.alive(member.id)) continue;
      Status synced = co_await sync_with(member.id);
      if (!synced)
        log_debug("control tables: {} did not answer: {}", member.name, to_string(synced.error()));
    }
    go_on = co_await scope.sleep(runtime_.clock, kSyncEvery);
  }
}

}  // namespace covey
