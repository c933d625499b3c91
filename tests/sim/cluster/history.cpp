#include "tests/sim/cluster/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
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
// 2017). An operation of unknown outcome may take effect at any time after its call, or never: what
// led to nothing leads to nothing either when more of these have been used up, and of those that
// nobody can tell apart the first one called is used first.
class KeySearch {
 public:
  KeySearch(const History& history, std::vector<KeyOp> ops);
  bool search(int state);

 private:
  // Operations of unknown outcome that do the same: nobody ever saw what they wrote.
  enum class Alike { kNone, kPut, kCreate, kDelete };
  bool fits(const KeyOp& op, int state) const;
  bool tried(int state);
  static int after(const KeyOp& op, int state);

  const History& history_;
  std::vector<KeyOp> ops_;  // those of unknown outcome last, in the order of their calls
  size_t known_ = 0;
  std::vector<Alike> alike_;
  std::vector<bool> done_;
  // What was done of the others and the state it led to; what had been used up of the last.
  std::map<std::pair<std::vector<bool>, int>, std::vector<std::vector<bool>>> tried_;
};

KeySearch::KeySearch(const History& history, std::vector<KeyOp> ops)
    : history_(history),
      ops_(std::move(ops)),
      alike_(ops_.size(), Alike::kNone),
      done_(ops_.size(), false) {
  std::stable_sort(ops_.begin(), ops_.end(), [](const KeyOp& a, const KeyOp& b) {
    bool ua = a.answer == Answer::kUnknown, ub = b.answer == Answer::kUnknown;
    return std::pair(ua, ua ? a.called_ns : a.returned_ns) <
           std::pair(ub, ub ? b.called_ns : b.returned_ns);
  });
  while (known_ < ops_.size() && ops_[known_].answer != Answer::kUnknown) ++known_;
  std::set<int> read;
  std::set<std::string> named;
  for (const KeyOp& op : ops_) {
    if (op.kind == Kind::kRead) read.insert(op.write);
    named.insert(op.etag);
  }
  int unseen = 0;  // stands for all of them
  for (size_t i = known_; i < ops_.size(); ++i) {
    KeyOp& op = ops_[i];
    if (op.kind == Kind::kDelete) alike_[i] = Alike::kDelete;
    if (op.kind != Kind::kPut && op.kind != Kind::kCreate) continue;
    const std::string& etag = history_.writes_[static_cast<size_t>(op.write) - 1].etag;
    if (etag.empty() || named.contains(etag) || read.contains(op.write)) continue;
    alike_[i] = op.kind == Kind::kPut ? Alike::kPut : Alike::kCreate;
    if (unseen == 0) unseen = op.write;
    op.write = unseen;
  }
}

bool KeySearch::tried(int state) {
  auto last = done_.begin() + static_cast<std::ptrdiff_t>(known_);
  const std::vector<bool> used(last, done_.end());
  auto& before = tried_[{std::vector<bool>(done_.begin(), last), state}];
  auto covers = [](const std::vector<bool>& more, const std::vector<bool>& less) {
    for (size_t i = 0; i < more.size(); ++i)
      if (less[i] && !more[i]) return false;
    return true;
  };
  for (const auto& one : before)
    if (covers(used, one)) return true;
  std::erase_if(before, [&](const auto& one) { return covers(one, used); });
  before.push_back(used);
  return false;
}

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
  if (tried(state)) return false;
  std::set<Alike> used;
  for (size_t i = 0; i < ops_.size(); ++i) {
    if (done_[i] || ops_[i].called_ns > earliest || !fits(ops_[i], state)) continue;
    if (alike_[i] != Alike::kNone && !used.insert(alike_[i]).second) continue;
    done_[i] = true;
    if (search(after(ops_[i], state))) return true;
    done_[i] = false;
  }
  return false;
}

bool History::linearizable(const std::string& key) const {
  auto it = ops_.find(key);
  if (it == ops_.end()) return true;
  return KeySearch(*this, it->second).search(0);
}

}  // namespace covey::sim
