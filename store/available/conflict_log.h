// ConflictLog: what became of concurrent writes of one key of an available bucket, as this node saw
// it: a bounded list in the metadata store, written with the row. Format: docs/formats/metadata.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/async/clock.h"
#include "base/core/ids.h"
#include "store/meta/kv.h"

namespace covey {

inline constexpr size_t kConflictEventsMax = 4096;  // the oldest go first

struct ConflictEvent {
  enum class Kind : uint8_t {
    kLost = 1,     // `loser` became a noncurrent version: `winner` was written concurrently
    kDropped = 2,  // `loser` was the oldest of too many noncurrent versions, and is gone
  };
  Kind kind = Kind::kLost;
  WallTime at;
  std::string key;  // of the row: bucket id, index shard, object key
  VersionId winner, loser;
  bool winner_deleted = false;  // the winner is a deletion

  BucketId bucket() const;
  std::string object_key() const;
};

class ConflictLog {
 public:
  ConflictLog(Kv& kv, Clock& clock) : kv_(kv), clock_(clock) {}

  // Adds to `batch`; durable with it. The time is set here.
  void add(ConflictEvent event, WriteBatch& batch);
  // The newest first. Errors: kCorrupt, kIo.
  Result<std::vector<ConflictEvent>> list(size_t limit) const;
  uint64_t lost() const { return lost_; }        // since this process started
  uint64_t dropped() const { return dropped_; }  // likewise

 private:
  Kv& kv_;
  Clock& clock_;
  bool opened_ = false;
  uint64_t next_ = 0, first_ = 0;  // numbers of the next and the oldest event
  uint64_t lost_ = 0, dropped_ = 0;
  void open();
};

}  // namespace covey
