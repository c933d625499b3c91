// Reading a block: the local copy, else the nearest, asking the next one when an answer is late
// (read_times.h).
#include <algorithm>
#include <chrono>

#include "base/core/codec.h"
#include "base/core/crc32c.h"
#include "base/core/log.h"
#include "store/block/block_service.h"

namespace covey {
namespace {

constexpr Duration kHedgeMin = std::chrono::milliseconds(20);
constexpr Duration kHedgeMax = std::chrono::seconds(8);
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
  const TimePoint began = runtime_.clock.now();
  auto reply = co_await peers_.call(node, PeerService::kBlock, std::move(request), deadline);
  if (reply) read_times_.answered(node, message.size, runtime_.clock.now() - began);
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
  Read read{node, std::move(bytes)};
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
  std::vector<NodeId> waiting;  // asked, not yet answered
  size_t asked = 0, missing = 0;
  TimePoint late = runtime_.clock.now(), doubt = runtime_.clock.after(kDoubtAfter);
  while (asked < nodes.size() || !waiting.empty()) {
    if (asked < nodes.size() && (waiting.empty() || runtime_.clock.now() >= late)) {
      const NodeId& node = nodes[asked++];
      Duration usual = read_times_.late_after(node, message.size);
      for (size_t i = asked; i < nodes.size(); ++i) {  // one with a slow disk is not waited for
        Duration other = read_times_.late_after(nodes[i], message.size);
        if (other > Duration::zero()) usual = std::min(usual, other);
      }
      usual = std::min(usual, kHedgeMax);
      late = runtime_.clock.after(std::max({kHedgeMin, 4 * topology_.round_trip(node), usual}));
      waiting.push_back(node);
      scope_.spawn(read_at(node, message, deadline, reads));
    }
    TimePoint until = std::min(deadline, asked < nodes.size() ? std::min(late, doubt) : doubt);
    std::optional<Read> read = co_await reads->next_until(runtime_.clock, until);
    if (!read) {
      if (runtime_.clock.now() >= deadline) break;
      if (runtime_.clock.now() < doubt) continue;
      doubt = runtime_.clock.after(kDoubtAfter);  // from when they are asked
      std::vector<NodeId> there = co_await who_answers(waiting, message);
      if (!there.empty() || reads->size() > 0) continue;
      if (asked == nodes.size()) break;
      late = runtime_.clock.now();
      continue;
    }
    std::erase(waiting, read->from);
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
