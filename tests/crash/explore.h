// Explorer: records a load, then makes what a power cut at each of its points may have left and
// opens the stores on it.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "tests/crash/disk_model.h"
#include "tests/crash/expected.h"
#include "tests/crash/recorder.h"

namespace covey {

// A load's record: where it began, what was done, what is expected of it.
struct Session {
  DiskModel start;
  std::vector<DiskOpRef> ops;
  Expected expected;
  std::string name;  // which session it is, for --replay
};

struct ExploreOptions {
  std::string dir;            // a folder of its own; emptied
  size_t subsets_max = 4;     // of so many changes that are not durable, each subset
  size_t draws = 6;           // random ones at each point
  size_t step = 1;            // of every so manyth point
  size_t nested_every = 900;  // of so many states one is recovered under a recorder, and cut again
  uint64_t states_max = UINT64_MAX;
  std::string replay;  // the name of one state, as a failure prints it
};

class Explorer {
 public:
  explicit Explorer(ExploreOptions options) : options_(std::move(options)) {}

  // False when something was found; it is printed.
  bool run_seed(uint64_t seed);

  uint64_t states() const { return states_; }
  uint64_t distinct() const { return distinct_.size(); }
  uint64_t nested() const { return nested_; }
  uint64_t points() const { return points_; }
  // What is looked at now, for whoever prints it when the process dies of it.
  static std::string now_looking_at;

 private:
  // A point of a session and what is kept of what was not durable there.
  struct State {
    const Session& session;
    const DiskModel& model;
    DiskOpRef next;  // the operation under way
    size_t at;
    const Keep& keep;
    uint64_t seed;
    std::string name;
  };
  bool record_load(Session& session, uint64_t seed, size_t rounds);
  bool explore(const Session& session, uint64_t seed, bool nest);
  std::vector<Keep> choices(const DiskModel& model, const DiskOpRef& next, uint64_t seed) const;
  bool wanted(const std::string& name) const;
  bool look(const State& state);
  std::string open_and_check(const State& state, const std::string& dir);
  bool nest(const State& state, bool killed);
  bool report(const State& state, const std::string& trouble);
  void empty_dir(const std::string& dir);

  ExploreOptions options_;
  uint64_t states_ = 0, nested_ = 0, points_ = 0;
  std::unordered_set<uint64_t> distinct_;
};

}  // namespace covey
