#include "store/sync/orphans.h"

#include <algorithm>

#include "base/core/codec.h"
#include "base/core/log.h"
#include "store/meta/refused.h"
#include "store/objects/keys.h"
#include "store/sync/named_blocks.h"

namespace covey {
namespace {

constexpr size_t kJudgedAtOnce = 1024;
constexpr size_t kListedAtOnce = 1024;
constexpr Duration kAskTimeout = std::chrono::seconds(60);  // it walks a partition's rows

// A refusal that is not final: a format byte, the judge, the home partition.
constexpr uint8_t kPending = 1;
struct Pending {
  NodeId judge;
  PartitionId home = 0;
};
std::string encode_pending(const Pending& pending) {
  std::string value;
  Writer w(value);
  w.u8(kPending);
  w.raw(pending.judge.view());
  w.u32(pending.home);
  return value;
}
// nullopt: the refusal is final, or of a kind that only a newer binary takes back.
std::optional<Pending> decode_pending(std::string_view value) {
  Reader r(value);
  if (r.u8() != kPending) return std::nullopt;
  auto judge = NodeId::from_bytes(r.raw(NodeId::kSize));
  Pending pending;
  pending.home = r.u32();
  if (!r.done() || !judge) return std::nullopt;
  pending.judge = *judge;
  return pending;
}

}  // namespace

Orphans::Orphans(Runtime runtime, Kv& kv, Peers& peers, const Topology& topology,
                 BlockService& blocks, OrphanSettings settings)
    : runtime_(runtime),
      kv_(kv),
      peers_(peers),
      topology_(topology),
      blocks_(blocks),
      settings_(settings) {}

std::string Orphans::encode(const Question& question) {
  std::string bytes;
  Writer w(bytes);
  w.u8(static_cast<uint8_t>(question.ask));
  w.u32(question.epoch);
  w.u32(question.home);
  w.varint(question.suspects.size());
  for (const Suspect& one : question.suspects) {
    w.raw(one.version.view());
    w.u8(one.part ? 1 : 0);
  }
  return bytes;
}

Result<Orphans::Question> Orphans::decode(std::string_view bytes) {
  Reader r(bytes);
  Question question;
  question.ask = static_cast<Ask>(r.u8());
  question.epoch = r.u32();
  question.home = r.u32();
  uint64_t count = r.varint();
  if (count > kJudgedAtOnce) return fail(ErrorCode::kInvalid, "too many versions in one question");
  for (uint64_t i = 0; i < count && r.ok(); ++i) {
    auto version = VersionId::from_bytes(r.raw(VersionId::kSize));
    bool part = r.u8() == 1;
    if (version) question.suspects.push_back({*version, part});
  }
  if (!r.done()) return fail(ErrorCode::kInvalid, "a question about orphans does not decode");
  return question;
}

Task<void> Orphans::run(Scope& scope) {
  // Not all nodes at the same time: they would stand in each other's way.
  auto until_next = [this] {
    auto half = static_cast<uint64_t>(settings_.pause.count()) / 2;
    return Duration(static_cast<int64_t>(half + runtime_.rng.below(2 * half + 1)));
  };
  for (;;) {
    bool more = co_await scope.sleep(runtime_.clock, until_next());
    if (!more) co_return;
    size_t partitions = topology_.layout()->current.partitions();
    for (PartitionId home = 0; home < partitions && !scope.stop_requested(); ++home) {
      auto swept = co_await sweep(home);
      if (!swept) log_debug("orphans of partition {}: {}", home, to_string(swept.error()));
      if (swept && *swept > 0)
        log_info("partition {}: {} versions of failed uploads were dropped", home, *swept);
      co_await runtime_.loop.yield();
    }
  }
}

Task<Result<size_t>> Orphans::sweep(PartitionId home) {
  std::vector<NodeId> all = replica_sets(*topology_.layout(), home).all();
  if (std::find(all.begin(), all.end(), peers_.self()) == all.end()) co_return size_t{0};
  // A member that is away may keep a hint that names a version (store/available).
  for (const Member& member : topology_.layout()->current.members) {
    if (!topology_.alive(member.id))
      co_return fail(ErrorCode::kUnavailable, "a node is away: what it keeps may name a block");
  }
  CO_TRY(Suspects left, co_await suspects(home));
  // Before the replicas judge: a hint that is handed over meanwhile is a row of theirs then.
  if (!left.empty()) {
    CO_TRY_STATUS(co_await nobody_keeps_hints(home));
  }
  size_t dropped = 0;
  while (!left.empty()) {
    size_t count = std::min(left.size(), kJudgedAtOnce);
    Suspects some(left.end() - static_cast<ptrdiff_t>(count), left.end());
    left.resize(left.size() - count);
    CO_TRY(size_t done, co_await judge(home, std::move(some)));
    dropped += done;
  }
  co_return dropped;
}

bool Orphans::young(PartitionId home, const VersionId& version) {
  return blocks_.segments().written_since(home, version, runtime_.clock.now() - settings_.min_age);
}

Task<Result<std::set<VersionId>>> Orphans::old_versions(PartitionId home) {
  std::set<VersionId> old;
  std::set<VersionId> fresh;
  TimePoint since = runtime_.clock.now() - settings_.min_age;
  std::optional<BlockId> after;
  for (bool more = true; more;) {
    CO_TRY(std::vector<SegmentStore::Listed> found,
           blocks_.segments().list(home, after, kListedAtOnce));
    more = found.size() == kListedAtOnce;
    for (const SegmentStore::Listed& one : found) {
      (one.written > since ? fresh : old).insert(one.id.version);
      after = one.id;
    }
    co_await runtime_.loop.yield();
  }
  for (const VersionId& version : fresh) old.erase(version);
  co_return old;
}

// Refusals of this node's own that an earlier process left; later ones are counted as they come.
Task<Status> Orphans::find_own_refusals() {
  std::string begin = table_begin(TableId::kRefused);
  std::string end = table_end(TableId::kRefused);
  for (bool more = true; more;) {
    auto rows = kv_.scan(begin, end);
    for (size_t looked = 0; rows->valid() && looked < kListedAtOnce; ++looked, rows->next()) {
      begin = std::string(rows->key()) + '\0';
      auto pending = decode_pending(rows->value());
      auto version = VersionId::from_bytes(rows->key().substr(1));
      if (pending && version && pending->judge == peers_.self())
        own_[pending->home].insert(*version);
    }
    CO_TRY_STATUS(rows->status());
    more = rows->valid();
    rows.reset();
    co_await runtime_.loop.yield();
  }
  own_found_ = true;
  co_return Status();
}

Task<Result<Orphans::Suspects>> Orphans::suspects(PartitionId home) {
  CO_TRY(std::set<VersionId> old, co_await old_versions(home));
  if (!own_found_) {
    CO_TRY_STATUS(co_await find_own_refusals());
  }
  if (old.empty() && !own_.contains(home)) co_return Suspects();
  NamedBlocks names(kv_, home);
  while (!names.done()) {  // most are named by a row: those first, while it costs one walk
    CO_TRY(std::vector<NamedBlocks::Named> some, names.next());
    for (const NamedBlocks::Named& one : some) old.erase(one.id.version);
    co_await runtime_.loop.yield();
  }
  if (auto own = own_.find(home); own != own_.end()) {
    old.insert(own->second.begin(), own->second.end());
  }
  Suspects left;
  for (const VersionId& version : old) {
    // What its first record says of it; without one the careful answer.
    bool part = true;
    auto first = blocks_.segments().first_of(home, version);
    if (first) {
      auto head = co_await blocks_.segments().head_of({home, *first});
      if (head) part = head->owner.part > 0;
    }
    left.push_back({version, part});
  }
  co_return left;
}

// What this replica answers a judge. Where it answers kRefused its refusal is durable.
Task<Result<std::vector<Orphans::Answer>>> Orphans::refuse(NodeId judge, Question question) {
  auto layout = topology_.layout();
  if (!layout || question.home >= layout->current.partitions())
    co_return fail(ErrorCode::kUnavailable, "this node has not joined the cluster yet");
  std::vector<NodeId> all = replica_sets(*layout, question.home).all();
  auto replica = [&](const NodeId& node) {
    return std::find(all.begin(), all.end(), node) != all.end();
  };
  if (layout->epoch != question.epoch || !replica(peers_.self()))
    co_return fail(ErrorCode::kStale, "the layout is changing");
  std::vector<Answer> answers(question.suspects.size(), Answer::kRefused);
  std::string mine = encode_pending({judge, question.home});
  WriteBatch batch;
  Suspects look;
  for (size_t i = 0; i < answers.size(); ++i) {
    const Suspect& one = question.suspects[i];
    CO_TRY(std::optional<KvValue> row, kv_.get(refused_store_key(one.version)));
    std::optional<Pending> pending;
    if (row) pending = decode_pending(row->bytes);
    if (row && !pending) continue;  // final
    if (pending && pending->judge != judge && replica(pending->judge)) {
      answers[i] = Answer::kBusy;
      continue;
    }
    batch.put(refused_store_key(one.version), mine);
    if (judge == peers_.self()) own_[question.home].insert(one.version);
    look.push_back(one);
  }
  if (look.empty()) co_return answers;
  CO_TRY_STATUS(co_await kv_.write(std::move(batch)));
  CO_TRY(std::set<VersionId> names,
         co_await named_versions(runtime_.loop, kv_, blocks_.segments(), question.home, look));
  Suspects known;
  for (const Suspect& one : look) {
    CO_TRY(std::optional<KvValue> row, kv_.get(refused_store_key(one.version)));
    bool stands = row && row->bytes == mine;  // a committed row that came meanwhile lifts it
    if (!stands || names.contains(one.version) || young(question.home, one.version))
      known.push_back(one);
  }
  for (const Suspect& one : known) {
    for (size_t i = 0; i < answers.size(); ++i) {
      if (question.suspects[i].version == one.version) answers[i] = Answer::kNamed;
    }
  }
  CO_TRY_STATUS(co_await lift(judge, question.home, std::move(known)));
  co_return answers;
}

void Orphans::forget_own(PartitionId home, const VersionId& version) {
  auto own = own_.find(home);
  if (own == own_.end()) return;
  own->second.erase(version);
  if (own->second.empty()) own_.erase(own);
}

Task<Status> Orphans::lift(NodeId judge, PartitionId home, Suspects suspects) {
  WriteBatch batch;
  std::string mine = encode_pending({judge, home});
  for (const Suspect& one : suspects) {
    CO_TRY(std::optional<KvValue> row, kv_.get(refused_store_key(one.version)));
    if (row && row->bytes == mine) batch.erase(refused_store_key(one.version));
    if (judge == peers_.self()) forget_own(home, one.version);
  }
  if (batch.empty()) co_return Status();
  co_return co_await kv_.write(std::move(batch));
}

// REQUIRES: every replica has refused these versions.
Task<Status> Orphans::drop(PartitionId home, Suspects suspects) {
  for (const Suspect& one : suspects) {
    if (!blocks_.segments().refused(one.version)) continue;  // lifted: a committed row names it
    CO_TRY_STATUS(co_await blocks_.drop_local(home, one.version));
    forget_own(home, one.version);
  }
  co_return Status();
}

Result<Orphans::Answer> Orphans::hints_here() const {
  auto hints = kv_.scan(table_begin(TableId::kHints), table_end(TableId::kHints));
  bool any = hints->valid();
  TRY_STATUS(hints->status());
  return any ? Answer::kNamed : Answer::kRefused;
}

Task<Status> Orphans::nobody_keeps_hints(PartitionId home) {
  auto layout = topology_.layout();
  std::vector<NodeId> members;
  for (const Member& member : layout->current.members) members.push_back(member.id);
  if (layout->next) {
    for (const Member& member : layout->next->members)
      if (!layout->current.find(member.id)) members.push_back(member.id);
  }
  for (const NodeId& node : members) {
    Question question{Ask::kHints, layout->epoch, home, {}};
    CO_TRY(std::vector<Answer> answers, co_await ask(node, std::move(question)));
    if (answers.front() != Answer::kRefused)
      co_return fail(ErrorCode::kUnavailable,
                     "a node keeps rows for others: they may name a block");
  }
  co_return Status();
}

Task<Result<std::vector<Orphans::Answer>>> Orphans::ask(NodeId node, Question question) {
  size_t count = question.ask == Ask::kRefuse  ? question.suspects.size()
                 : question.ask == Ask::kHints ? 1
                                               : 0;
  PeerMessage request;
  request.head = encode(question);
  CO_TRY(PeerMessage reply, co_await peers_.call(node, PeerService::kOrphans, std::move(request),
                                                 runtime_.clock.after(kAskTimeout)));
  if (reply.head.size() != count) co_return fail(ErrorCode::kInvalid, "an answer of wrong length");
  std::vector<Answer> answers;
  for (char c : reply.head) answers.push_back(static_cast<Answer>(c));
  co_return answers;
}

Task<Result<size_t>> Orphans::judge(PartitionId home, Suspects suspects) {
  auto layout = topology_.layout();
  std::vector<NodeId> others = replica_sets(*layout, home).all();
  std::erase(others, peers_.self());
  Question question{Ask::kRefuse, layout->epoch, home, suspects};
  CO_TRY(std::vector<Answer> answers, co_await refuse(peers_.self(), question));
  Suspects left, spared;
  Status asked;
  for (size_t next = 0;; ++next) {
    left.clear();
    for (size_t i = 0; i < answers.size(); ++i) {
      (answers[i] == Answer::kRefused ? left : spared).push_back(question.suspects[i]);
    }
    if (next == others.size() || left.empty()) break;
    question.suspects = left;
    auto reply = co_await ask(others[next], question);
    if (!reply) {  // it stays refused until all can be asked
      asked = tl::unexpected<Error>(std::move(reply).error());
      left.clear();
      break;
    }
    answers = std::move(*reply);
  }
  if (asked && topology_.layout()->epoch != layout->epoch)
    co_return fail(ErrorCode::kStale, "the layout is changing");
  CO_TRY_STATUS(co_await lift(peers_.self(), home, spared));
  CO_TRY_STATUS(co_await drop(home, left));
  for (const NodeId& node : others) {
    Question lifting{Ask::kLift, layout->epoch, home, spared};
    Question dropping{Ask::kDrop, layout->epoch, home, left};
    // Who does not hear of it judges for itself.
    if (!spared.empty()) (void)co_await ask(node, std::move(lifting));
    if (!left.empty()) (void)co_await ask(node, std::move(dropping));
  }
  dropped_ += left.size();
  CO_TRY_STATUS(std::move(asked));
  co_return left.size();
}

Task<Result<PeerMessage>> Orphans::serve(NodeId from, PeerMessage request) {
  CO_TRY(Question question, decode(request.head));
  PeerMessage reply;
  PartitionId home = question.home;
  switch (question.ask) {
    case Ask::kRefuse: {
      CO_TRY(std::vector<Answer> answers, co_await refuse(from, std::move(question)));
      for (Answer answer : answers) reply.head += static_cast<char>(answer);
      co_return reply;
    }
    case Ask::kLift: {
      CO_TRY_STATUS(co_await lift(from, home, std::move(question.suspects)));
      co_return reply;
    }
    case Ask::kDrop: {
      CO_TRY_STATUS(co_await drop(home, std::move(question.suspects)));
      co_return reply;
    }
    case Ask::kHints: {
      CO_TRY(Answer any, hints_here());
      reply.head += static_cast<char>(any);
      co_return reply;
    }
  }
  co_return fail(ErrorCode::kInvalid, "an unknown question about orphans: upgrade this node");
}

}  // namespace covey
