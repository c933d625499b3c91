// Orphans: blocks that failed PUTs and crashed uploads left behind. docs/adr/0003-orphans.md argues
// why this loses nothing.
//
// A version whose blocks are old and that no row here names is judged by all replicas of its home
// partition. Each first refuses it durably, unless a row of its own names it (the refusal comes
// before the look, so that nothing slips in between): from then on it takes neither an Accept of a
// row that brings the version's blocks nor such a block. When all have refused, no row names it and
// none ever will: all drop it. When one knows it, or does not answer, nothing is dropped; in the
// first case the others take their refusals back.
//
// One replica judges a version at a time: a refusal says for whom it stands until it is final.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/async/runtime.h"
#include "gossip/ring/topology.h"
#include "proto/peers.h"
#include "store/block/block_service.h"
#include "store/meta/kv.h"
#include "store/sync/named_versions.h"

namespace covey {

struct OrphanSettings {
  Duration min_age = std::chrono::hours(1);  // of a version's newest block
  Duration pause = std::chrono::hours(1);    // between passes, about
};

class Orphans final : public PeerHandler {
 public:
  // Everything outlives it. The caller registers it: peers.serve(PeerService::kOrphans, *this).
  Orphans(Runtime runtime, Kv& kv, Peers& peers, const Topology& topology, BlockService& blocks,
          OrphanSettings settings);

  // Passes until the scope stops.
  Task<void> run(Scope& scope);
  // Looks at one partition. Returns how many versions it dropped. Errors: kUnavailable (not every
  // replica answers), kStale (the layout changes), kCorrupt, kIo, kNoSpace.
  Task<Result<size_t>> sweep(PartitionId home);
  uint64_t dropped() const { return dropped_; }

  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override;

 private:
  enum class Ask : uint8_t { kRefuse = 1, kDrop = 2, kLift = 3, kHints = 4 };
  enum class Answer : char { kNamed = '0', kRefused = '1', kBusy = '2' };
  using Suspect = SuspectVersion;
  using Suspects = std::vector<Suspect>;
  struct Question {
    Ask ask = Ask::kRefuse;
    uint32_t epoch = 0;
    PartitionId home = 0;
    Suspects suspects;
  };
  static std::string encode(const Question& question);
  static Result<Question> decode(std::string_view bytes);

  // Old versions here that no row here names, and those this node has refused and not dropped.
  Task<Result<Suspects>> suspects(PartitionId home);
  Task<Result<std::set<VersionId>>> old_versions(PartitionId home);
  Task<Status> find_own_refusals();
  void forget_own(PartitionId home, const VersionId& version);
  bool young(PartitionId home, const VersionId& version);

  Task<Result<std::vector<Answer>>> refuse(NodeId judge, Question question);
  Task<Status> lift(NodeId judge, PartitionId home, Suspects suspects);
  Task<Status> drop(PartitionId home, Suspects suspects);
  Task<Result<std::vector<Answer>>> ask(NodeId node, Question question);
  // kNamed: this node keeps rows for others (store/available), and any of them may name a block.
  Result<Answer> hints_here() const;
  // Errors: kUnavailable (a member does not answer, or keeps hints).
  Task<Status> nobody_keeps_hints(PartitionId home);
  Task<Result<size_t>> judge(PartitionId home, Suspects suspects);

  Runtime runtime_;
  Kv& kv_;
  Peers& peers_;
  const Topology& topology_;
  BlockService& blocks_;
  OrphanSettings settings_;
  std::map<PartitionId, std::set<VersionId>> own_;  // refusals for this node as judge, not final
  bool own_found_ = false;
  uint64_t dropped_ = 0;
};

}  // namespace covey
