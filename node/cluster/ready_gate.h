// ReadyGate: lets a peer's request through once this node has a layout.
#pragma once

#include "gossip/ring/topology.h"
#include "proto/peers.h"

namespace covey {

class ReadyGate final : public PeerHandler {
 public:
  ReadyGate(const Topology& topology, PeerHandler& inner) : topology_(topology), inner_(inner) {}
  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override;

 private:
  const Topology& topology_;
  PeerHandler& inner_;
};

}  // namespace covey
