// Client: asks random nodes for random things, one after the other, never twice for the same, and
// writes down what it was told.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "tests/sim/cluster/world.h"

namespace covey::sim {

class Client {
 public:
  Client(World& world, size_t number, SimRng rng);
  Task<void> run();

  // Also for the last checks: what they see is history, too. False if there was no answer.
  Task<bool> read(std::shared_ptr<Incarnation> at, std::string key, bool head_only);
  // Every page of a listing without delimiter.
  Task<bool> list(std::shared_ptr<Incarnation> at, std::string prefix, size_t limit);
  Task<bool> put(std::shared_ptr<Incarnation> at, std::string key, KeyOp::Kind kind);

 private:
  using At = std::shared_ptr<Incarnation>;
  Task<void> operate(At at);
  Task<void> remove(At at, std::string key, bool conditional);
  Task<void> copy(At at, std::string from, std::string to);
  Task<void> touch(At at, std::string key);
  Task<void> multipart(At at, std::string key);
  Task<Result<UploadId>> start_upload(At at, std::string key, int write);
  Task<bool> complete(At at, CompleteRequest request, KeyOp op);
  Task<Status> read_body(At at, GetResult* got, std::string etag);

  KeyOp begin(const At& at, KeyOp::Kind kind);
  // Takes the answer down. True: it succeeded.
  bool record(const At& at, const std::string& key, KeyOp op, const Status& answer);
  void check_promptness(const At& at, const KeyOp& op);
  TimePoint deadline(const At& at);
  size_t body_size();
  std::string random_key();

  World& world_;
  size_t number_;
  SimRng rng_;
};

}  // namespace covey::sim
