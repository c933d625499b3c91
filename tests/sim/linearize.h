// Is a history of one register linearizable? Depth-first search for an order (Wing and Gong 1993)
// that remembers what it has tried (Lowe 2017). An operation of unknown outcome may take effect at
// any time after its call, or never.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace covey {

struct HistoryOp {
  enum class Kind { kPut, kCreate, kCas, kDelete, kRead, kExists };
  Kind kind = Kind::kRead;
  int value = 0;     // written, or read (0: absent)
  int expected = 0;  // of a CAS
  bool refused = false;
  bool unknown = false;
  int64_t called_ns = 0;
  int64_t returned_ns = INT64_MAX;
  std::string note;
};

class Linearizer {
 public:
  explicit Linearizer(const std::vector<HistoryOp>& ops) : ops_(ops), done_(ops.size(), false) {}
  bool check() { return search(0); }

 private:
  // The state after `op`, nullopt if it cannot happen in `state`.
  static std::optional<int> apply(const HistoryOp& op, int state) {
    switch (op.kind) {
      case HistoryOp::Kind::kPut: return op.value;
      case HistoryOp::Kind::kDelete: return 0;
      case HistoryOp::Kind::kRead: return op.value == state ? std::optional(state) : std::nullopt;
      case HistoryOp::Kind::kExists: return state != 0 ? std::optional(state) : std::nullopt;
      case HistoryOp::Kind::kCreate:
        if ((state != 0) != op.refused) return std::nullopt;
        return op.refused ? state : op.value;
      case HistoryOp::Kind::kCas:
        if ((state != op.expected) != op.refused) return std::nullopt;
        return op.refused ? state : op.value;
    }
    return std::nullopt;
  }

  bool search(int state) {
    int64_t earliest = INT64_MAX;
    bool left = false;
    for (size_t i = 0; i < ops_.size(); ++i) {
      if (done_[i] || ops_[i].unknown) continue;
      left = true;
      earliest = std::min(earliest, ops_[i].returned_ns);
    }
    if (!left) return true;
    if (!tried_.insert({done_, state}).second) return false;
    for (size_t i = 0; i < ops_.size(); ++i) {
      if (done_[i] || ops_[i].called_ns > earliest) continue;
      auto next = apply(ops_[i], state);
      if (!next) continue;
      done_[i] = true;
      if (search(*next)) return true;
      done_[i] = false;
    }
    return false;
  }

  const std::vector<HistoryOp>& ops_;
  std::vector<bool> done_;
  std::set<std::pair<std::vector<bool>, int>> tried_;
};

}  // namespace covey
