// DiskModel: what a power cut may leave of a folder, from the calls that were made on it.
//
// A file's bytes are durable up to its last completed sync; of what came later any subset may be
// there, each write whole, not at all or in part (sectors of 512 bytes). Names (created, renamed,
// unlinked files and made folders) are durable once their folder is synced; of later changes any
// subset may be there. Writes through an O_DSYNC descriptor are durable when they return.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/async/rng.h"

namespace covey {

struct DiskOp {
  enum class Kind { kCreate, kMakeDir, kRename, kUnlink, kWrite, kResize, kSync, kSyncDir };
  Kind kind;
  uint64_t file = 0;
  std::string path, to;      // names, relative to the folder
  uint64_t offset = 0;       // of a write; the new size of a resize
  bool grow_only = false;    // of a resize
  bool synchronous = false;  // of a write
  std::string bytes;
};
using DiskOpRef = std::shared_ptr<const DiskOp>;
std::string describe(const DiskOp& op);

struct DiskImage {
  struct Entry {
    bool folder = false;
    uint64_t file = 0;
  };
  std::map<std::string, Entry> names;  // parents before what is in them
  std::map<uint64_t, std::string> files;
  uint64_t hash() const;
  // Makes the empty folder `dir` look so.
  void write_to(const std::string& dir) const;
};

// What becomes of the changes that are not durable: one decision for each, in order.
struct Keep {
  enum class How : uint8_t { kLost, kWhole, kTorn };
  std::vector<How> units;
  uint64_t torn_seed = 0;
  bool garbage = false;  // what a lost write should have filled is not zeros
};

class DiskModel {
 public:
  DiskModel() = default;
  explicit DiskModel(DiskImage durable);

  void apply(const DiskOpRef& op);
  // The number of changes that are not durable; a synchronous write `next` that is under way
  // counts, too.
  size_t volatile_units(const DiskOp* next) const;
  std::vector<DiskOpRef> volatile_ops() const;
  DiskImage image(const Keep& keep, const DiskOpRef& next) const;
  // What a process sees.
  DiskImage live() const;

 private:
  struct Pending {
    DiskOpRef op;
    bool durable = false;
  };
  struct File {
    std::string durable;
    std::vector<Pending> pending;
  };
  static void apply_name(DiskImage& image, const DiskOp& op);

  DiskImage durable_;  // files: unused
  std::map<uint64_t, File> files_;
  std::vector<DiskOpRef> names_;  // not durable, in order
};

}  // namespace covey
