#include "tests/sim/cluster/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/core/check.h"

namespace covey::sim {

using Kind = KeyOp::Kind;
using Answer = KeyOp::Answer;

std::string KeyOp::describe() const {
  static const char* kKinds[] = {"put", "create", "replace", "delete", "delete if", "read", "list"};
  static const char* kAnswers[] = {"ok", "refused", "missing", "UNKNOWN"};
  std::string until = answer == Answer::kUnknown
                          ? "?"
                          : fmt::format("{:.4f}", static_cast<double>(returned_ns) / 1e9);
  return fmt::format("{:.4f}..{} {} {} {} {} {}", static_cast<double>(called_ns) / 1e9, until,
                     kKinds[static_cast<int>(kind)], write, etag.substr(0, 8),
                     kAnswers[static_cast<int>(answer)], note);
}

int History::new_write(WriteRecord record) {
  int id = static_cast<int>(writes_.size()) + 1;
  if (!record.etag.empty()) by_etag_.emplace(record.etag, id);
  writes_.push_back(std::move(record));
  return id;
}

size_t History::copies() const {
  return static_cast<size_t>(
      std::count_if(writes_.begin(), writes_.end(), [](auto& write) { return write.copy; }));
}

const std::vector<Chunk>* History::content(const std::string& etag) const {
  auto it = by_etag_.find(etag);
  return it == by_etag_.end() ? nullptr : &writes_[static_cast<size_t>(it->second) - 1].chunks;
}

std::string History::last_etag(const std::string& key) const {
  auto it = last_etag_.find(key);
  return it == last_etag_.end() ? "0123456789abcdef0123456789abcdef" : it->second;
}

std::optional<bool> History::has_etag(int state, const std::string& etag) const {
  if (state == 0) return etag.empty();
  const std::string& have = writes_[static_cast<size_t>(state) - 1].etag;
  if (have.empty()) return std::nullopt;
  return have == etag;
}

// Depth-first search for an order (Wing and Gong 1993) that remembers what it has tried (Lowe
// 2017). An operation of unknown outcome may take effect at any time after its call, or never.
class KeySearch {
 public:
  KeySearch(const History& history, const std::vector<KeyOp>& ops)
      : history_(history), ops_(ops), done_(ops.size(), false) {}
  bool search(int state);

 private:
  bool fits(const KeyOp& op, int state) const;
  static int after(const KeyOp& op, int state);

  const History& history_;
  const std::vector<KeyOp>& ops_;
  std::vector<bool> done_;
  std::set<std::pair<std::vector<bool>, int>> tried_;
};

// May `op` have got its answer in `state`?
bool KeySearch::fits(const KeyOp& op, int state) const {
  bool there = state != 0;
  bool matches = history_.has_etag(state, op.etag).value_or(true);
  bool differs = !history_.has_etag(state, op.etag).value_or(false);
  switch (op.kind) {
    case Kind::kPut:
    case Kind::kDelete: return op.answer == Answer::kOk || op.answer == Answer::kUnknown;
    case Kind::kCreate: return (op.answer == Answer::kRefused) == there;
    case Kind::kReplace:
    case Kind::kDeleteIf:
      if (op.answer == Answer::kMissing) return !there;
      return op.answer == Answer::kRefused ? there && differs : there && matches;
    case Kind::kRead: return op.write == state;
    case Kind::kReadEtag: return matches;
  }
  return false;
}

int KeySearch::after(const KeyOp& op, int state) {
  if (op.answer == Answer::kRefused || op.answer == Answer::kMissing) return state;
  switch (op.kind) {
    case Kind::kPut:
    case Kind::kCreate:
    case Kind::kReplace: return op.write;
    case Kind::kDelete:
    case Kind::kDeleteIf: return 0;
    default: return state;
  }
}

bool KeySearch::search(int state) {
  int64_t earliest = INT64_MAX;
  bool left = false;
  for (size_t i = 0; i < ops_.size(); ++i) {
    if (done_[i] || ops_[i].answer == Answer::kUnknown) continue;
    left = true;
    earliest = std::min(earliest, ops_[i].returned_ns);
  }
  if (!left) return true;
  if (!tried_.insert({done_, state}).second) return false;
  for (size_t i = 0; i < ops_.size(); ++i) {
    if (done_[i] || ops_[i].called_ns > earliest || !fits(ops_[i], state)) continue;
    done_[i] = true;
    if (search(after(ops_[i], state))) return true;
    done_[i] = false;
  }
  return false;
}

bool History::linearizable(const std::string& key) const {
  auto it = ops_.find(key);
  if (it == ops_.end()) return true;
  // Unknown operations last: they are tried only when nothing else explains what was seen.
  std::vector<KeyOp> ops = it->second;
  std::stable_sort(ops.begin(), ops.end(), [](const KeyOp& a, const KeyOp& b) {
    bool ua = a.answer == Answer::kUnknown, ub = b.answer == Answer::kUnknown;
    return std::pair(ua, a.returned_ns) < std::pair(ub, b.returned_ns);
  });
  return KeySearch(*this, ops).search(0);
}

}  // namespace covey::sim
