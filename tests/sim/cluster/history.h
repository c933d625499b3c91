// History: what the clients were told, key by key, and whether one order of the operations explains
// it (linearizability: Herlihy and Wing 1990). Reads and listings are operations like writes, so
// this also judges read-after-write, list-after-write, that listings agree with reads, that nothing
// acknowledged is lost, and that a 412 was deserved.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/cluster/bodies.h"

namespace covey::sim {

// A write that was asked for. Its id stands in the object's user metadata ("w").
struct WriteRecord {
  std::string key;
  std::string etag;  // empty: a copy, until somebody saw it
  std::vector<Chunk> chunks;
  bool copy = false;
};

struct KeyOp {
  enum class Kind { kPut, kCreate, kReplace, kDelete, kDeleteIf, kRead, kReadEtag };
  enum class Answer { kOk, kRefused, kMissing, kUnknown };
  Kind kind = Kind::kRead;
  Answer answer = Answer::kOk;
  int write = 0;     // written, or read (0: absent)
  std::string etag;  // the condition, or listed (empty: absent)
  int64_t called_ns = 0;
  int64_t returned_ns = INT64_MAX;
  uint64_t improvements = 0;  // SimNetwork::improvements() then
  bool cut_off = false;       // begun where no quorum could be reached
  std::string note;

  std::string describe() const;
};

class History {
 public:
  // The id of the next write.
  size_t next_write() const { return writes_.size() + 1; }
  int new_write(WriteRecord record);
  WriteRecord& write(int id) { return writes_.at(static_cast<size_t>(id) - 1); }
  bool known(int id) const { return id > 0 && static_cast<size_t>(id) <= writes_.size(); }
  size_t copies() const;
  // The chunks of the object with this ETag; nullptr: nobody ever wrote it.
  const std::vector<Chunk>* content(const std::string& etag) const;

  void add(const std::string& key, KeyOp op) { ops_[key].push_back(std::move(op)); }
  const std::map<std::string, std::vector<KeyOp>>& ops() const { return ops_; }
  // An ETag that the key had at some time, or that it never had; for conditions.
  std::string last_etag(const std::string& key) const;
  void saw(const std::string& key, const std::string& etag) { last_etag_[key] = etag; }

  bool linearizable(const std::string& key) const;

 private:
  friend class KeySearch;
  // Whether the state (a write id, 0: absent) has this ETag; nullopt: nobody knows.
  std::optional<bool> has_etag(int state, const std::string& etag) const;

  std::vector<WriteRecord> writes_;
  std::map<std::string, int> by_etag_;
  std::map<std::string, std::vector<KeyOp>> ops_;
  std::map<std::string, std::string> last_etag_;
};

}  // namespace covey::sim
