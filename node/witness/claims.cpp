#include "node/witness/claims.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/core/codec.h"
#include "base/core/seeded_bug.h"

namespace covey {
namespace {

void put(Writer& w, const Claim& claim) {
  w.varint(claim.boot);
  w.u64(claim.session);
  w.varint(claim.recovered);
}

Claim get_claim(Reader& r) {
  Claim claim;
  claim.boot = r.varint();
  claim.session = r.u64();
  claim.recovered = r.varint();
  return claim;
}

void put(Writer& w, const Mark& mark) {
  w.varint(mark.boot);
  w.u64(mark.session);
  w.varint(mark.sequence);
}

Mark get_mark(Reader& r) {
  Mark mark;
  mark.boot = r.varint();
  mark.session = r.u64();
  mark.sequence = r.varint();
  return mark;
}

}  // namespace

Verdict judge(const Mark& mark, const Claim& claim) {
  if (mark == Mark() || SEEDED_BUG("witness-believes-all")) return Verdict::kFine;
  if (claim.session == mark.session && claim.boot == mark.boot) return Verdict::kFine;
  if (claim.boot <= mark.boot) return Verdict::kCopied;
  return claim.recovered < mark.sequence ? Verdict::kForgot : Verdict::kFine;
}

Mark admitted(const Mark& mark, const Claim& claim) {
  return {claim.boot, claim.session, std::max(mark.sequence, claim.recovered)};
}

std::string describe(Verdict verdict, const Mark& mark, const Claim& claim) {
  // No start was counted: the node could not read what it has (node/damaged_start.h).
  if (verdict != Verdict::kFine && claim.boot == 0) return "its metadata is damaged";
  if (verdict == Verdict::kForgot)
    return fmt::format(
        "its disk forgot writes it had acknowledged (it started with sequence {}, other nodes "
        "remember {}): an old image, a snapshot or a disk that lost what it had synced",
        claim.recovered, mark.sequence);
  if (verdict == Verdict::kCopied)
    return fmt::format(
        "its disk is an old or a second copy (this is start {} with sequence {}, other nodes "
        "remember another start {} with sequence {})",
        claim.boot, claim.recovered, mark.boot, mark.sequence);
  return "nothing is wrong with it";
}

std::string encode(const WitnessRequest& request) {
  std::string out;
  Writer w(out);
  w.u8(static_cast<uint8_t>(request.ask));
  put(w, request.claim);
  w.varint(request.heard.size());
  for (const WitnessRequest::Heard& one : request.heard) {
    w.raw(one.node.view());
    w.u64(one.session);
    w.varint(one.sequence);
  }
  return out;
}

Result<WitnessRequest> decode_witness_request(std::string_view bytes) {
  Reader r(bytes);
  WitnessRequest request;
  uint8_t ask = r.u8();
  request.ask = static_cast<WitnessAsk>(ask);
  request.claim = get_claim(r);
  uint64_t count = r.varint();
  if (ask < 1 || ask > 3 || count > kHeardMax)
    return fail(ErrorCode::kInvalid, "a malformed question to a witness");
  for (uint64_t i = 0; i < count && r.ok(); ++i) {
    WitnessRequest::Heard one;
    std::string_view id = r.raw(NodeId::kSize);
    one.node = NodeId::from_bytes(id).value_or(NodeId{});
    one.session = r.u64();
    one.sequence = r.varint();
    request.heard.push_back(one);
  }
  if (!r.done()) return fail(ErrorCode::kInvalid, "a malformed question to a witness");
  return request;
}

std::string encode(const WitnessReply& reply) {
  std::string out;
  Writer w(out);
  w.u8(static_cast<uint8_t>(reply.verdict));
  put(w, reply.mark);
  w.u8(reply.cleared);
  return out;
}

Result<WitnessReply> decode_witness_reply(std::string_view bytes) {
  Reader r(bytes);
  WitnessReply reply;
  uint8_t verdict = r.u8();
  reply.verdict = static_cast<Verdict>(verdict);
  reply.mark = get_mark(r);
  reply.cleared = r.u8() != 0;
  if (!r.done() || verdict > 2) return fail(ErrorCode::kInvalid, "a malformed answer of a witness");
  return reply;
}

std::string encode(const Claim& claim) {
  std::string out;
  Writer w(out);
  put(w, claim);
  return out;
}

Result<Claim> decode_claim(std::string_view bytes) {
  Reader r(bytes);
  Claim claim = get_claim(r);
  if (!r.done() || claim.session == 0)
    return fail(ErrorCode::kInvalid, "a malformed claim of a node that started");
  return claim;
}

std::string encode(const Mark& mark) {
  std::string out;
  Writer w(out);
  put(w, mark);
  return out;
}

Result<Mark> decode_mark(std::string_view bytes) {
  Reader r(bytes);
  Mark mark = get_mark(r);
  if (!r.done())
    return fail(ErrorCode::kCorrupt, "what is remembered of another node does not decode");
  return mark;
}

void put_seal(std::string& head, Seal seal) {
  Writer w(head);
  w.u64(seal.session);
  w.u64(seal.sequence);
}

std::optional<Seal> take_seal(std::string& head) {
  if (head.size() < kSealBytes) return std::nullopt;
  Reader r(std::string_view(head).substr(head.size() - kSealBytes));
  Seal seal;
  seal.session = r.u64();
  seal.sequence = r.u64();
  head.resize(head.size() - kSealBytes);
  return seal;
}

}  // namespace covey
