// What store/sync asks of other nodes: which blocks of a partition they have, and copies of them.
#include <algorithm>

#include "base/core/crc32c.h"
#include "store/block/block_service.h"

namespace covey {
namespace {

// A question that is answered by one byte for each block, '1': yes.
Task<Result<std::vector<bool>>> ask_of_each(Peers& peers, NodeId node, BlockMessageKind kind,
                                            PartitionId home, std::vector<BlockId> ids,
                                            TimePoint deadline) {
  BlockMessage message;
  message.kind = kind;
  message.home = home;
  size_t asked = ids.size();
  message.ids = std::move(ids);
  PeerMessage request;
  request.head = encode_block_message(message);
  CO_TRY(PeerMessage reply,
         co_await peers.call(node, PeerService::kBlock, std::move(request), deadline));
  if (reply.head.size() != asked) co_return fail(ErrorCode::kInvalid, "an answer of wrong length");
  std::vector<bool> yes;
  for (char c : reply.head) yes.push_back(c == '1');
  co_return yes;
}

}  // namespace

Result<std::string> BlockService::serve_list(const BlockMessage& message) {
  // Who has adopted an epoch keeps what comes later as a debt to its replicas; so a list and the
  // debts together are complete.
  if (message.epoch > topology_.layout()->epoch)
    return fail(ErrorCode::kStale, "this node has not adopted that layout yet");
  size_t limit = std::min<size_t>(message.limit, kBlockIdsMax);
  TRY(std::vector<SegmentStore::Listed> found, segments_.list(message.home, message.after, limit));
  BlockList list;
  list.more = found.size() == limit;
  for (const SegmentStore::Listed& one : found) list.items.push_back({one.id, one.bytes});
  return encode_block_list(list);
}

Task<Result<BlockList>> BlockService::list_at(NodeId node, PartitionId home,
                                              std::optional<BlockId> after, size_t limit,
                                              TimePoint deadline) {
  BlockMessage message;
  message.kind = BlockMessageKind::kList;
  message.home = home;
  message.after = after;
  message.limit = static_cast<uint32_t>(limit);
  message.epoch = topology_.layout()->epoch;
  PeerMessage request;
  request.head = encode_block_message(message);
  CO_TRY(PeerMessage reply,
         co_await peers_.call(node, PeerService::kBlock, std::move(request), deadline));
  co_return decode_block_list(reply.head);
}

Task<Result<std::vector<bool>>> BlockService::held_at(NodeId node, PartitionId home,
                                                      std::vector<BlockId> ids,
                                                      TimePoint deadline) {
  return ask_of_each(peers_, node, BlockMessageKind::kHas, home, std::move(ids), deadline);
}

Task<Result<bool>> BlockService::refused_at(NodeId node, BlockKey key, TimePoint deadline) {
  std::vector<BlockId> one;
  one.push_back(key.id);
  CO_TRY(std::vector<bool> refused, co_await ask_of_each(peers_, node, BlockMessageKind::kRefused,
                                                         key.home, std::move(one), deadline));
  co_return refused[0];
}

Task<Result<BlockService::Fetched>> BlockService::fetch(NodeId from, BlockKey key,
                                                        TimePoint deadline) {
  BlockMessage ask;
  ask.kind = BlockMessageKind::kFetch;
  ask.home = key.home;
  ask.id = key.id;
  PeerMessage request;
  request.head = encode_block_message(ask);
  request.body_back = true;
  CO_TRY(PeerMessage reply,
         co_await peers_.call(from, PeerService::kBlock, std::move(request), deadline));
  CO_TRY(BlockMessage message, decode_block_message(reply.head));
  if (message.id != key.id || message.home != key.home || crc32c(reply.body.view()) != message.crc)
    co_return fail(ErrorCode::kCorrupt, "a block changed on its way");
  Fetched fetched{key, std::move(message.owner), std::move(reply.body)};
  co_return fetched;
}

Task<Status> BlockService::keep(Fetched fetched) {
  WriteBatch no_debt;  // who gave it has it, and the others look for themselves
  co_return co_await segments_.put(fetched.key, std::move(fetched.owner),
                                   std::move(fetched.payload), std::move(no_debt));
}

}  // namespace covey
