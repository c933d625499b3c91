#include "node/cluster/layout_messages.h"

#include "base/core/codec.h"

namespace covey {
namespace {

void write_ballot(Writer& w, const LayoutBallot& ballot) {
  w.u64(ballot.counter);
  w.raw(ballot.node.view());
}

LayoutBallot read_ballot(Reader& r) {
  LayoutBallot ballot;
  ballot.counter = r.u64();
  if (auto id = NodeId::from_bytes(r.raw(NodeId::kSize))) ballot.node = NodeId{*id};
  return ballot;
}

}  // namespace

std::string encode(const LayoutRequest& request) {
  std::string out;
  Writer w(out);
  w.u8(static_cast<uint8_t>(request.ask));
  w.bytes(request.base);
  write_ballot(w, request.ballot);
  w.bytes(request.value);
  return out;
}

std::string encode(const LayoutReply& reply) {
  std::string out;
  Writer w(out);
  w.u8(static_cast<uint8_t>(reply.answer));
  w.bytes(reply.state);
  write_ballot(w, reply.ballot);
  w.u8(reply.flag ? 1 : 0);
  w.bytes(reply.detail);
  return out;
}

Result<LayoutRequest> decode_layout_request(std::string_view bytes) {
  Reader r(bytes);
  LayoutRequest request;
  uint8_t ask = r.u8();
  request.ask = static_cast<LayoutAsk>(ask);
  request.base = r.bytes();
  request.ballot = read_ballot(r);
  request.value = r.bytes();
  if (!r.done() || ask < 1 || ask > 7) return fail(ErrorCode::kInvalid, "malformed layout request");
  return request;
}

Result<LayoutReply> decode_layout_reply(std::string_view bytes) {
  Reader r(bytes);
  LayoutReply reply;
  uint8_t answer = r.u8();
  reply.answer = static_cast<LayoutAnswer>(answer);
  reply.state = r.bytes();
  reply.ballot = read_ballot(r);
  reply.flag = r.u8() != 0;
  reply.detail = r.bytes();
  if (!r.done() || answer < 1 || answer > 3)
    return fail(ErrorCode::kInvalid, "malformed layout reply");
  return reply;
}

}  // namespace covey
