// Reclaimer: gives back what no row refers to any more. Each replica reclaims its own copies, on
// its own proof:
//  - what a displaced row referred to (the garbage rows that tables.h writes), once the displacing
//  row is known
//    committed, a grace for GETs and copies under way has passed, and a quorum shows no reference
//    by a copy;
//  - the parts of uploads that ended, except those the finished object uses, or a copy of it where
//  nobody knows whether it ever stood;
//  - uploads nobody finished, those whose Complete broke off among them: aborted after a week.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/async/runtime.h"
#include "proto/rows.pb.h"
#include "store/block/blocks.h"
#include "store/meta/kv.h"
#include "store/objects/keys.h"
#include "store/objects/tables.h"
#include "store/register/registers.h"

namespace covey {

struct ReclaimSettings {
  Duration grace = std::chrono::minutes(10);
  Duration pause = std::chrono::seconds(30);  // between passes
  Duration upload_expiry = std::chrono::hours(24 * 7);
  Duration upload_memory =
      std::chrono::hours(24);  // how long the same Complete gets the same answer
};

class Reclaimer {
 public:
  // Everything outlives it.
  Reclaimer(Runtime runtime, Kv& kv, Registers& registers, Registers& available, Blocks& blocks,
            const GarbageClock& clock, ReclaimSettings settings);

  // Passes until the scope stops.
  Task<void> run(Scope& scope);
  // One pass over what is old enough. Returns how many garbage rows were settled.
  Task<Result<size_t>> pass();

  struct Progress {
    uint64_t reclaimed = 0;  // versions given back since start
    uint64_t waiting = 0;    // garbage rows seen in the last pass that must wait
  };
  Progress progress() const { return progress_; }

 private:
  static constexpr Duration kStep = std::chrono::seconds(4);  // a row, read or written
  enum class Verdict { kReclaim, kForget, kWait };
  struct Garbage {
    std::string kv_key;
    rows::GarbageRow row;
  };
  struct Manifest {
    std::string of;  // the head's version; empty: none
    bool gone = false;
    std::set<std::string> names;  // versions
  };

  // Where the rows of a garbage row's table are.
  Registers& rows_of(TableId table) { return is_available(table) ? available_ : registers_; }
  Result<std::vector<Garbage>> old_garbage() const;
  Task<Result<Verdict>> judge_head(rows::GarbageRow garbage, rows::HeadRow head);
  Task<Result<Verdict>> judge_part(rows::GarbageRow garbage, rows::PartRow part);
  Task<Status> settle(Garbage garbage);
  static std::vector<rows::Extent> extents_of(const rows::PartRow& part) {
    return {part.part().extents().begin(), part.part().extents().end()};
  }
  // Drops the blocks these extents own and the claims they hold on others' data.
  Task<Status> release(std::vector<rows::Extent> extents);
  Task<Result<bool>> referenced(PartitionId partition, VersionId owner);

  // reclaim_uploads.cpp
  // What becomes of a part's data now that its upload has ended: kForget where an object has it.
  Task<Result<Verdict>> judge_ended(RegisterKey upload_key, rows::UploadRow upload,
                                    std::string part_version);
  // Whether the manifest that the upload became, or was to become, names the part.
  Task<Result<bool>> named(Registers& rows, PartitionId partition, rows::HeadRow head,
                           std::string part_version);
  Task<Status> sweep_uploads();
  Task<Status> sweep_upload(RegisterKey key, rows::UploadRow upload);
  Task<Status> abort(RegisterKey key, rows::UploadRow upload);
  // Drops the rows of parts whose upload is no more.
  Task<Status> sweep_parts();

  Runtime runtime_;
  Kv& kv_;
  Registers& registers_;
  Registers& available_;
  Blocks& blocks_;
  const GarbageClock& clock_;
  ReclaimSettings settings_;
  Manifest manifest_;  // read last in this pass: mostly an upload's parts are judged in a row
  std::string next_upload_, next_part_;  // where the next sweep goes on; empty: at the beginning
  Progress progress_;
};

}  // namespace covey
