// The holder's side of register.md: taking a partition over, learning a key, and writing it.
//
// A ballot under which a row was sent without reaching a quorum is given up. So no learnt state
// under a held ballot is ever older than a row that may have been chosen, and nothing needs to be
// pinned: whoever comes next prepares above and learns.
#include <algorithm>

#include "base/core/seeded_bug.h"
#include "store/register/damage.h"
#include "store/register/service.h"

namespace covey {

namespace {
constexpr Duration kContention = std::chrono::milliseconds(3);
}  // namespace

RegisterService::Holding& RegisterService::holding(PartitionId partition) {
  return holdings_[partition];
}

void RegisterService::saw(const Ballot& ballot) { counter_ = std::max(counter_, ballot.counter); }

void RegisterService::heard(const RegisterKey& key, const Ballot& ballot) {
  const RegisterTable* table = tables_.find(key.table);
  if (table && table->joins()) return;  // ranked by no ballot
  saw(ballot);
  auto held = holdings_.find(key.partition);
  if (held != holdings_.end() && held->second.ballot < ballot) held->second.held = false;
}

void RegisterService::drop(PartitionId partition, const Ballot& ballot) {
  Holding& held = holding(partition);
  if (held.ballot == ballot) held.held = false;
}

// ---- taking over

Task<Result<Ballot>> RegisterService::hold(PartitionId partition, TimePoint deadline) {
  Holding& held = holding(partition);  // map nodes stay where they are
  while (true) {
    if (held.held && held.ballot.epoch == epoch()) co_return held.ballot;
    if (runtime_.clock.now() >= deadline || scope_.stop_requested())
      co_return fail(ErrorCode::kUnavailable, "no quorum of the partition's replicas answered");
    if (held.taking) {
      co_await held.taken.wait_until(runtime_.clock, deadline);
      continue;
    }
    held.taking = true;
    held.taken.reset();
    auto ballot = co_await take_over(partition, deadline);
    held.taking = false;
    if (ballot) {
      held.ballot = *ballot;
      held.held = true;
      held.seq = 0;
    }
    held.taken.set();
    if (!ballot) co_return tl::unexpected<Error>(ballot.error());
  }
}

Task<Result<Ballot>> RegisterService::take_over(PartitionId partition, TimePoint deadline) {
  Error error{ErrorCode::kUnavailable, "no quorum of the partition's replicas answered", {}};
  while (runtime_.clock.now() < deadline && !scope_.stop_requested()) {
    CO_TRY(PlaceRef at, place(partition));
    if (!at->self_in)
      co_return fail(ErrorCode::kUnavailable, "this node is no replica of the partition");
    KvVersion after = 0;
    auto own = acceptor_.partition(partition, after);
    if (own.is(ErrorCode::kCorrupt)) {
      // Nothing was done: another replica can hold it, with a quorum that does not need this one.
      co_return fail(ErrorCode::kUnavailable,
                     "what this replica promised is damaged: " + own.error().message,
                     std::string(kDamagedPromise));
    }
    if (!own) co_return tl::unexpected<Error>(own.error());
    saw(own->promised);
    saw(own->floor.ballot);
    Ballot ballot{at->epoch, ++counter_, tag_, boot_};
    Request request;
    request.verb = Verb::kPrepare;
    request.key.partition = partition;
    request.ballot = ballot;
    Status done = co_await on_quorum(at, std::move(request),
                                     std::min(deadline, runtime_.clock.after(kTakeOverStep)));
    // Another node may have gone above it meanwhile; then this replica has promised that.
    auto now = acceptor_.partition(partition, after);
    if (done && now && now->promised <= ballot && ballot.epoch == epoch()) co_return ballot;
    if (!done) error = done.error();
    if (error.code == ErrorCode::kNoSpace || error.code == ErrorCode::kCorrupt) break;
    co_await pause(kContention);
  }
  co_return fail(error.code, error.message);
}

// ---- one mutation of a key at a time

Task<bool> RegisterService::lock_key(std::string key, TimePoint deadline) {
  auto [it, free] = busy_keys_.try_emplace(key);
  if (free) co_return true;
  if (it->second.size() >= kKeyQueueMax) co_return false;
  Event turn;
  it->second.push_back(&turn);
  bool came = co_await turn.wait_until(runtime_.clock, deadline);
  if (came) co_return true;
  busy_keys_[key].remove(&turn);
  co_return false;
}

void RegisterService::unlock_key(const std::string& key) {
  auto it = busy_keys_.find(key);
  CHECK(it != busy_keys_.end());
  if (it->second.empty()) {
    busy_keys_.erase(it);
    return;
  }
  Event* next = it->second.front();
  it->second.pop_front();
  next->set();
}

// ---- learnt states

void RegisterService::remember(const std::string& store_key, KeyState state) {
  auto [it, fresh] = learnt_.try_emplace(store_key);
  if (fresh) {
    ages_.push_front(store_key);
  } else {
    ages_.splice(ages_.begin(), ages_, it->second.age);
  }
  it->second.age = ages_.begin();
  it->second.state = std::move(state);
  if (learnt_.size() <= kLearntKeysMax) return;
  learnt_.erase(ages_.back());
  ages_.pop_back();
}

const RegisterService::KeyState* RegisterService::remembered(const std::string& store_key,
                                                             const Ballot& ballot) {
  auto it = learnt_.find(store_key);
  if (it == learnt_.end() || it->second.state.ballot != ballot) return nullptr;
  return &it->second.state;
}

Task<Result<RegisterService::KeyState>> RegisterService::learn(RegisterKey key, Ballot ballot,
                                                               TimePoint deadline) {
  CO_TRY(PlaceRef at, place(key.partition));
  if (at->epoch != ballot.epoch) {
    drop(key.partition, ballot);
    co_return fail(ErrorCode::kStale, "the layout has changed");
  }
  Acceptor::Outcome own = acceptor_.learn(key, ballot);
  auto gather = std::make_shared<Gather>();
  if (own.reply.answer == Answer::kNack) {
    saw(own.reply.promised);
    drop(key.partition, ballot);
    co_return fail(ErrorCode::kStale, "the ballot was lost");
  }
  if (!at->alone) {
    Request request;
    request.verb = Verb::kLearn;
    request.epoch = at->epoch;
    request.key = key;
    request.ballot = ballot;
    std::string head = encode_request(request);
    for (const NodeId& node : at->all)
      if (node != self_) ask(gather, node, head, deadline);
  }
  ask_self(gather, std::move(own));
  co_return co_await judge(std::move(key), ballot, at, gather, deadline);
}

Task<Result<RegisterService::KeyState>> RegisterService::judge(RegisterKey key, Ballot ballot,
                                                               PlaceRef at, GatherRef gather,
                                                               TimePoint deadline) {
  int asked_again = 0;
  while (true) {
    std::vector<NodeId> yes, equal;
    bool nacked = false;
    const Got* highest = nullptr;
    Rank floor;
    for (const Got& got : gather->got) {
      nacked = nacked || got.reply.answer == Answer::kNack;
      if (got.reply.answer != Answer::kYes) continue;
      yes.push_back(got.from);
      if (!got.reply.present) floor = std::max(floor, got.reply.floor);
      bool higher = highest && got.reply.entry.rank > highest->reply.entry.rank;
      if (!highest || (higher && !SEEDED_BUG("register-learn-first-reply"))) highest = &got;
    }
    if (at->sets.quorum(yes)) {
      if (highest->reply.present && floor >= highest->reply.entry.rank && asked_again < 3) {
        // Was the row collected between the two replies? Its replica is asked again.
        ++asked_again;
        NodeId again = highest->from;
        std::erase_if(gather->got, [&again](const Got& got) { return got.from == again; });
        --gather->asked;
        Request request;
        request.verb = Verb::kLearn;
        request.epoch = at->epoch;
        request.key = key;
        request.ballot = ballot;
        if (again == self_) {
          ask_self(gather, acceptor_.learn(key, ballot));
        } else {
          ask(gather, again, encode_request(request), deadline);
        }
        bool arrived = true;
        while (arrived && !gather->from(again)) arrived = co_await more(gather, deadline);
        const Reply* second = gather->from(again);
        if (!second || second->answer != Answer::kYes || second->present) asked_again = 3;
        continue;
      }
      KeyState state;
      state.ballot = ballot;
      state.floor = floor;
      state.present = highest->reply.present;
      state.entry = highest->reply.entry;
      const bool gone = state.present && state.entry.tombstone && state.entry.committed;
      for (const Got& got : gather->got) {
        if (got.reply.answer != Answer::kYes) continue;
        bool same = got.reply.present == state.present && got.reply.entry.rank == state.entry.rank;
        bool collected = gone && !got.reply.present && got.reply.floor >= state.entry.rank;
        if (same || collected) equal.push_back(got.from);
      }
      state.on_quorum = at->sets.quorum(equal);
      state.chosen = state.entry.committed || state.on_quorum;
      co_return state;
    }
    if (nacked) {
      drop(key.partition, ballot);
      co_return fail(ErrorCode::kStale, "the ballot was lost");
    }
    bool arrived = co_await more(gather, deadline);
    if (!arrived)
      co_return fail(ErrorCode::kUnavailable, "no quorum of the partition's replicas answered");
  }
}

// ---- writing

// REQUIRES: the key's turn is held, entry.rank is fresh under a ballot held a moment ago.
Task<RegisterService::SendResult> RegisterService::replicate(RegisterKey key, Entry entry,
                                                             std::vector<Attachment> attachments,
                                                             Fence fence, TimePoint deadline,
                                                             bool repair) {
  SendResult result;
  result.rank = entry.rank;
  auto placed = place(key.partition);
  if (!placed) co_return result;
  PlaceRef at = *placed;
  entry.committed = at->alone;  // one replica: whoever sees it waits until it is durable
  Acceptor::Outcome own = acceptor_.accept(key, entry, attachments, fence, at->epoch);
  if (repair) own.batch.use_repair_share();
  switch (own.reply.answer) {
    case Answer::kYes: break;
    case Answer::kNack:
      saw(own.reply.promised);
      result.sending = Sending::kRefused;
      co_return result;
    case Answer::kFloor:
      result.sending = Sending::kFloor;
      result.floor = own.reply.floor;
      co_return result;
    case Answer::kStale: result.sending = Sending::kStale; co_return result;
    default:
      result.error = Error{own.reply.code, own.reply.message, own.reply.detail};
      co_return result;
  }
  if (at->alone) {
    Status done = co_await kv_.write(std::move(own.batch));
    result.sending = done ? Sending::kChosen : Sending::kFailed;
    if (!done) result.error = done.error();
    co_return result;
  }
  Request request;
  request.verb = Verb::kAccept;
  request.epoch = at->epoch;
  request.repair = repair;
  request.key = key;
  request.entry = std::move(entry);
  request.attachments = std::move(attachments);
  request.fence = fence;
  std::string head = encode_request(request);
  auto gather = std::make_shared<Gather>();
  gather->partition = key.partition;
  gather->accept = result.rank.ballot;
  TimePoint until = std::min(deadline, runtime_.clock.after(kAcceptStep));
  // First here: a full disk says so before it takes anything, and then nobody else need hear of it.
  ask_self(gather, std::move(own));
  if (const Reply* mine = gather->from(self_); mine && mine->answer == Answer::kError) {
    result.sending = Sending::kNotSent;
    result.error = Error{mine->code, mine->message, mine->detail};
    if (mine->code == ErrorCode::kNoSpace || mine->code == ErrorCode::kOverloaded) co_return result;
  }
  for (const NodeId& node : at->all)
    if (node != self_) ask(gather, node, head, until);
  result.sending = Sending::kInDoubt;
  while (true) {
    std::vector<NodeId> yes;
    for (const Got& got : gather->got) {
      if (got.reply.answer == Answer::kYes) yes.push_back(got.from);
      if (got.reply.answer == Answer::kFloor) result.floor = got.reply.floor;
    }
    if (at->sets.quorum(yes)) {
      result.sending = Sending::kChosen;
      note_committed(key, result.rank);
      co_return result;
    }
    bool arrived = co_await more(gather, until);
    if (!arrived) break;
  }
  if (result.floor != Rank{}) result.sending = Sending::kFloor;
  // A refusal alone does not say so: another copy of the Accept may have come first, or a reader's
  // relay of the row, and a later row taken its place since.
  size_t without = 0;
  for (const Got& got : gather->got)
    if (got.reply.answer == Answer::kNack)
      without += got.reply.never || SEEDED_BUG("register-refusal-is-absence") ? 1 : 0;
  result.only_here = without + 1 == at->all.size();
  co_return result;
}

Task<RegisterService::SendResult> RegisterService::recommit(RegisterKey key, KeyState state,
                                                            Ballot ballot, Fence fence,
                                                            TimePoint deadline) {
  SendResult result;
  Entry entry = std::move(state.entry);
  if (!state.present) entry.tombstone = true;
  std::vector<Attachment> attachments;
  auto at = place(key.partition);
  if (!at) {
    result.error = at.error();
    co_return result;
  }
  for (const AttachmentName& name : entry.names) {
    std::vector<NodeId> without;
    auto value = co_await look_for_attachment(*at, key.partition, name.owner, name.suffix, deadline,
                                              without);
    if (value) {
      attachments.push_back({name.owner, name.suffix, std::move(*value)});
    } else if (without.size() < (*at)->all.size()) {
      // Whoever had the row, and with it what it names, may just have gone: written again without,
      // the row would be chosen with its data on that one replica.
      result.error = value.error();
      co_return result;
    }
  }
  Holding& held = holding(key.partition);
  if (!held.held || held.ballot != ballot) {
    result.sending = Sending::kRefused;
    co_return result;
  }
  entry.rank = Rank{ballot, ++held.seq};
  KeyState again;
  again.present = true;
  again.entry = entry;
  again.chosen = true;
  again.ballot = ballot;
  result = co_await replicate(key, std::move(entry), std::move(attachments), fence, deadline, true);
  if (result.sending == Sending::kChosen) {
    remember(register_store_key(key), std::move(again));
  } else if (result.sending != Sending::kNotSent) {
    drop(key.partition, ballot);
    saw(result.floor.ballot);
  }
  co_return result;
}

}  // namespace covey
