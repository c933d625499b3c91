// The search for an order of the operations (tests/sim/cluster/history.cpp) against one that tries
// them all.
#include "tests/sim/cluster/history.h"

#include "tests/sim/sim_rng.h"
#include "tests/unit/test.h"

using namespace covey;
using namespace covey::sim;
using Kind = KeyOp::Kind;
using Answer = KeyOp::Answer;

namespace {

std::string etag_of(int write) {
  return write == 0 ? std::string() : "etag-" + std::to_string(write);
}

// The state after the operation, -1: its answer cannot have been given in `state`.
int step(const KeyOp& op, int state) {
  const bool there = state != 0, same = op.etag == etag_of(state);
  const bool ok = op.answer == Answer::kOk || op.answer == Answer::kUnknown;
  switch (op.kind) {
    case Kind::kPut: return op.write;
    case Kind::kDelete: return 0;
    case Kind::kCreate: return ok ? (there ? -1 : op.write) : (there ? state : -1);
    case Kind::kReplace:
    case Kind::kDeleteIf:
      if (op.answer == Answer::kMissing) return there ? -1 : state;
      if (op.answer == Answer::kRefused) return there && !same ? state : -1;
      if (!there || !same) return -1;
      return op.kind == Kind::kReplace ? op.write : 0;
    case Kind::kRead: return op.write == state ? state : -1;
    case Kind::kReadEtag: return same ? state : -1;
  }
  return -1;
}

// Tries every order.
bool any_order(const std::vector<KeyOp>& ops, std::vector<bool>& done, int state) {
  int64_t earliest = INT64_MAX;
  bool left = false;
  for (size_t i = 0; i < ops.size(); ++i) {
    if (done[i] || ops[i].answer == Answer::kUnknown) continue;
    left = true;
    earliest = std::min(earliest, ops[i].returned_ns);
  }
  if (!left) return true;
  for (size_t i = 0; i < ops.size(); ++i) {
    if (done[i] || ops[i].called_ns > earliest) continue;
    int next = step(ops[i], state);
    if (next < 0) continue;
    done[i] = true;
    if (any_order(ops, done, next)) return true;
    done[i] = false;
  }
  return false;
}

// Operations that overlap, with answers that may or may not make sense together.
std::vector<KeyOp> draw(SimRng& rng, History& history, const std::string& key) {
  std::vector<KeyOp> ops;
  std::vector<int> writes = {0};
  const size_t count = 3 + rng.below(6);
  for (size_t i = 0; i < count; ++i) {
    KeyOp op;
    op.kind = static_cast<Kind>(rng.below(7));
    const bool reads = op.kind == Kind::kRead || op.kind == Kind::kReadEtag;
    op.called_ns = static_cast<int64_t>(rng.below(30));
    op.returned_ns = op.called_ns + 1 + static_cast<int64_t>(rng.below(20));
    if (op.kind == Kind::kPut || op.kind == Kind::kCreate || op.kind == Kind::kReplace) {
      WriteRecord record;
      record.key = key, record.etag = etag_of(static_cast<int>(history.next_write()));
      op.write = history.new_write(record);
      writes.push_back(op.write);
    }
    const bool conditional = op.kind == Kind::kReplace || op.kind == Kind::kDeleteIf;
    uint64_t drawn = rng.below(3);
    if (!reads && drawn == 0) op.answer = Answer::kUnknown;
    if ((conditional || op.kind == Kind::kCreate) && drawn == 1) op.answer = Answer::kRefused;
    if (conditional && rng.chance(0.1)) op.answer = Answer::kMissing;
    ops.push_back(op);
  }
  for (KeyOp& op : ops) {
    int of = writes[rng.below(writes.size())];
    if (op.kind == Kind::kRead) op.write = of;
    if (op.kind == Kind::kReadEtag || op.kind == Kind::kReplace || op.kind == Kind::kDeleteIf)
      op.etag = etag_of(of);
    history.add(key, op);
  }
  return ops;
}

}  // namespace

TEST_CASE("history: its search finds an order exactly when there is one") {
  SimRng rng(11);
  History history;
  size_t yes = 0, no = 0;
  for (int i = 0; i < 40000; ++i) {
    const std::string key = "key-" + std::to_string(i);
    std::vector<KeyOp> ops = draw(rng, history, key);
    std::vector<bool> done(ops.size(), false);
    const bool expected = any_order(ops, done, 0);
    (expected ? yes : no) += 1;
    const bool found = history.linearizable(key);
    if (found == expected) continue;
    std::string text;
    for (const KeyOp& op : ops) text += op.describe() + "\n";
    INFO(text);
    REQUIRE(found == expected);
  }
  EXPECT(yes > 4000);
  EXPECT(no > 4000);
}
