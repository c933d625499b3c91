// `covey meta rebuild`: makes the metadata of a stopped node again from its data directories.
// docs/adr/0006-rebuild.md says why the result may, or may not, keep the node's id.
#pragma once

#include <string>
#include <vector>

#include "base/async/runtime.h"
#include "node/cli/cli.h"
#include "node/config/config.h"

namespace covey {

class Rebuild {
 public:
  // Everything outlives it.
  Rebuild(Runtime runtime, const Config& config, RebuildWish wish);

  // Complete or without effect, but for files that were moved aside; may be run again. Errors:
  // kAlreadyExists (metadata is there, or the node runs), kCorrupt (something is missing; says
  // what), kInvalid, kIo, kNoSpace.
  Task<Status> run();
  // What was done, for people.
  const std::vector<std::string>& story() const { return story_; }

 private:
  // Everything back, under the same id.
  Task<Status> as_it_was();
  // Rows go to a new store with a new journal: all of them, or only what a new id may keep.
  Task<Status> anew(bool all_rows);
  Status check_place() const;
  Status move_aside(const std::vector<std::string>& paths, const std::string& where);
  Status switch_to(bool same_id);
  Status install(const std::string& from);
  std::string work_dir(const char* name) const { return config_.meta_dir + "/rebuild/" + name; }

  Runtime runtime_;
  const Config& config_;
  RebuildWish wish_;
  std::vector<std::string> story_;
};

// The process around it; returns the exit code.
int rebuild_command(const Config& config, const RebuildWish& wish);

}  // namespace covey
