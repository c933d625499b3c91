// Registers: linearizable rows, one per key, replicated over the key's partition by CASPaxos-style
// ballots with the promise lifted to the partition. The protocol is ../shared/register.md;
// docs/architecture.md retells it.
//
// A gateway calls mutate/read/range on any node; requests for a key are routed to its partition's
// first live replica, which takes the partition over by a higher ballot when it has to. Safety
// never depends on who believes it is first.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/async/runtime.h"
#include "base/core/ids.h"
#include "base/core/result.h"
#include "gossip/ring/topology.h"
#include "proto/peers.h"
#include "store/meta/keyspace.h"
#include "store/meta/kv.h"
#include "store/register/rank.h"

namespace covey {

struct RegisterKey {
  TableId table{};
  PartitionId partition = 0;
  std::string key;  // ordered bytewise within (table, partition)
};

// The bucket generation a request was made under. A replica that knows a higher one refuses it with
// kStale; the gateway then reads the bucket again. A zero bucket means: no fence.
struct Fence {
  BucketId bucket;
  uint64_t generation = 0;
};

// An immutable row that belongs to a version and is stored in the same batch as the register row
// that first names it. Its store key is (kAttachments, partition, owner, suffix); suffixes of one
// owner sort bytewise.
struct Attachment {
  VersionId owner;
  std::string suffix;
  std::string value;
};

struct Mutation {
  OperationId operation;  // fresh random per client request; the row remembers the last few
  std::string body;       // the table's own encoding: what to do
  std::vector<Attachment> attachments;
  Fence fence;
};

// The row a replica itself has of another register of the same partition; nullopt: none.
using RowLookup = std::function<std::optional<std::string>(TableId table, std::string_view key)>;

// What a table means. Pure; every replica has the same code.
class RegisterTable {
 public:
  virtual ~RegisterTable() = default;
  virtual TableId id() const = 0;

  // The outcome does not depend on the current row, so the write needs no learning: one round trip.
  virtual bool blind(const Mutation& mutation) const = 0;

  struct Write {
    std::string row;  // ignored for a tombstone
    bool tombstone = false;
    std::string reply;  // handed to the caller of mutate()
  };
  // `current` is nullopt when the key is missing or a tombstone. An Error is a linearizable refusal
  // (a precondition that failed, a missing upload): Registers returns it only after a quorum agreed
  // on `current` after the request arrived.
  virtual Result<Write> apply(const std::optional<std::string>& current,
                              const Mutation& mutation) const = 0;

  // The attachment to return with the row when a reader asks for it (an inline body); nullopt if
  // there is none.
  virtual std::optional<std::pair<VersionId, std::string>> inline_attachment(
      std::string_view row) const = 0;

  // Every attachment that a replica with this row needs: they travel with it when a replica that
  // was away catches up.
  virtual std::vector<std::pair<VersionId, std::string>> attachments(std::string_view row) const {
    auto one = inline_attachment(row);
    if (!one) return {};
    return {std::move(*one)};
  }
  // Versions whose blocks come with this row: a replica that has reclaimed them refuses it.
  virtual std::vector<VersionId> brings(std::string_view row) const { return {}; }
  // Nobody reads the row any more, and each replica erases it by itself, without a tombstone:
  // replicas that compare leave it out.
  virtual bool dead(std::string_view row, const RowLookup& lookup) const { return false; }

  // Called on a replica when `fresh` takes the place of `old` (nullopt: tombstone or missing):
  // whatever `old` refers to and `fresh` does not may be reclaimed once `fresh` is committed.
  // Additions to `batch` are durable with the row.
  virtual void on_replace(const RegisterKey& key, std::string_view old,
                          const std::optional<std::string>& fresh, WriteBatch& batch) const = 0;

  // Rows of this table are no registers: replicas join them (store/available), in any order. Their
  // rank rises with every join that adds something, and equal ranks mean equal rows.
  virtual bool joins() const { return false; }
  struct Joined {
    std::string row;
    Rank rank;
  };
  // Errors: kCorrupt.
  virtual Result<Joined> join(std::string_view mine, std::string_view theirs) const {
    return fail(ErrorCode::kInvalid, "rows of this table are not joined");
  }
};

struct ReadResult {
  std::optional<std::string> row;         // nullopt: missing or deleted
  std::optional<std::string> attachment;  // the inline one, if asked for and there
  // Of the row or of the tombstone: it rises with each write. Zero for a missing key, also for one
  // whose tombstone is gone, and in tables without ballots.
  Rank rank;
};

struct RangeQuery {
  TableId table{};
  PartitionId partition = 0;
  std::string begin;  // inclusive
  std::string end;    // exclusive
  size_t limit = 0;   // live items (rows and prefixes together) wanted at most
  // Keys that contain `delimiter` at or after byte `delimiter_from` are folded into one item per
  // prefix.
  std::string delimiter;
  size_t delimiter_from = 0;
  Fence fence;
};
struct RangeItem {
  std::string key;  // or, for a prefix, the key up to and including the delimiter
  std::string row;  // empty for a prefix
  bool is_prefix = false;
};
struct RangePage {
  std::vector<RangeItem>
      items;  // sorted; every item agreed by a quorum or settled by a register read
  bool truncated = false;
  std::string next;  // where to go on (inclusive) when truncated
};

class Registers {
 public:
  virtual ~Registers() = default;

  // Returns the table's reply once the write is chosen (durable on a quorum). Errors: what apply()
  // refused; kStale; kConflict (certainly not written: another write was in flight);
  // kUnknownOutcome (may or may not have happened; never executed twice); kUnavailable (certainly
  // not written: no quorum), kTimeout never, kNoSpace, kOverloaded.
  virtual Task<Result<std::string>> mutate(RegisterKey key, Mutation mutation,
                                           TimePoint deadline) = 0;

  // Linearizable. Errors: kStale, kUnavailable, kCorrupt.
  virtual Task<Result<ReadResult>> read(RegisterKey key, bool with_inline, Fence fence,
                                        TimePoint deadline) = 0;

  // List-after-write: a page never shows what a read of each key would not. Errors: as read.
  virtual Task<Result<RangePage>> range(RangeQuery query, TimePoint deadline) = 0;

  // Durable on a quorum of the partition, before the row that names them is written.
  virtual Task<Status> put_attachments(PartitionId partition, std::vector<Attachment> rows,
                                       Fence fence, TimePoint deadline) = 0;
  // Immutable, so any replica's copy will do: local first. Errors: kNotFound (no replica of a
  // quorum has it), kUnavailable.
  virtual Task<Result<std::string>> read_attachment(PartitionId partition, VersionId owner,
                                                    std::string suffix, TimePoint deadline) = 0;

  // From its completion on a quorum of the partition refuses requests of `bucket` under a lower
  // generation.
  virtual Task<Status> fence(PartitionId partition, Fence fence, TimePoint deadline) = 0;

  // This replica's own state of a key, without asking anybody: for reclaiming.
  struct LocalState {
    std::optional<std::string> row;
    bool committed = false;  // or missing
  };
  virtual Result<LocalState> local(const RegisterKey& key) = 0;
};

}  // namespace covey
