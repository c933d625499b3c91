// Every file operation of the process below one folder passes here first, LMDB's as well as ours:
// syscalls.cpp defines open, pwrite, fdatasync and so on, and the linker prefers those of the
// program (or of a preloaded library) to libc's. A hook sees each call, may answer in its place,
// cut it short or forbid it. Calls on other folders, and all calls without a hook, go straight to
// libc.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace covey {

enum class Sys : uint8_t {
  kOpen,
  kRead,
  kMap,
  kWrite,
  kAllocate,
  kTruncate,
  kSync,
  kSyncDir,
  kRename,
  kUnlink,
  kMakeDir,
};
const char* sys_name(Sys what);

struct SysCall {
  Sys what = Sys::kOpen;
  const char* function = "";  // as the caller knows it: "pwritev"
  std::string path;           // what was opened or is named
  std::string to;             // the new name of a rename
  uint64_t file = 0;          // what the hook said about the descriptor when it was opened
  bool created = false;       // an open that made the file
  bool writable = false;      // of an open
  bool synchronous = false;   // written with O_DSYNC
  bool keep_size = false;     // an allocation behind the end
  uint64_t offset = 0;
  uint64_t size = 0;
  std::vector<iovec> data;       // of a write
  const void* caller = nullptr;  // the return address: which call site this is
};

// Calls come one at a time, whatever thread makes them.
class SysHook {
 public:
  virtual ~SysHook() = default;
  // A result takes the call's place: >= 0, or -errno. May shorten call.size of a write.
  virtual std::optional<long> before(SysCall& call) { return std::nullopt; }
  // `result` >= 0, or -errno. What it sets as call.file of an open comes back with later calls.
  virtual void after(SysCall& call, long result) {}
};

// From now on calls below `root` (an absolute path) go through `hook`; null: none do.
void set_sys_hook(SysHook* hook, std::string root);

}  // namespace covey
