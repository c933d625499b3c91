#include "node/cluster/ready_gate.h"

namespace covey {

Task<Result<PeerMessage>> ReadyGate::serve(NodeId from, PeerMessage request) {
  if (!topology_.layout())
    co_return fail(ErrorCode::kUnavailable, "this node has not joined the cluster yet");
  co_return co_await inner_.serve(from, std::move(request));
}

}  // namespace covey
