// BucketDirectory: finds buckets by name and remembers them. What is remembered may be one
// generation old: every request made under it carries the generation, and replicas refuse an older
// one (kStale), upon which the caller asks again with Freshness::kNow. That a bucket does not exist
// is never remembered. Available buckets are found in a control table first, which is on every
// node.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "base/async/runtime.h"
#include "gossip/ring/topology.h"
#include "proto/rows.pb.h"
#include "store/objects/keys.h"
#include "store/objects/objects.h"
#include "store/register/registers.h"
#include "store/table/control.h"

namespace covey {

// A bucket as operations on its keys need it.
struct BucketAt {
  Bucket bucket;
  KeySpace space;
  bool deleting = false;
  Fence fence() const { return {bucket.id, bucket.generation}; }
};

// Conditions on writes need one order of a key's writes: available buckets have none.
Status check_available(const BucketAt& at, const Conditions& conditions);

Bucket bucket_from_row(std::string name, const rows::BucketRow& row);

class BucketDirectory {
 public:
  // `control` (nullptr: there are no available buckets) holds the settings of available buckets on
  // every node, so that a site that is cut off knows them.
  BucketDirectory(Runtime& runtime, Registers& registers, const Topology& topology,
                  ControlTables* control)
      : runtime_(runtime), registers_(registers), topology_(topology), control_(control) {}

  Task<Result<BucketAt>> find(std::string name, Freshness freshness, TimePoint deadline);
  // The row itself, from the register: for changes.
  Task<Result<rows::BucketRow>> row(std::string name, TimePoint deadline);
  void remember(const std::string& name, const rows::BucketRow& row);
  // Tells every node of an available bucket, as its register says it is. Errors: kUnavailable (it
  // is stored here and will spread).
  Task<Status> publish(std::string name, rows::BucketRow row, TimePoint deadline);
  Task<Status> withdraw(std::string name, TimePoint deadline);
  void forget(const std::string& name) { known_.erase(name); }

 private:
  std::optional<rows::BucketRow> published(const std::string& name) const;
  struct Known {
    BucketAt at;
    TimePoint read;
  };
  Runtime& runtime_;
  Registers& registers_;
  const Topology& topology_;
  ControlTables* control_;
  std::unordered_map<std::string, Known> known_;
};

}  // namespace covey
