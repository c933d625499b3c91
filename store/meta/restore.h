// Restoring a metadata store from what a data directory keeps: the newest snapshot that is sound,
// the copies of closed journals since, and the open journal.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "store/meta/open_kv.h"

namespace covey {

struct RestoreOptions {
  // dir, journal_dir, other_journal_dirs and archive_dir say where everything stands; nothing there
  // is overwritten, but a new journal file is opened in journal_dir.
  KvOptions kv;
  std::string snapshot_dir;
  // Take what there is, if not all of it is there or sound.
  bool accept_loss = false;
};

struct Restored {
  std::unique_ptr<Kv> kv;  // destroyed before its target
  std::string snapshot;    // the one that was used; empty: the journals reach back to the start
  std::string missing;     // why something acknowledged may be missing; empty: nothing is
  std::vector<std::string> tried;  // what could not be used before that, and why
};

// `fresh` gives an empty target for each attempt; what it gave before is not used any more.
// Errors: kCorrupt (not everything is there; the message lists why), kIo, kNoSpace.
Task<Result<Restored>> restore_kv(RestoreOptions options, Runtime runtime,
                                  std::function<Result<FoldTarget*>()> fresh);

}  // namespace covey
