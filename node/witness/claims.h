// What a node says of itself when it starts, what another one remembers of it, and what follows.
// Pure; docs/adr/0004-amnesia.md has the argument.
//
// A node's metadata counts durable batches ("sequence"); the count never goes back on a disk that
// forgets nothing. Every message between nodes carries the sender's sequence and the number of its
// session (one process, one random number), and whoever relies on an answer remembers both.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/ids.h"
#include "base/core/result.h"

namespace covey {

// One start of a node.
struct Claim {
  uint64_t boot = 0;       // counted on its disk; raised durably before anybody hears of it
  uint64_t session = 0;    // random, not zero
  uint64_t recovered = 0;  // the sequence its disk had when it started
  bool operator==(const Claim&) const = default;
};

// What is remembered of a node. All zero: nothing.
struct Mark {
  uint64_t boot = 0;
  uint64_t session = 0;
  uint64_t sequence = 0;  // somebody relied on the node having this
  bool operator==(const Mark&) const = default;
};

enum class Verdict : uint8_t {
  kFine = 0,
  kForgot = 1,  // its disk has less than somebody relied on
  kCopied = 2,  // this start, or a later one, was counted by another process: an old or second copy
};
Verdict judge(const Mark& mark, const Claim& claim);
// What is remembered after a claim that was found fine.
Mark admitted(const Mark& mark, const Claim& claim);
// For people: what is wrong with a node of which `mark` is remembered.
std::string describe(Verdict verdict, const Mark& mark, const Claim& claim);

// ---- messages of PeerService::kWitness

enum class WitnessAsk : uint8_t {
  kCheck = 1,  // "this is how I started": answered with a WitnessReply
  kWho = 2,    // "how did you start?": answered with a Claim
  kHeard = 3,  // a hint: what the sender remembers of others
};
struct WitnessRequest {
  struct Heard {
    NodeId node;
    uint64_t session = 0, sequence = 0;
  };
  WitnessAsk ask = WitnessAsk::kWho;
  Claim claim;               // kCheck
  std::vector<Heard> heard;  // kHeard
};
struct WitnessReply {
  Verdict verdict = Verdict::kFine;
  Mark mark;             // what the verdict rests upon
  bool cleared = false;  // who answers may vote itself
};
inline constexpr size_t kHeardMax = 512;  // in one message

std::string encode(const WitnessRequest& request);
Result<WitnessRequest> decode_witness_request(std::string_view bytes);  // kInvalid
std::string encode(const WitnessReply& reply);
Result<WitnessReply> decode_witness_reply(std::string_view bytes);  // kInvalid
std::string encode(const Claim& claim);
Result<Claim> decode_claim(std::string_view bytes);  // kInvalid
std::string encode(const Mark& mark);
Result<Mark> decode_mark(std::string_view bytes);  // kCorrupt

// ---- what every message between nodes ends with

struct Seal {
  uint64_t session = 0;
  uint64_t sequence = 0;
};
inline constexpr size_t kSealBytes = 16;
void put_seal(std::string& head, Seal seal);
// Takes it off again. nullopt: there is none.
std::optional<Seal> take_seal(std::string& head);

}  // namespace covey
