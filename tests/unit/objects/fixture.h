// A Store over in-memory registers and blocks, on simulated time.
#pragma once

#include <memory>
#include <string>

#include "store/objects/store.h"
#include "tests/fake/local_registers.h"
#include "tests/fake/one_node.h"
#include "tests/sim/sim_host.h"
#include "tests/unit/test.h"

namespace covey {

class TextBody : public BodySource {
 public:
  explicit TextBody(std::string bytes, std::string etag = "e")
      : bytes_(std::move(bytes)), etag_(std::move(etag)) {}
  int64_t declared_bytes() const override { return static_cast<int64_t>(bytes_.size()); }
  Task<Result<Blob>> next(size_t max_bytes) override {
    size_t take = std::min({max_bytes, piece_, bytes_.size() - at_});
    at_ += take;
    co_return Blob::copy(std::string_view(bytes_).substr(at_ - take, take));
  }
  Task<Result<BodyDigests>> finish() override {
    BodyDigests digests;
    digests.etag = etag_;
    co_return digests;
  }

 private:
  std::string bytes_, etag_;
  size_t at_ = 0, piece_ = 300'000;  // no multiple of a block
};

struct ObjectsFixture {
  SimLoop loop;
  SimRng seed{7};
  SimHost host{loop, seed, "node"};
  GarbageClock garbage{loop, 1};
  ObjectTables tables{garbage};
  LocalRegisters registers;
  LocalBlocks blocks;
  OneNode topology;
  Scope scope;
  MemoryBudget memory{loop, loop, 256 * kMiB};
  std::unique_ptr<Store> store;

  ObjectsFixture() {
    registers.add_table(tables.heads);
    registers.add_table(tables.uploads);
    registers.add_table(tables.parts);
    registers.add_table(tables.buckets);
    registers.add_table(tables.refs);
    store = std::make_unique<Store>(host.runtime(), scope, memory, registers, blocks, topology);
    loop.run(store->create_bucket("b", "owner", "us-east-1", later(), Consistency::kStrong))
        .value();
  }
  TimePoint later() { return loop.now() + std::chrono::hours(1); }

  Result<ObjectInfo> put(std::string key, std::string bytes, Conditions conditions = {},
                         std::string etag = "e") {
    PutRequest request;
    request.bucket = "b";
    request.key = std::move(key);
    request.conditions = std::move(conditions);
    TextBody body(std::move(bytes), std::move(etag));
    return loop.run(store->put(std::move(request), body, later()));
  }
  Result<std::string> get(std::string key, std::optional<RangeSpec> range = std::nullopt) {
    GetRequest request;
    request.bucket = "b";
    request.key = std::move(key);
    request.range = range;
    auto result = loop.run(store->get(std::move(request), later()));
    if (!result) return tl::unexpected<Error>(result.error());
    std::string bytes;
    while (true) {
      auto piece = loop.run(result->body->next());
      if (!piece) return tl::unexpected<Error>(piece.error());
      if (piece->empty()) break;
      bytes.append(piece->view());
    }
    EXPECT(bytes.size() == result->length);
    return bytes;
  }
  Status remove(std::string key) {
    DeleteRequest request;
    request.bucket = "b";
    request.key = std::move(key);
    return loop.run(store->remove(std::move(request), later()));
  }
};

// Bytes that differ at every offset, so that a wrong block or offset shows.
inline std::string sample(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 2654435761u) >> 13);
  return bytes;
}

}  // namespace covey
