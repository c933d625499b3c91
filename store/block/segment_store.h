// SegmentStore: this node's copies of blocks, as checksummed records in append-only segment files.
//
// A put is durable when it completes: concurrent puts are written together and share one sync; the
// next group starts when the one before ends. Where a block stands is kept in Kv without the
// journal: recovery scans what segments hold beyond the position that Kv remembers for them. (Kv
// folds rows in key order, and the index sorts before the segments' rows, so a remembered position
// never runs ahead of the index.)
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/async/runtime.h"
#include "base/core/level.h"
#include "store/block/ballast.h"
#include "store/block/segment_format.h"
#include "store/meta/kv.h"

namespace covey {

struct SegmentOptions {
  std::vector<std::string> dirs;           // data directories; segments stand in DIR/segments
  uint64_t segment_bytes = kSegmentBytes;  // a multiple of kDirectAlign
  // What is written at once and has so many bytes begins and ends at multiples of kDirectAlign.
  size_t align_from_bytes = kDirectBytesMin;
  // Called when the disk failed: nobody knows what is on it. main() ends the process.
  std::function<void(const Error&)> fatal;
};

class SegmentStore {
 public:
  SegmentStore(SegmentOptions options, Runtime runtime, Kv& kv);
  // REQUIRES: close() has completed.
  ~SegmentStore();

  // Finds the segments and reads what Kv does not know yet. `recovered` hears of each block found
  // so: whether its other copies exist is not known any more. Errors: kCorrupt, kIo, kNoSpace.
  Task<Status> open(std::function<void(BlockKey)> recovered);
  // Ends what is being written; whoever comes later, as other nodes do until they are told, gets
  // kUnavailable.
  Task<void> close();

  // Additions to `batch` are written (unlogged) together with the block's place.
  Task<Status> put(BlockKey key, BlockOwner owner, Blob payload, WriteBatch batch);
  bool has(const BlockKey& key);
  // Told of each copy that was found bad and set aside.
  void on_damaged(std::function<void(const BlockKey&)> told) { damaged_ = std::move(told); }
  struct Stored {
    Blob bytes;
    uint32_t block_bytes = 0;  // of the whole block
  };
  // Verified. kNotFound; kCorrupt (the copy is set aside: it is not used again), kIo.
  Task<Result<Stored>> get(BlockKey key, uint32_t offset, uint32_t size);
  // What the record says of the block. kNotFound, kCorrupt, kIo.
  Task<Result<RecordHead>> head_of(BlockKey key);
  // The whole block with what its record says of it, all of it verified, past the page cache.
  Task<Result<std::pair<RecordHead, Blob>>> read_record(BlockKey key);

  // Forgets every block of the version and refuses later ones; durable when it completes.
  Task<Status> drop(PartitionId home, VersionId version);
  bool refused(VersionId version);
  // Refused by one who had the proof that no row will ever name it again; not by a judge who may
  // still take it back. Errors: kCorrupt, kIo (not known).
  Result<bool> refused_for_good(VersionId version);
  // Whether a block of the version can be taken. Errors: kStale (refused), kCorrupt (not known).
  Status may_be_named(VersionId version);
  // Forgets blocks that belong to other nodes now. They may come back with a crash, harmlessly.
  Task<Status> forget(std::vector<BlockKey> keys);

  struct Listed {
    BlockId id;
    uint32_t bytes = 0;
    TimePoint written;  // or later; what was there at the start counts as written then
  };
  // Blocks of one partition in order, from behind `after` on.
  Result<std::vector<Listed>> list(PartitionId home, std::optional<BlockId> after, size_t limit);
  std::optional<BlockId> first_of(PartitionId home, const VersionId& version);
  // Whether a block of the version was written, or may have been, after that time.
  bool written_since(PartitionId home, const VersionId& version, TimePoint since);
  // Bytes of the records of one partition.
  uint64_t bytes_of(PartitionId home) const;

  // Rewrites what is live of the segment with the most garbage, if more than half of it is (less
  // will do while the disk is full), and removes it. True if it did something.
  Task<Result<bool>> compact_one();

