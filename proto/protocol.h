// The language that nodes speak with each other: all messages of proto/peers.h together.
#pragma once

#include <cstdint>

namespace covey {

// Raised with every change that a node of before would refuse or, worse, read as something else.
// Nodes of different numbers do not talk: the one that calls is told so and logs it.
inline constexpr uint32_t kPeerProtocol = 1;

}  // namespace covey
