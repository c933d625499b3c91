// DamagedStart: what a node does whose own metadata is damaged. It must not vote with it. The
// others have everything, so it gives its identity up (node/witness/rebirth.h) and is refilled;
// but only once a majority of the members, itself not counted, is there and votes: were two of
// three nodes to give up what they hold at once, an outage would become a loss. Until then nothing
// is touched.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/async/runtime.h"
#include "node/config/config.h"
#include "node/grpc/grpc_peers.h"
#include "node/member_file.h"

namespace covey {

// A disk that damages more than this is not to be trusted with the next copy.
inline constexpr size_t kDamagesPerDayMax = 3;
// How long the others are waited for.
inline constexpr Duration kOthersWithin = std::chrono::seconds(60);

class DamagedStart {
 public:
  // Everything outlives it. `why`: what is damaged, for people.
  DamagedStart(const Config& config, Runtime runtime, std::string why);
  // REQUIRES: run() was not called, or has ended.
  ~DamagedStart();

  // True once the rebirth is planned: the node is to start again. Errors: what the operator has to
  // do; false: stopped.
  Task<Result<bool>> run();
  void request_stop() { scope_.request_stop(); }

 private:
  Status may_give_up() const;
  Task<bool> majority_votes();
  Task<void> ask(NodeId member);

  const Config& config_;
  Runtime runtime_;
  std::string why_;
  NodeId self_;
  uint64_t session_ = 0;
  std::vector<KnownMember> members_;
  std::vector<NodeId> vote_;  // said that they do
  std::unique_ptr<GrpcPeers> peers_;
  Scope scope_;
};

// A node whose metadata is damaged again and again is not to be refilled once more. Errors: kIo,
// with what the operator has to do.
Status may_give_up_damaged(const Config& config, WallTime now, const std::string& why);

// Where a node keeps its members.
std::string member_file(const Config& config);

}  // namespace covey
