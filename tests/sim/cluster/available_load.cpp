#include "tests/sim/cluster/available_load.h"

#include <algorithm>

namespace covey::sim {
namespace {

using namespace std::chrono_literals;

constexpr const char* kBucket = "available";
constexpr Duration kDeadline = 10s;
constexpr size_t kOperations = 14;
constexpr int kFirstWrite = 1'000'000;  // the numbers of the other clients' writes are below

bool fair(const Error& error) {
  switch (error.code) {
    case ErrorCode::kUnavailable:
    case ErrorCode::kTimeout:
    case ErrorCode::kOverloaded:
    case ErrorCode::kNoSpace:
    case ErrorCode::kUnknownOutcome:
    case ErrorCode::kConflict:
    case ErrorCode::kCancelled:
    case ErrorCode::kIo: return true;
    default: return false;
  }
}

}  // namespace

AvailableLoad::AvailableLoad(World& world, SimRng rng) : world_(world), rng_(rng) {}

Task<Status> AvailableLoad::make_bucket() {
  At at = world_.pick(rng_);
  if (!at) co_return fail(ErrorCode::kUnavailable);
  auto made = co_await at->objects().create_bucket(
      kBucket, "owner", "us-east-1", at->clock().after(kDeadline), Consistency::kAvailable);
  if (!made) co_return tl::unexpected<Error>(made.error());
  co_return Status();
}

Task<void> AvailableLoad::run() {
  for (size_t i = 0; i < kOperations; ++i) {
    auto think = static_cast<uint64_t>(world_.knobs.think_max.count()) + 1;
    co_await world_.loop.sleep(Duration(static_cast<int64_t>(rng_.below(think))));
    At at = world_.pick(rng_);
    if (!at) continue;
    std::string shared = "k" + std::to_string(rng_.below(3));
    uint64_t dice = rng_.below(100);
    if (dice < 35) {
      co_await put(at, "own/" + std::to_string(writes_.size()));
    } else if (dice < 65) {
      co_await put(at, shared);
    } else if (dice < 75) {
      co_await remove(at, shared);
    } else {
      co_await read(at, shared);
    }
  }
}

Task<void> AvailableLoad::put(At at, std::string key) {
  const size_t number = writes_.size();
  Write write;
  write.key = key;
  write.chunk.write = kFirstWrite + static_cast<int>(number);
  write.chunk.bytes = rng_.below(2 * kInlineBytesMax);
  write.called_ns = world_.loop.now().ns;
  writes_.push_back(write);
  PutRequest request;
  request.bucket = kBucket;
  request.key = key;
  request.attributes.user_metadata["w"] = std::to_string(number);
  ChunkSource body(write.chunk);
  auto done = co_await at->objects().put(std::move(request), body, at->clock().after(kDeadline));
  Write& known = writes_[number];
  known.returned_ns = world_.loop.now().ns;
  known.acknowledged = done && !at->dead();
  if (done) known.version = done->version;
  if (known.acknowledged) ++acknowledged_;
  world_.trace.line("available: put {} as {} at n{}: {}", key, number, at->number(),
                    done ? "ok" : to_string(done.error()));
  if (!done && !at->dead() && !fair(done.error()))
    world_.complain("available: a put failed: " + to_string(done.error()));
}

Task<void> AvailableLoad::remove(At at, std::string key) {
  const size_t number = writes_.size();
  Write write;
  write.key = key;
  write.deletion = true;
  write.called_ns = world_.loop.now().ns;
  writes_.push_back(write);
  DeleteRequest request;
  request.bucket = kBucket;
  request.key = key;
  Status done = co_await at->objects().remove(std::move(request), at->clock().after(kDeadline));
  writes_[number].returned_ns = world_.loop.now().ns;
  writes_[number].acknowledged = done && !at->dead();
  world_.trace.line("available: delete {} at n{}: {}", key, at->number(),
                    done ? "ok" : to_string(done.error()));
  if (!done && !at->dead() && !fair(done.error()))
    world_.complain("available: a delete failed: " + to_string(done.error()));
}

Task<void> AvailableLoad::read(At at, std::string key) {
  GetRequest request;
  request.bucket = kBucket;
  request.key = key;
  auto got = co_await at->objects().head(std::move(request), at->clock().after(kDeadline));
  if (at->dead()) co_return;
  if (!got && !got.is(ErrorCode::kNoSuchKey) && !fair(got.error()))
    world_.complain("available: a read failed: " + to_string(got.error()));
  if (!got) co_return;
  int number = write_of(got->info);
  if (number < 0 || writes_[static_cast<size_t>(number)].key != key)
    world_.complain("available: a read shows what nobody wrote to " + key);
}

int AvailableLoad::write_of(const ObjectInfo& info) const {
  auto it = info.user_metadata.find("w");
  int number = it == info.user_metadata.end() ? -1 : std::atoi(it->second.c_str());
  return number < static_cast<int>(writes_.size()) ? number : -1;
}

// Some write of the key, whatever became of it, had not ended when this one began: it may have seen
// it. (An unknown one may take effect any time later.)
bool AvailableLoad::may_be_replaced(const Write& write) const {
  return std::any_of(writes_.begin(), writes_.end(), [&write](const Write& other) {
    return &other != &write && other.key == write.key &&
           (other.returned_ns > write.called_ns || !other.acknowledged);
  });
}

// A single copy, taken while nobody else answered, is as good as the disk it is on.
bool AvailableLoad::bodies_may_rot() const {
  const auto& faults = world_.knobs.faults;
  return std::count(faults.begin(), faults.end(), Fault::kBitFlip) > 0 ||
         std::count(faults.begin(), faults.end(), Fault::kMisdirect) > 0;
}

// What the node shows; empty: it could be had.
Task<std::string> AvailableLoad::look(At at, Shown& shown) {
  ListVersionsRequest request;
  request.bucket = kBucket;
  request.limit = 5;
  for (bool more = true; more;) {
    ListVersionsRequest page = request;
    auto found =
        co_await at->objects().list_versions(std::move(page), at->clock().after(kDeadline));
    if (!found) co_return "the versions cannot be listed: " + to_string(found.error());
    for (const ListedVersion& one : found->versions)
      if (!one.deletion) shown[one.object.key].push_back(one.version);
    more = found->truncated;
    request.key_marker = found->next_key;
    request.version_marker = found->next_version;
  }
  co_return std::string();
}

// Empty: the version is there with the bytes that were written.
Task<std::string> AvailableLoad::body_of(At at, std::string key, VersionId version) {
  GetRequest request;
  request.bucket = kBucket;
  request.key = key;
  request.version = version.hex();
  auto got = co_await at->objects().get(std::move(request), at->clock().after(kDeadline));
  if (!got) co_return key + " cannot be read: " + to_string(got.error());
  int number = write_of(got->info);
  if (number < 0) co_return key + " shows what nobody wrote";
  std::vector<Chunk> chunks;
  chunks.push_back(writes_[static_cast<size_t>(number)].chunk);
  ChunkCheck check(std::move(chunks));
  for (;;) {
    auto piece = co_await got->body->next();
    if (!piece && bodies_may_rot()) co_return std::string();
    if (!piece) co_return "the body of " + key + " cannot be read: " + to_string(piece.error());
    if (piece->empty()) break;
    if (!check.take(piece->view())) co_return "wrong bytes in " + key;
  }
  co_return check.complete() ? std::string() : "a body ended early: " + key;
}

Task<void> AvailableLoad::check(std::string& wrong) {
  std::optional<Shown> first;
  for (SimNode* node : world_.in_service()) {
    At at = node->now();
    Shown shown;
    wrong = "a node is down";
    if (!at) co_return;
    wrong = co_await look(at, shown);
    if (!wrong.empty()) co_return;
    if (first && shown != *first) {
      wrong = "the nodes show different versions";
      co_return;
    }
    first = std::move(shown);
    for (const auto& [key, versions] : *first) {
      for (const VersionId& version : versions) {
        wrong = co_await body_of(at, key, version);
        if (!wrong.empty()) co_return;
      }
    }
  }
  for (const Write& write : writes_) {
    if (!write.acknowledged || write.deletion) continue;
    const std::vector<VersionId>& there = (*first)[write.key];
    bool shown = std::find(there.begin(), there.end(), write.version) != there.end();
    if (!shown && !may_be_replaced(write)) {
      wrong = "an acknowledged write was dropped: " + write.key;
      co_return;
    }
  }
}

}  // namespace covey::sim
