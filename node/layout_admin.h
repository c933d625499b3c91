// LayoutAdmin: what operators ask of the layout, as JSON for the admin API: plans, changes, their
// progress, and whether a box may be unplugged.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/async/runtime.h"
#include "node/admin/json.h"
#include "node/cluster/cluster.h"
#include "proto/peers.h"

namespace covey {

// What a node says of the partitions it holds, for `covey node check`.
struct PartitionHealth {
  uint64_t copies_owed = 0;            // of blocks, anywhere in the cluster, that it knows of
  uint64_t behind = 0;                 // partitions it holds that may lack rows, since it was away
  std::vector<uint64_t> verified_ago;  // per partition, seconds + 1; 0: not since it started
};

class LayoutAdmin {
 public:
  // Everything outlives it. `health`: of this node.
  LayoutAdmin(Runtime runtime, Cluster& cluster, Peers& peers,
              std::function<PartitionHealth()> health)
      : runtime_(runtime), cluster_(cluster), peers_(peers), health_(std::move(health)) {}

  // "plan", "apply" or "revert", with {"remove": [names], "add": [names]}; "check" with
  // {"node": name}. Errors: as Cluster::plan; kInvalid.
  Task<Result<Json>> handle(std::string verb, Json body);
  // The change under way; null: none.
  Json change() const;
  // One line for people; empty: no change is under way.
  std::string change_line() const;
  // What another node's "check" asks this one.
  std::string partitions() const;

 private:
  struct Asked {
    NodeId node;
    Result<PartitionHealth> health;
  };
  Task<Result<Json>> plan(Cluster::Wish wish);
  Task<Result<Json>> check(std::string name);
  Task<void> ask(NodeId node, std::vector<Asked>& answers);

  Runtime runtime_;
  Cluster& cluster_;
  Peers& peers_;
  std::function<PartitionHealth()> health_;
};

}  // namespace covey
