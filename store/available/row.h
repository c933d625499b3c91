// AvailableRow: what a replica knows of one key of an `available` bucket. Pure.
//
// An optimized observed-remove set (Bieniusa et al., "An optimized conflict-free replicated set",
// 2012) of siblings. Every change of a key is an event with a dot: (actor, counter). The context
// says which events a row has seen; a sibling whose dot was seen by one side and is not among that
// side's siblings was replaced there, so joining drops it. What neither side replaced stays. Which
// sibling is current: the highest stamp (hybrid clock, then node), so all replicas agree.
//
// REQUIRES of its writers: an actor's dots rise, and all earlier ones are in the context of the row
// that gets the next one. So an actor belongs to rows that are kept: a node's rows of one partition
// while it replicates it (a fresh actor each time it begins to), or one hint.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/ids.h"
#include "base/core/result.h"
#include "base/crdt/hlc.h"
#include "store/register/rank.h"

namespace covey {

inline constexpr size_t kSiblingsMax = 8;  // kept by a write; a join may show more

struct Dot {
  uint64_t actor = 0;
  uint64_t counter = 0;
  auto operator<=>(const Dot&) const = default;
};

struct Sibling {
  Dot dot;
  HlcStamp stamp;
  VersionId version;       // of an object; zero in other tables
  bool tombstone = false;  // the key was deleted
  std::string row;         // as the table wrote it; empty in a tombstone
  bool operator==(const Sibling&) const = default;
};

struct AvailableRow {
  std::map<uint64_t, uint64_t> context;  // actor -> its highest counter seen
  std::vector<Sibling> siblings;         // highest stamp first

  bool operator==(const AvailableRow&) const = default;

  bool saw(const Dot& dot) const;
  // nullptr: nothing was ever here, or all of it was removed.
  const Sibling* winner() const { return siblings.empty() ? nullptr : &siblings.front(); }
  // The row that a reader sees; nullptr: missing or deleted.
  const std::string* current() const;

  // The least row that has seen what both have.
  void join(const AvailableRow& other);

  // A new event. The counter follows the wall clock, so that it rises also over what was forgotten.
  Dot next_dot(uint64_t actor, int64_t wall_ms);
  // Puts `sibling` in the place of those for which `replaced` says so.
  void write(Sibling sibling, const std::function<bool(const Sibling&)>& replaced);
  // Removes siblings without a new one; `event` makes others see it.
  void remove(const std::function<bool(const Sibling&)>& removed);

  // Rises with every event and every join that adds something; equal only for equal rows (their
  // contexts decide the siblings). So it can stand where registers have their rank.
  Rank rank() const;
};

std::string encode_available(const AvailableRow& row);
// Errors: kCorrupt.
Result<AvailableRow> decode_available(std::string_view bytes);

}  // namespace covey
