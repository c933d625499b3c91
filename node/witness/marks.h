// Marks: what this node remembers of every other one, durable in its metadata (TableId::kNode, key
// "mark" and the node's id). Loop thread only.
#pragma once

#include <unordered_map>

#include "base/async/event.h"
#include "base/async/runtime.h"
#include "node/witness/claims.h"
#include "store/meta/kv.h"

namespace covey {

inline constexpr size_t kMarksMax = 4096;
// What was heard is durable so soon, and no more often written. A power cut of this node loses what
// came later.
inline constexpr Duration kMarksWithin = std::chrono::milliseconds(100);

class Marks {
 public:
  Marks(Runtime runtime, Kv& kv) : runtime_(runtime), kv_(kv) {}

  // Once, before anything else. Errors: kCorrupt, kIo.
  Status load();
  Mark of(const NodeId& node) const;
  const std::unordered_map<NodeId, Mark>& all() const { return marks_; }

  // The node said this in this session. False: it is not the session that is remembered.
  bool heard(const NodeId& node, Seal seal) {
    auto it = marks_.find(node);
    if (it == marks_.end() || it->second.session != seal.session) return false;
    if (it->second.sequence < seal.sequence) {
      it->second.sequence = seal.sequence;
      changed();
    }
    return true;
  }
  // Judges a start of the node, and when it is fine remembers it durably. Errors: kNoSpace,
  // kOverloaded, kIo; nothing may be relied on then.
  Task<Result<Verdict>> admit(NodeId node, Claim claim);

  // This node's own sequence as others are to remember it: what it writes only to remember others
  // does not count, or idle nodes would keep each other writing.
  uint64_t own_sequence() const;
  // Counts changes: equal counts, equal marks.
  uint64_t changes() const { return changes_; }

  // Writes what was heard, until stop is requested.
  Task<void> run(Scope& scope);
  // Lets run() see that stop was requested.
  void wake() { something_.set(); }

 private:
  void changed() {
    ++changes_;
    if (!something_.is_set()) something_.set();
  }
  Task<Status> save();

  Runtime runtime_;
  Kv& kv_;
  std::unordered_map<NodeId, Mark> marks_;
  std::unordered_map<NodeId, Mark> saved_;  // what is durable
  uint64_t changes_ = 0;
  KvVersion run_first_ = 0, run_last_ = 0;  // the last unbroken run of batches with marks alone
  Event something_;
};

}  // namespace covey
