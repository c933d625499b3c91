// A holder executes mutations: decide on the learnt state, write, and find out what became of a
// write whose answer was lost.
#include <algorithm>

#include "base/core/seeded_bug.h"
#include "store/register/service.h"

namespace covey {

namespace {

constexpr Duration kContention = std::chrono::milliseconds(3);

std::optional<std::string> row_of(bool present, const Entry& entry) {
  if (!present || entry.tombstone) return std::nullopt;
  return entry.row;
}

bool contains(const Entry& entry, const OperationId& id) {
  return std::find(entry.operations.begin(), entry.operations.end(), id) != entry.operations.end();
}

}  // namespace

Task<Result<std::string>> RegisterService::execute(RegisterKey key, Mutation mutation,
                                                   TimePoint deadline) {
  std::string store_key = register_store_key(key);
  if (busy_keys_.try_emplace(store_key).second == false) {
    bool turn = co_await lock_key(store_key, deadline);
    if (!turn) co_return fail(ErrorCode::kOverloaded, "too many writes of this key: try again");
  }
  auto done = co_await execute_locked(std::move(key), store_key, std::move(mutation), deadline);
  unlock_key(store_key);
  co_return done;
}

// What the table makes of the key's state; learns it where that is needed. An error with detail
// "again" means: start again.
Task<Result<RegisterTable::Write>> RegisterService::decide(const RegisterTable& table,
                                                           RegisterKey key,
                                                           const Mutation& mutation, Ballot ballot,
                                                           KeyState& state, bool known,
                                                           TimePoint deadline) {
  bool fresh = false;
  if (!known) {
    auto learnt = co_await learn(key, ballot, deadline);
    if (!learnt) co_return fail(learnt.error().code, learnt.error().message, "again");
    state = std::move(*learnt);
    fresh = true;
  }
  auto write = table.apply(row_of(state.present, state.entry), mutation);
  if (!write && !fresh && !SEEDED_BUG("register-cached-412")) {
    // A refusal rests on what a quorum says now, never on what was learnt before the request.
    auto learnt = co_await learn(key, ballot, deadline);
    if (!learnt) co_return fail(learnt.error().code, learnt.error().message, "again");
    state = std::move(*learnt);
    write = table.apply(row_of(state.present, state.entry), mutation);
  }
  // A refusal may rest only on a chosen row; and a row made from one that is not may need
  // attachments that one replica has.
  const bool hasty = SEEDED_BUG("register-412-on-unchosen") && !write;
  if (!state.chosen && !hasty && (!write || !state.entry.names.empty())) {
    SendResult sent = co_await recommit(key, state, ballot, Fence{}, deadline);
    if (sent.sending == Sending::kNotSent)
      co_return fail(sent.error.code, sent.error.message, "again");
    if (sent.sending != Sending::kChosen)
      co_return fail(ErrorCode::kUnavailable, sent.error.message, "again");
    state.chosen = true;
    state.entry.rank = sent.rank;
  }
  co_return write;
}

Task<Result<std::string>> RegisterService::execute_locked(RegisterKey key, std::string store_key,
                                                          Mutation mutation, TimePoint deadline) {
  const RegisterTable* table = tables_.find(key.table);
  if (!table) co_return fail(ErrorCode::kInvalid, "no such register table");
  const bool blind = table->blind(mutation);
  Error error{ErrorCode::kUnavailable, "no quorum of the partition's replicas answered", {}};
  for (int tries = 0; tries < kMutationAttemptsMax; ++tries) {
    if (tries > 0) co_await pause(kContention);
    if (runtime_.clock.now() >= deadline || scope_.stop_requested()) break;
    CO_TRY(Ballot ballot, co_await hold(key.partition, deadline));
    KeyState state;
    const KeyState* known = remembered(store_key, ballot);
    if (known) state = *known;
    Result<RegisterTable::Write> write = RegisterTable::Write{};
    if (blind) {
      write = table->apply(std::nullopt, mutation);
      if (!write) co_return fail(write.error().code, write.error().message, write.error().detail);
    } else {
      write = co_await decide(*table, key, mutation, ballot, state, known != nullptr, deadline);
      if (write.is(ErrorCode::kNoSpace)) co_return fail(write.code(), write.error().message);
      if (!write && write.error().detail == "again") continue;
      if (!write) {
        remember(store_key, std::move(state));
        co_return fail(write.error().code, write.error().message, write.error().detail);
      }
    }
    Holding& held = holding(key.partition);
    if (!held.held || held.ballot != ballot) continue;
    Entry entry;
    entry.rank = Rank{ballot, ++held.seq};
    entry.tombstone = write->tombstone;
    if (!write->tombstone) entry.row = std::move(write->row);
    entry.operations.push_back(mutation.operation);
    for (const OperationId& id : state.entry.operations)
      if (entry.operations.size() < kEntryOperationsMax) entry.operations.push_back(id);
    for (const Attachment& row : mutation.attachments)
      entry.names.push_back({row.owner, row.suffix});
    if (!write->tombstone) {
      if (auto inner = table->inline_attachment(entry.row)) {
        AttachmentName name{inner->first, inner->second};
        if (std::find(entry.names.begin(), entry.names.end(), name) == entry.names.end())
          entry.names.push_back(std::move(name));
      }
    }
    KeyState fresh;
    fresh.present = true;
    fresh.entry = entry;
    fresh.chosen = true;
    fresh.ballot = ballot;
    Rank attempt = entry.rank;
    std::vector<Attachment> attachments = mutation.attachments;
    SendResult sent =
        co_await replicate(key, std::move(entry), std::move(attachments), mutation.fence, deadline);
    switch (sent.sending) {
      case Sending::kChosen:
        remember(store_key, std::move(fresh));
        co_return std::move(write->reply);
      case Sending::kStale:
        co_return fail(ErrorCode::kStale, "the bucket has changed: read it again");
      case Sending::kNotSent:
        co_return fail(sent.error.code, sent.error.message, sent.error.detail);
      case Sending::kFailed:
        drop(key.partition, ballot);
        co_return fail(sent.error.code, sent.error.message, sent.error.detail);
      case Sending::kRefused: drop(key.partition, ballot); continue;  // never sent
      case Sending::kFloor: saw(sent.floor.ballot); [[fallthrough]];
      case Sending::kInDoubt: {
        if (SEEDED_BUG("register-in-doubt-forgotten"))
          co_return fail(ErrorCode::kUnknownOutcome, "the ballot is kept");
        if (!SEEDED_BUG("register-look-up-same-ballot")) drop(key.partition, ballot);
        Found found = co_await look_up(key, mutation.operation, attempt, sent.only_here,
                                       mutation.fence, deadline);
        if (found == Found::kYes) co_return std::move(write->reply);
        if (found == Found::kUnknown && SEEDED_BUG("register-unknown-is-conflict"))
          found = Found::kNo;
        if (found == Found::kUnknown)
          co_return fail(ErrorCode::kUnknownOutcome,
                         "the write may or may not have happened: read the key to see");
        error = Error{blind ? ErrorCode::kUnavailable : ErrorCode::kConflict,
                      "another write was in flight: try again",
                      {}};
        if (!blind) co_return fail(error.code, error.message);
      }
    }
  }
  co_return fail(error.code, error.message);
}

// What became of `operation`, sent as `attempt`? Looked up under a higher ballot, so that what is
// not found can never be chosen any more.
Task<RegisterService::Found> RegisterService::look_up(RegisterKey key, OperationId operation,
                                                      Rank attempt, bool only_here, Fence fence,
                                                      TimePoint deadline) {
  // The row lies on this replica alone, and nobody has prepared above it here: nobody can have
  // learnt it. What is not found then was never written. (hold() raises the promise below before
  // it first suspends.)
  KvVersion after = 0;
  auto own = acceptor_.partition(key.partition, after);
  bool unseen = only_here && own && own->promised == attempt.ballot;
  const uint64_t foreign = holding(key.partition).foreign;
  saw(attempt.ballot);
  while (runtime_.clock.now() < deadline && !scope_.stop_requested()) {
    auto ballot = co_await hold(key.partition, deadline);
    if (!ballot) break;
    if (*ballot <= attempt.ballot && !SEEDED_BUG("register-look-up-same-ballot")) {
      drop(key.partition, *ballot);
      continue;
    }
    auto state = co_await learn(key, *ballot, deadline);
    if (!state) {
      co_await pause(kContention);
      continue;
    }
    bool found = contains(state->entry, operation);
    // Under a fence it is not enough that the row stands: somebody may have carried it on without
    // one, after the bucket had changed. A quorum has to take it under this fence.
    if (found && state->chosen && fence.bucket.is_zero()) {
      remember(register_store_key(key), *state);
      co_return Found::kYes;
    }
    Rank at = state->present ? state->entry.rank : state->floor;
    unseen = unseen && holding(key.partition).foreign == foreign;
    if (!found && at >= attempt && !unseen) co_return Found::kUnknown;
    // Only a chosen row above the attempt hides it for good: one that is not may lie on a replica
    // that the next holder does not hear, while it hears this one. So that is re-committed first.
    const bool hidden = state->chosen || SEEDED_BUG("register-look-up-beneath-unchosen");
    if (!found && at >= attempt && state->present && hidden) co_return Found::kNo;
    Fence under = found ? fence : Fence{};
    SendResult sent = co_await recommit(key, std::move(*state), *ballot, under, deadline);
    if (sent.sending == Sending::kChosen) co_return found ? Found::kYes : Found::kNo;
    if (sent.sending == Sending::kStale || sent.sending == Sending::kNotSent) break;
    // Sent again under a higher rank: what is looked for may now stand there.
    if (found) attempt = std::max(attempt, sent.rank), unseen = false;
    co_await pause(kContention);
  }
  co_return Found::kUnknown;
}

// For a gateway that lost the holder's answer: whether the attempt can still be chosen is not known
// here, so only finding it is an answer.
Task<Result<std::string>> RegisterService::look_up_for(RegisterKey key, Mutation mutation,
                                                       TimePoint deadline) {
  auto unknown = fail(ErrorCode::kUnknownOutcome,
                      "the write may or may not have happened: read the key to see");
  const RegisterTable* table = tables_.find(key.table);
  if (!table || !table->blind(mutation)) co_return unknown;  // its reply cannot be made again
  auto write = table->apply(std::nullopt, mutation);
  if (!write) co_return unknown;
  std::string store_key = register_store_key(key);
  bool turn = co_await lock_key(store_key, deadline);
  if (!turn) co_return unknown;
  Rank top;  // nothing that is not found is ever below it: never "not written"
  Found found = co_await look_up(key, mutation.operation, top, false, mutation.fence, deadline);
  unlock_key(store_key);
  if (found == Found::kYes) co_return std::move(write->reply);
  co_return unknown;
}

// Makes the key's state one that a quorum holds, under a rank above `above`: also a row that is
// known to be committed, for a floor or a higher promise may keep it from the others for ever. A
// quorum without the replica that holds a row in doubt says nothing about that row: it is `above`
// that has what the quorum chose written over it.
Task<Status> RegisterService::settle(RegisterKey key, Rank above, TimePoint deadline) {
  std::string store_key = register_store_key(key);
  bool turn = co_await lock_key(store_key, deadline);
  if (!turn) co_return fail(ErrorCode::kOverloaded, "too many writes of this key: try again");
  Status done = co_await settle_locked(std::move(key), above, deadline);
  unlock_key(store_key);
  co_return done;
}

Task<Status> RegisterService::settle_locked(RegisterKey key, Rank above, TimePoint deadline) {
  while (runtime_.clock.now() < deadline && !scope_.stop_requested()) {
    CO_TRY(Ballot ballot, co_await hold(key.partition, deadline));
    if (ballot < above.ballot) {
      saw(above.ballot);
      drop(key.partition, ballot);
      continue;
    }
    auto state = co_await learn(key, ballot, deadline);
    if (state) {
      bool stands = above == Rank{} || (state->present && above < state->entry.rank);
      const bool enough =
          state->on_quorum || (state->chosen && SEEDED_BUG("register-settle-flagged"));
      if (enough && stands) {
        if (state->present) note_committed(key, state->entry.rank);
        co_return Status();
      }
      SendResult sent = co_await recommit(key, std::move(*state), ballot, Fence{}, deadline);
      if (sent.sending == Sending::kChosen) co_return Status();
      if (sent.sending == Sending::kNotSent) co_return fail(sent.error.code, sent.error.message);
    }
    co_await pause(kContention);
  }
  co_return fail(ErrorCode::kUnavailable, "no quorum of the partition's replicas answered");
}

}  // namespace covey