  Level waiting() const;  // blocks for the disk
  uint64_t live_bytes() const { return live_bytes_; }
  uint64_t dead_bytes() const { return dead_bytes_; }
  uint64_t quarantined() const { return quarantined_; }
  const std::vector<std::string>& dirs() const { return options_.dirs; }

 private:
  struct Place {
    uint64_t segment = 0;
    uint32_t start = 0;  // of the record
    uint32_t head_bytes = 0;
    uint32_t payload_bytes = 0;
    uint64_t record_bytes() const { return head_bytes + payload_bytes; }
    bool operator==(const Place&) const = default;
  };
  struct Segment {
    size_t dir = 0;
    uint64_t end = kSegmentHeaderBytes;  // of the records known to Kv
    uint64_t used = 0, dead = 0;         // bytes of records
    uint64_t found_bytes = 0;            // of the file, when it was opened
    bool sealed = true;
    TimePoint written;  // the last time something was
  };
  struct Pending {
    BlockKey key;
    BlockOwner owner;
    Blob payload;
    WriteBatch batch;
    bool move = false;  // by compaction
    Event done;
    Status status;
  };

  static std::string segment_name(uint64_t segment);
  std::string path(uint64_t segment) const;
  static std::string index_prefix(PartitionId home);
  static std::string index_key(const BlockKey& key);
  // REQUIRES: a key of the index.
  static std::string segment_key(uint64_t segment);
  Result<std::optional<Place>> find(const BlockKey& key);
  static Result<Place> decode_place(std::string_view bytes);
  void remember(WriteBatch& batch, const BlockKey& key, const Place& place);
  void remember(WriteBatch& batch, uint64_t segment);
  void forget(WriteBatch& batch, const BlockKey& key, const Place& place);
  void count_live(PartitionId home, const Place& place);
  void count_dead(PartitionId home, const Place& place);

  // segment_append.cpp
  Task<Status> append(Pending& pending);
  Task<void> write_groups();
  Task<void> write_group(std::vector<Pending*> group);
  Status still_here(const BlockKey& key);
  Status written_at(Pending& pending, const Place& place);
  Task<Status> ready_segment(size_t payload_bytes, bool move);
  Task<void> seal();
  Task<Status> new_segment(bool move);
  Task<Status> make_segment(size_t dir, bool of_ballast);
  void disk_failed(const Error& error);
  Task<Result<std::shared_ptr<File>>> file(uint64_t segment);

  Task<Status> open_segment(uint64_t segment, size_t dir, std::function<void(BlockKey)>& recovered);
  Status count_all();
  Task<Status> forget_old_index();
  Task<Status> forget_lost();
  Task<Status> scan(uint64_t segment, File& file, std::function<void(BlockKey)>& recovered);
  Task<Result<Blob>> read_at(Place place, uint32_t offset, uint32_t size);
  Task<Status> keep(WriteBatch batch);
  Status unreadable(const BlockKey& key, const Place& place, int tries, Error error);
  Status set_aside(const BlockKey& key, const Place& place, const Error& error);
  Task<void> keep_for_inspection(BlockKey key, Place place);
  Task<Result<std::pair<RecordHead, Blob>>> record_at(Place place, BlockKey key);
  uint64_t most_garbage() const;
  Task<Status> move_live(uint64_t segment, File& file);
  Task<Status> remove_segment(uint64_t segment);

  SegmentOptions options_;
  Runtime runtime_;
  Kv& kv_;
  Ballast ballast_;
  Scope scope_;
  std::map<uint64_t, Segment> segments_;
  uint64_t active_ = 0;  // 0: none
  std::shared_ptr<File> active_file_;
  std::deque<Pending*> waiting_;
  bool writing_ = false, failed_ = false, compacting_ = false, closed_ = false;
  std::list<std::pair<uint64_t, std::shared_ptr<File>>> open_files_;  // most recently used first
  uint64_t live_bytes_ = 0, dead_bytes_ = 0, quarantined_ = 0;
  std::map<PartitionId, uint64_t> home_bytes_;  // of live records
  std::function<void(const BlockKey&)> damaged_;
  size_t kept_ = 0;       // records kept for inspection
  bool tight_ = false;    // there is no space for another segment
  TimePoint full_until_;  // puts are refused until then
};

}  // namespace covey
