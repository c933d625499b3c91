// Reading a block: the local copy, else the nearest, asking the next one when an answer is slow
// ("The Tail at Scale", CACM 2013).
#include <algorithm>
#include <chrono>

#include "base/core/codec.h"
#include "base/core/crc32c.h"
#include "base/core/log.h"
#include "store/block/block_service.h"

namespace covey {
namespace {

constexpr Duration kHedgeMin = std::chrono::milliseconds(20);
constexpr uint32_t kLocalReadBytes = 256 * kKiB;  // a multiple of kChunkBytes

}  // namespace

uint32_t BlockService::read_step(PartitionId home) const {
  std::vector<NodeId> replicas = replicas_of(home).all();
  bool ours = std::find(replicas.begin(), replicas.end(), peers_.self()) != replicas.end();
  return ours ? kLocalReadBytes : static_cast<uint32_t>(kBlockBytesMax);
}

Task<Result<Blob>> BlockService::get(PartitionId home, BlockId id, uint32_t offset, uint32_t size,
                                     TimePoint deadline) {
  BlockKey key{home, id};
  auto local = co_await segments_.get(key, offset, size);
  if (local) co_return std::move(local->bytes);
  if (local.is(ErrorCode::kInvalid)) co_return tl::unexpected<Error>(std::move(local).error());
  std::vector<NodeId> replicas = replicas_of(home).all();
  bool ours = std::find(replicas.begin(), replicas.end(), peers_.self()) != replicas.end();
  BlockMessage message;
  message.kind = BlockMessageKind::kGet;
  message.home = home;
  message.id = id;
  message.offset = offset;
  message.size = size;
  bool damaged = !local.is(ErrorCode::kNotFound) || awaits_repair(key);
  Result<Blob> read = co_await read_elsewhere(home, std::move(message), ours, deadline);
  if (read.is(ErrorCode::kNotFound) && damaged)  // it was stored: that is not 'not found'
    co_return fail(ErrorCode::kUnavailable, "the only copy of a block is damaged");
  co_return read;
}

Task<void> BlockService::read_at(NodeId node, BlockMessage message, TimePoint deadline,
                                 std::shared_ptr<Mailbox<Read>> reads) {
  PeerMessage request;
  request.head = encode_block_message(message);
  request.body_back = true;
  auto reply = co_await peers_.call(node, PeerService::kBlock, std::move(request), deadline);
  Result<Blob> bytes = Blob();
  if (!reply) {
    bytes = tl::unexpected<Error>(std::move(reply).error());
  } else {
    Reader r(reply->head);
    uint32_t crc = r.u32();
    if (!r.done() || reply->body.size() != message.size || crc32c(reply->body.view()) != crc) {
      bytes = fail(ErrorCode::kCorrupt, "a block changed on its way");
    } else {
      bytes = std::move(reply->body);
    }
  }
  Read read{std::move(bytes)};
  reads->put(std::move(read));
}

Task<Result<Blob>> BlockService::read_elsewhere(PartitionId home, BlockMessage message, bool ours,
                                                TimePoint deadline) {
  std::vector<NodeId> nodes;
  for (const NodeId& node : replicas_of(home).all()) {
    if (node != peers_.self()) nodes.push_back(node);
  }
  std::stable_sort(nodes.begin(), nodes.end(), [&](const NodeId& a, const NodeId& b) {
    auto rank = [&](const NodeId& n) {
      return std::tuple(!topology_.alive(n), !topology_.same_zone(n), topology_.round_trip(n));
    };
    return rank(a) < rank(b);
  });
  auto reads = std::make_shared<Mailbox<Read>>();
  size_t asked = 0, answered = 0, missing = 0;
  while (answered < nodes.size()) {
    TimePoint wait_until = deadline;
    if (asked < nodes.size()) {
      Duration hedge = std::max<Duration>(kHedgeMin, 4 * topology_.round_trip(nodes[asked]));
      scope_.spawn(read_at(nodes[asked++], message, deadline, reads));
      wait_until = std::min(deadline, runtime_.clock.after(hedge));
    }
    std::optional<Read> read = co_await reads->next_until(runtime_.clock, wait_until);
    if (!read) {
      if (runtime_.clock.now() >= deadline) break;
      continue;
    }
    ++answered;
    if (read->bytes) {
      if (ours) wanted({home, message.id});
      co_return std::move(read->bytes);
    }
    if (read->bytes.is(ErrorCode::kNotFound)) ++missing;
  }
  if (missing == nodes.size()) co_return fail(ErrorCode::kNotFound, "no replica has this block");
  co_return fail(ErrorCode::kUnavailable, "no replica with this block answered");
}

}  // namespace covey
