// Client: copies and multipart uploads.
#include <algorithm>

#include "tests/sim/cluster/client.h"

namespace covey::sim {
namespace {

using Kind = KeyOp::Kind;

}  // namespace

Task<void> Client::copy(At at, std::string from, std::string to) {
  WriteRecord record;
  record.key = to;
  record.copy = true;
  KeyOp write = begin(at, Kind::kPut), source = begin(at, Kind::kReadEtag);
  write.note += " copy of " + from;
  source.note += " copied to " + to;
  write.write = world_.history.new_write(std::move(record));
  CopyRequest request;
  request.source_bucket = request.bucket = kSimBucket;
  request.source_key = from;
  request.key = to;
  ObjectAttributes attributes;
  attributes.user_metadata["w"] = std::to_string(write.write);
  request.replace = std::move(attributes);
  auto done = co_await at->objects().copy(std::move(request), deadline(at));
  Status status;
  if (!done) {
    status = tl::unexpected<Error>(done.error());
    if (done.is(ErrorCode::kNoSuchKey)) {
      this->record(at, from, std::move(source), status);
    } else {
      this->record(at, to, std::move(write), status);
    }
    co_return;
  }
  if (!at->dead()) {
    world_.saw_object(to, *done, write.write);
    source.etag = done->etag;
    this->record(at, from, std::move(source), status);
  }
  this->record(at, to, std::move(write), status);
}

Task<Result<UploadId>> Client::start_upload(At at, std::string key, int write) {
  CreateUploadRequest request;
  request.bucket = kSimBucket;
  request.key = key;
  request.attributes.user_metadata["w"] = std::to_string(write);
  CO_TRY(UploadInfo upload, co_await at->objects().create_upload(std::move(request), deadline(at)));
  co_return upload.id;
}

// Create, parts (some twice), Complete; each through a node of its own.
Task<void> Client::multipart(At at, std::string key) {
  bool several = rng_.chance(world_.knobs.huge);
  WriteRecord record;
  int id = static_cast<int>(world_.history.next_write());
  uint32_t parts = several ? 2 : 1;
  for (uint32_t n = 1; n <= parts; ++n) {
    Chunk chunk;
    chunk.write = id, chunk.part = n;
    chunk.bytes = n < parts ? kPartBytesMin + rng_.below(1000) : 1 + rng_.below(20'000);
    record.chunks.push_back(chunk);
  }
  record.key = key;
  record.etag = upload_etag(record.chunks);
  std::vector<Chunk> chunks = record.chunks;
  CHECK(world_.history.new_write(std::move(record)) == id);
  auto upload = co_await start_upload(at, key, id);
  if (!upload) co_return;
  CompleteRequest request;
  request.bucket = kSimBucket;
  request.key = key;
  request.upload = *upload;
  for (const Chunk& chunk : chunks) {
    UploadPartRequest part;
    part.bucket = kSimBucket, part.key = key, part.upload = *upload, part.number = chunk.part;
    At next = world_.pick(rng_);
    if (!next) co_return;
    ChunkSource body(chunk);
    auto stored = co_await next->objects().upload_part(std::move(part), body, deadline(next));
    if (!stored || next->dead()) co_return;  // an upload that nobody ends
    CompletePart named;
    named.number = chunk.part, named.etag = chunk_etag(chunk);
    request.parts.push_back(named);
  }
  at = world_.pick(rng_);
  if (!at) co_return;
  KeyOp op = begin(at, rng_.chance(0.3) ? Kind::kCreate : Kind::kPut);
  op.note += " multipart";
  op.write = id;
  if (op.kind == Kind::kCreate) request.conditions.if_none_match.push_back("*");
  (void)co_await complete(at, std::move(request), std::move(op));
}

// A Complete that failed may still be finished by whoever finds it; the same one again gets the
// same answer, which is tried here half of the time.
Task<bool> Client::complete(At at, CompleteRequest request, KeyOp op) {
  std::string key = request.key;
  CompleteRequest again = request;
  auto done = co_await at->objects().complete_upload(std::move(request), deadline(at));
  bool refused = done.is(ErrorCode::kPreconditionFailed), twice = false;
  if (!done && !refused && !at->dead() && rng_.chance(0.5)) {
    At other = world_.pick(rng_);
    if (other) {
      op.note += " (" + to_string(done.error()) + ", again)";
      at = other;
      twice = true;
      done = co_await at->objects().complete_upload(std::move(again), deadline(at));
    }
  }
  Status status;
  if (!done) {
    bool clear = done.is(ErrorCode::kPreconditionFailed) || done.is(ErrorCode::kInvalidPart) ||
                 done.is(ErrorCode::kInvalidPartOrder) || done.is(ErrorCode::kNoSuchUpload);
    // The second may find that the first one's outcome is past knowing.
    if (twice && done.is(ErrorCode::kNoSuchUpload)) clear = false;
    std::string why = to_string(done.error());
    status = clear ? Status(tl::unexpected<Error>(done.error()))
                   : Status(fail(ErrorCode::kUnknownOutcome, why));
  }
  if (done && !at->dead()) world_.saw_object(key, *done, op.write);
  co_return record(at, key, std::move(op), status);
}

}  // namespace covey::sim
