// Acceptor: a replica's side of the protocol (register.md). Pure over the metadata store: a request
// in, an answer and what must be written out. Nothing is answered before what the answer reports is
// durable.
#pragma once

#include <array>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/meta/kv.h"
#include "store/register/messages.h"

namespace covey {

inline constexpr size_t kTakenBallotsMax = 4;  // per partition
inline constexpr size_t kSkippedKeysMax = 2048;

// The tables this node knows, by id.
class TableSet {
 public:
  explicit TableSet(const std::vector<const RegisterTable*>& tables);
  // nullptr: unknown.
  const RegisterTable* find(TableId id) const { return tables_[static_cast<uint8_t>(id)]; }
  const std::vector<const RegisterTable*>& all() const { return all_; }

 private:
  std::array<const RegisterTable*, 256> tables_{};
  std::vector<const RegisterTable*> all_;
};

inline constexpr size_t kMissedMax = 4096;

// What became of a row that another replica had.
enum class Merged : uint8_t {
  kTaken = 0,
  kKnown = 1,  // this replica has it or a later one
  kFloor = 2,  // refused by the floor: the holder has to write it again under a new rank
};

class Acceptor {
 public:
  Acceptor(Kv& kv, const TableSet& tables) : kv_(kv), tables_(tables) {}

  // The caller writes `batch` at once (no suspension in between, so that steps see one another),
  // or, if it is empty, awaits durable(after); then it sends the reply.
  struct Outcome {
    Reply reply;
    WriteBatch batch;
    KvVersion after = 0;
  };
  Outcome prepare(PartitionId partition, const Ballot& ballot);
  Outcome learn(const RegisterKey& key, const Ballot& ballot);
  // `epoch` is the layout epoch this node has adopted: rows of other epochs are refused.
  Outcome accept(const RegisterKey& key, const Entry& entry,
                 const std::vector<Attachment>& attachments, const Fence& fence, uint32_t epoch);
  Outcome read(const RegisterKey& key, Want want, const Fence& fence);
  Outcome put_attachments(PartitionId partition, const std::vector<Attachment>& rows,
                          const Fence& fence);
  Outcome read_attachment(PartitionId partition, const VersionId& owner, std::string_view suffix);
  Outcome fence(PartitionId partition, const Fence& fence);

  // Marks rows that are still of that rank as committed (batch: for write_unlogged).
  WriteBatch committed(const std::vector<CommitNotice>& notices);

  // Rows that others said are committed and that this replica did not have then: it missed their
  // Accept. What was remembered since the last call. More than kMissedMax are not remembered: then
  // `overflow` names their partitions.
  struct Missed {
    std::vector<CommitNotice> rows;
    std::vector<PartitionId> overflow;
  };
  Missed take_missed();
  // This replica still lacks the row, or a later one. Errors: kCorrupt.
  Result<bool> lacks(const CommitNotice& row);

  // Joins a row that is known to be committed, whatever is promised here, but never at or below the
  // floor (register.md, "Merge"). Adds to `batch`. With an equal rank only the attachments and the
  // flag are taken over. Rows of tables that join are joined. REQUIRES: entry.committed. Errors:
  // kCorrupt.
  Result<Merged> merge(const RegisterKey& key, const Entry& entry,
                       const std::vector<Attachment>& attachments, WriteBatch& batch);
  // Raises a bucket's fence to at least `generation`.
  Status merge_fence(PartitionId partition, const BucketId& bucket, uint64_t generation,
                     WriteBatch& batch);
  // Drops tombstones that are still of these ranks and committed, and raises the floor to the
  // highest dropped (register.md, "Tombstones"; the proof is the caller's). Returns how many.
  Result<size_t> collect(PartitionId partition, const std::vector<CommitNotice>& tombstones,
                         WriteBatch& batch);

  // Counts what was done to a partition's rows since this process started: equal counts mean
  // unchanged rows.
  uint64_t changes(PartitionId partition) const;
  void changed(PartitionId partition);

  Result<PartitionState> partition(PartitionId partition, KvVersion& after);
  // nullopt: no data of it was reclaimed.
  std::optional<Outcome> without_data(TableId id, std::string_view row);
  // nullopt: not fenced out.
  std::optional<Outcome> fenced(PartitionId partition, const Fence& fence);

 private:
  // What this process took for a partition: the highest row under each of the last ballots above
  // `since`.
  struct Taken {
    Ballot since;
    std::vector<Rank> tops;  // oldest ballot first
  };
  void took(PartitionId partition, const Ballot& promised, const Rank& rank);
  bool never_took(PartitionId partition, const Rank& rank) const;
  // The last time that a key's row gave way to one of another ballot: nothing in between was ever
  // the key's row here, neither of this process nor of one before it.
  struct Skipped {
    Rank from, to;
  };
  void displaced(const std::string& store_key, const Rank& old, const Rank& fresh);
  bool skipped(const std::string& store_key, const Rank& rank, const Rank& at) const;
  void missed(const CommitNotice& notice);
  Result<Merged> join(const RegisterTable& table, const RegisterKey& key, const Entry& entry,
                      const std::vector<Attachment>& attachments, WriteBatch& batch);

  Kv& kv_;
  const TableSet& tables_;
  std::vector<uint64_t> changes_;  // by partition
  std::map<PartitionId, Taken> taken_;
  std::unordered_map<std::string, Skipped> skipped_;  // by store key
  Missed missed_;
};

// A failure of this replica as an answer.
Acceptor::Outcome refusal(const Error& error);

}  // namespace covey
