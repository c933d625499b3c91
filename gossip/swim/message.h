// Gossip messages, as they stand inside a sealed datagram:
//   u8 kind | u32 sequence | target 32 | target address | u8 updates | update*
// Every message carries claims about members; kPush and kPushPull carry the whole state, in as many
// datagrams as it takes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "gossip/swim/member.h"

namespace covey {

enum class GossipKind : uint8_t {
  kGossip = 1,   // claims only
  kPing = 2,     // to `target`: ack with the same sequence
  kPingReq = 3,  // ping `target` at `address` for me; nack if it stays silent
  kAck = 4,
  kNack = 5,
  kPushPull = 6,  // here is my state, send me yours
  kPush = 7,      // here is mine
};

struct GossipMessage {
  GossipKind kind = GossipKind::kGossip;
  uint32_t sequence = 0;
  NodeId target;
  Address address;
  std::vector<MemberUpdate> updates;
};

std::string encode_update(const MemberUpdate& update);
// `updates`: encoded ones, at most 255.
std::string encode_gossip(const GossipMessage& head, const std::vector<std::string>& updates);
// Errors: kInvalid. Trusts no length.
Result<GossipMessage> decode_gossip(std::string_view bytes);

}  // namespace covey
