// BucketDirectory: finds buckets by name and remembers them. What is remembered may be one
// generation old: every request made under it carries the generation, and replicas refuse an older
// one (kStale), upon which the caller asks again with Freshness::kNow. That a bucket does not exist
// is never remembered.
#pragma once

#include <string>
#include <unordered_map>

#include "base/async/runtime.h"
#include "gossip/ring/topology.h"
#include "proto/rows.pb.h"
#include "store/objects/keys.h"
#include "store/objects/objects.h"
#include "store/register/registers.h"

namespace covey {

// A bucket as operations on its keys need it.
struct BucketAt {
  Bucket bucket;
  KeySpace space;
  bool deleting = false;
  Fence fence() const { return {bucket.id, bucket.generation}; }
};

Bucket bucket_from_row(std::string name, const rows::BucketRow& row);

class BucketDirectory {
 public:
  BucketDirectory(Runtime& runtime, Registers& registers, const Topology& topology)
      : runtime_(runtime), registers_(registers), topology_(topology) {}

  Task<Result<BucketAt>> find(std::string name, Freshness freshness, TimePoint deadline);
  // The row itself, from the register: for changes.
  Task<Result<rows::BucketRow>> row(std::string name, TimePoint deadline);
  void remember(const std::string& name, const rows::BucketRow& row);
  void forget(const std::string& name) { known_.erase(name); }

 private:
  struct Known {
    BucketAt at;
    TimePoint read;
  };
  Runtime& runtime_;
  Registers& registers_;
  const Topology& topology_;
  std::unordered_map<std::string, Known> known_;
};

}  // namespace covey
