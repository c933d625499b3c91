// AvailableLoad: clients of an available bucket, and what must hold of it in the end. There is no
// order of a key's writes to check; instead: all nodes come to show the same versions, and each
// write that was acknowledged is there, or another one may have seen and replaced it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/sim/cluster/bodies.h"
#include "tests/sim/cluster/world.h"

namespace covey::sim {

class AvailableLoad {
 public:
  AvailableLoad(World& world, SimRng rng);

  Task<Status> make_bucket();
  // One client's work.
  Task<void> run();
  // Some node can say what is wrong now; empty: all agree, and nothing was dropped.
  Task<void> check(std::string& wrong);
  uint64_t acknowledged() const { return acknowledged_; }

 private:
  using At = std::shared_ptr<Incarnation>;
  struct Write {
    std::string key;
    Chunk chunk;
    bool deletion = false;
    bool acknowledged = false;
    VersionId version;  // of an acknowledged one
    int64_t called_ns = 0, returned_ns = 0;
  };
  using Shown = std::map<std::string, std::vector<VersionId>>;  // key -> newest first

  Task<void> put(At at, std::string key);
  Task<void> remove(At at, std::string key);
  Task<void> read(At at, std::string key);
  Task<std::string> body_of(At at, std::string key, VersionId version);
  Task<std::string> look(At at, Shown& shown);
  bool may_be_replaced(const Write& write) const;
  int write_of(const ObjectInfo& info) const;
  bool bodies_may_rot() const;

  World& world_;
  SimRng rng_;
  std::vector<Write> writes_;
  uint64_t acknowledged_ = 0;
};

}  // namespace covey::sim
