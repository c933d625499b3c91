// PUT: the body first, in blocks on the replicas of its key's partition; then the head, in one
// register write. Nothing is locked while a body arrives, and what a failed PUT leaves behind is an
// orphan that store/sync/orphans.h finds.
#include <algorithm>
#include <chrono>

#include "base/core/limits.h"
#include "store/objects/store.h"

namespace covey {
namespace {

constexpr size_t kBlocksInFlight = 4;  // per body
// Over a slow link many blocks may wait for each other; whether any gets through is watched by
// BlockService. Clients give up after 60 s without progress.
constexpr Duration kBlockWriteTimeout = std::chrono::seconds(50);
// How long a client is paced before it is told to slow down.
constexpr Duration kMemoryWait = std::chrono::seconds(20);
constexpr size_t kReadingBytes = 256 * kKiB;  // buffers of the socket beside the block they fill

// Blocks of one body on their way to the replicas.
struct Flow {
  explicit Flow(bool available) : available(available) {}
  Scope scope;
  Semaphore slots{kBlocksInFlight};
  bool available;  // any copy will do while a majority does not answer
  Status failed;
};

Task<void> put_block(Blocks& blocks, Flow& flow, PartitionId home, BlockId id, BlockOwner owner,
                     Blob bytes, TimePoint deadline) {
  Status put;
  if (flow.available) {
    put = co_await blocks.put_available(home, id, std::move(owner), std::move(bytes), deadline);
  } else {
    put = co_await blocks.put(home, id, std::move(owner), std::move(bytes), deadline);
  }
  if (!put && flow.failed) flow.failed = std::move(put);
  flow.slots.release();
}

// A whole block from however small pieces; shorter at the end of the body.
Task<Result<Blob>> read_block(BodySource& body, size_t block_bytes) {
  CO_TRY(Blob first, co_await body.next(block_bytes));
  if (first.empty() || first.size() == block_bytes) co_return first;
  CO_TRY(Blob second, co_await body.next(block_bytes - first.size()));
  if (second.empty()) co_return first;
  std::string joined;
  joined.reserve(block_bytes);
  joined.append(first.view()).append(second.view());
  while (joined.size() < block_bytes) {
    CO_TRY(Blob piece, co_await body.next(block_bytes - joined.size()));
    if (piece.empty()) break;
    joined.append(piece.view());
  }
  co_return Blob::own(std::move(joined));
}

// The block at `offset`, after there is memory for it: until then nothing is read from the client.
// Whoever waits here holds memory of whole blocks only, and those move on without him.
Task<Result<Blob>> next_block(Runtime& runtime, MemoryBudget& memory, BodySource& body,
                              uint64_t offset) {
  size_t most = kBlockBytes;
  int64_t declared = body.declared_bytes();
  if (declared >= 0) {
    uint64_t size = static_cast<uint64_t>(declared);
    most = static_cast<size_t>(std::min<uint64_t>(most, size - std::min(size, offset)));
  }
  if (most > MemoryBudget::kSmallBodyBytes) most += kReadingBytes;
  TimePoint until = runtime.clock.after(kMemoryWait);
  CO_TRY(MemoryLease lease, co_await memory.body_share(declared).acquire(most, until));
  body.lend(std::move(lease));
  Result<Blob> block = co_await read_block(body, kBlockBytes);
  MemoryLease left = body.take_lease();
  if (!block) co_return block;
  left.shrink(block->size());
  co_return leased(std::move(*block), std::move(left));
}

// Reads the body to its end and hands its blocks to `flow`.
Task<Result<uint64_t>> pump(Runtime& runtime, MemoryBudget& memory, Blocks& blocks, Flow& flow,
                            PartitionId home, VersionId version, BlockOwner owner, BodySource& body,
                            Blob first) {
  uint64_t size = 0;
  Blob block = std::move(first);
  for (uint32_t index = 0; !block.empty(); ++index) {
    size += block.size();
    if (size > kPutBytesMax)
      co_return fail(ErrorCode::kEntityTooLarge, "the body is larger than 5 GiB");
    size_t taken = block.size();
    co_await flow.slots.acquire();
    if (!flow.failed) {
      flow.slots.release();
      break;
    }
    BlockId id{version, index};
    flow.scope.spawn(put_block(blocks, flow, home, id, owner, std::move(block),
                               runtime.clock.after(kBlockWriteTimeout)));
    block = Blob();
    if (taken < kBlockBytes) break;  // next_block gave less: the body ended
    CO_TRY(block, co_await next_block(runtime, memory, body, size));
  }
  co_return size;
}

}  // namespace

Task<Result<StoredBody>> Store::store_body(const BucketAt& at, std::string key, VersionId version,
                                           uint32_t part, BodySource& body, TimePoint deadline) {
  StoredBody stored;
  if (body.declared_bytes() > static_cast<int64_t>(kPutBytesMax)) {
    co_return fail(ErrorCode::kEntityTooLarge, "the body is larger than 5 GiB");
  }
  CO_TRY(Blob first, co_await next_block(runtime_, memory_, body, 0));
  if (first.size() <= kInlineBytesMax) {
    CO_TRY(Blob end, co_await body.next(1));
    CHECK(end.empty());
    CO_TRY(stored.digests, co_await body.finish());
    stored.size = first.size();
    stored.inline_body = std::string(first.view());
    co_return stored;
  }
  PartitionId home = at.space.partition(key);
  BlockOwner owner{at.bucket.id, std::move(key), part};
  Flow flow(at.space.available);
  auto pumped = co_await pump(runtime_, memory_, blocks_, flow, home, version, std::move(owner),
                              body, std::move(first));
  // The digests are finished while the last blocks travel.
  Result<BodyDigests> digests = fail(ErrorCode::kCancelled);
  if (pumped && flow.failed) digests = co_await body.finish();
  co_await flow.scope.join();
  CO_TRY(stored.size, std::move(pumped));
  CO_TRY_STATUS(std::move(flow.failed));
  CO_TRY(stored.digests, std::move(digests));
  rows::Extent extent;
  extent.set_version(std::string(version.view()));
  extent.set_home(home);
  extent.set_block_bytes(kBlockBytes);
  extent.set_size(stored.size);
  stored.extents.push_back(std::move(extent));
  co_return stored;
}

Task<Result<std::string>> Store::write_head(BucketAt& at, std::string key, rows::HeadRow row,
                                            rows::ConditionsMessage conditions,
                                            std::vector<Attachment> attachments,
                                            TimePoint deadline) {
  PartitionId partition = at.space.partition(key);
  // All but a single small chunk are made durable before the head.
  std::vector<Attachment> chunks;
  const uint32_t epoch = layout_epoch();
  if (attachments.size() > 1) {
    chunks = std::move(attachments);
    attachments.clear();
    CO_TRY_STATUS(co_await put_chunks(at, partition, chunks, deadline));
  }
  bool blind = conditions.ByteSizeLong() == 0;
  rows::HeadMutation want;
  want.set_kind(rows::HeadMutation::PUT);
  *want.mutable_row() = row.SerializeAsString();
  *want.mutable_conditions() = std::move(conditions);
  Mutation mutation = new_mutation(encode_mutation(blind, want));
  mutation.attachments = std::move(attachments);
  CO_TRY(std::string reply,
         co_await mutate(at, head_key(at.space, key), std::move(mutation), deadline));
  if (layout_epoch() != epoch && !chunks.empty()) {
    CO_TRY_STATUS(co_await put_chunks(at, partition, std::move(chunks), deadline));
  }
  co_return reply;
}

namespace {

void set_attributes(rows::HeadRow& row, const ObjectAttributes& attributes) {
  row.set_owner(attributes.owner);
  if (attributes.storage_class != "STANDARD") row.set_storage_class(attributes.storage_class);
  for (const auto& [name, value] : attributes.headers) (*row.mutable_headers())[name] = value;
  for (const auto& [name, value] : attributes.user_metadata)
    (*row.mutable_user_metadata())[name] = value;
  for (const auto& [name, value] : attributes.tags) (*row.mutable_tags())[name] = value;
  row.set_acl(attributes.acl);
}

}  // namespace

Task<Result<ObjectInfo>> Store::put(PutRequest request, BodySource& body, TimePoint deadline) {
  CO_TRY(BucketAt at, co_await writable_bucket(request.bucket, deadline));
  CO_TRY_STATUS(check_available(at, request.conditions));
  VersionId version = runtime_.rng.id<VersionId>();
  CO_TRY(StoredBody stored, co_await store_body(at, request.key, version, 0, body, deadline));
  rows::HeadRow row;
  row.set_version(std::string(version.view()));
  row.set_size(stored.size);
  row.set_etag(stored.digests.etag);
  row.set_modified_ms(runtime_.clock.wall_now().ms);
  set_attributes(row, request.attributes);
  if (!stored.digests.checksum.algorithm.empty())
    *row.mutable_checksum() = to_row(stored.digests.checksum);
  std::vector<Attachment> attachments;
  if (stored.extents.empty()) {
    row.set_inline_body(true);
    attachments.push_back({version, std::string(kInlineSuffix), std::move(stored.inline_body)});
  } else {
    for (rows::Extent& extent : stored.extents) *row.add_extents() = std::move(extent);
  }
  rows::ConditionsMessage conditions;
  set_conditions(conditions, request.conditions);
  CO_TRY(std::string reply, co_await write_head(at, request.key, row, std::move(conditions),
                                                std::move(attachments), deadline));
  co_return object_info(std::move(request.key), row);
}

}  // namespace covey
