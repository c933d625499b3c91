// Messages of PeerService::kLayout:
//   request = u8 kind | base state | ballot (u64 counter, node 32) | value state
//   reply   = u8 answer | state | ballot | u8 flag | detail
// Every request carries the state it builds on, so that a receiver that is behind adopts it first.
#pragma once

#include <string>
#include <string_view>

#include "base/core/result.h"
#include "node/cluster/layout_store.h"

namespace covey {

enum class LayoutAsk : uint8_t {
  kGet = 1,      // which state have you adopted?
  kPush = 2,     // adopt this one (base)
  kPrepare = 3,  // promise `ballot` in the vote on base's successor
  kAccept = 4,   // accept `value` under `ballot`
  kEmpty = 5,    // adopt base; are you without any data? (joint: were you, then?)
  kReport = 6,   // adopt base; value: the leader's ChangeView; reply: a NodeReport
  kSizes = 7,    // how many bytes have you of each partition? Reply: one varint each
};
struct LayoutRequest {
  LayoutAsk ask = LayoutAsk::kGet;
  std::string base;  // an encoded LayoutState, or empty
  LayoutBallot ballot;
  std::string value;
};

enum class LayoutAnswer : uint8_t {
  kState = 1,  // `state` (empty: none yet); flag: no register rows when it was adopted
  kYes = 2,    // promised or accepted; a promise carries what was accepted before, if anything
  kNo = 3,     // `ballot` was promised to somebody else
};
struct LayoutReply {
  LayoutAnswer answer = LayoutAnswer::kState;
  std::string state;
  LayoutBallot ballot;
  bool flag = false;
  std::string detail;  // of kReport and kSizes
};

std::string encode(const LayoutRequest& request);
std::string encode(const LayoutReply& reply);
// Errors: kInvalid.
Result<LayoutRequest> decode_layout_request(std::string_view bytes);
Result<LayoutReply> decode_layout_reply(std::string_view bytes);

}  // namespace covey
