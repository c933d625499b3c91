// GET, HEAD, tags and parts of an object: one linearizable read of the head; an inline body comes
// with it.
#include <algorithm>

#include "base/core/limits.h"
#include "store/objects/store.h"

namespace covey {
namespace {

// The bytes a range asks for. RFC 9110 section 14.1.2.
Status apply_range(const RangeSpec& range, GetResult& result) {
  uint64_t size = result.info.size;
  uint64_t first = 0, last = 0;
  if (range.suffix) {
    if (*range.suffix == 0 || size == 0)
      return fail(ErrorCode::kInvalidRange, std::to_string(size));
    first = size - std::min(size, *range.suffix);
    last = size - 1;
  } else {
    first = range.first.value_or(0);
    if (first >= size) return fail(ErrorCode::kInvalidRange, std::to_string(size));
    last = range.last ? std::min(*range.last, size - 1) : size - 1;
  }
  result.first = first;
  result.length = last - first + 1;
  result.partial = true;
  return {};
}

}  // namespace

Task<Result<Store::HeadAt>> Store::find_head(std::string bucket, std::string key,
                                             std::optional<std::string> version, bool with_inline,
                                             TimePoint deadline) {
  HeadAt head;
  CO_TRY(head.at, co_await find_bucket(bucket, deadline));
  if (version && *version != "null") {
    if (!head.at.space.available) co_return fail(ErrorCode::kNoSuchVersion, "no such version");
    head.partition = head.at.space.partition(key);
    head.key = std::move(key);
    CO_TRY_STATUS(co_await find_version(head, std::move(*version), deadline));
    co_return head;
  }
  CO_TRY(ReadResult read,
         co_await this->read(head.at, head_key(head.at.space, key), with_inline, deadline));
  if (!read.row) co_return fail(ErrorCode::kNoSuchKey, "no such key");
  if (!head.row.ParseFromString(*read.row))
    co_return fail(ErrorCode::kCorrupt, "a head row does not decode");
  head.inline_body = std::move(read.attachment);
  head.partition = head.at.space.partition(key);
  head.key = std::move(key);
  co_return head;
}

// Narrows the result to one part. Objects that were not made by multipart have one part, number 1.
Task<Status> Store::apply_part_range(const HeadAt& head, uint32_t part, GetResult& result,
                                     TimePoint deadline) {
  if (head.row.chunk_offset().empty()) {
    if (part != 1) co_return fail(ErrorCode::kInvalidPart, "the object has no such part");
    result.partial = head.row.size() > 0;
    co_return Status();
  }
  // S3 numbers the parts of a finished object by position.
  if (part > head.row.parts())
    co_return fail(ErrorCode::kInvalidPart, "the object has no such part");
  uint32_t position = 0;
  for (int i = 0; i < head.row.chunk_offset_size(); ++i) {
    CO_TRY(rows::ManifestChunk chunk,
           co_await read_chunk(rows_of(head.at), head.partition, head.row, static_cast<uint32_t>(i),
                               step(deadline)));
    uint64_t at = chunk.offset();
    for (const auto& row : chunk.parts()) {
      if (++position == part) {
        result.first = at;
        result.length = row.size();
        result.partial = true;
        co_return Status();
      }
      at += row.size();
    }
  }
  co_return fail(ErrorCode::kCorrupt, "a manifest has fewer parts than its head says");
}

Task<Result<GetResult>> Store::open(GetRequest request, bool with_body, TimePoint deadline) {
  CO_TRY(HeadAt head,
         co_await find_head(request.bucket, request.key, request.version, with_body, deadline));
  CO_TRY_STATUS(check_read_conditions(request.conditions, head.row));
  GetResult result;
  result.info = object_info(request.key, head.row);
  result.length = head.row.size();
  if (request.part_number != 0) {
    CO_TRY_STATUS(co_await apply_part_range(head, request.part_number, result, deadline));
  } else if (request.range) {
    CO_TRY_STATUS(apply_range(*request.range, result));
  }
  if (!with_body) co_return result;
  if (head.row.inline_body()) {
    if (!head.inline_body) {  // the replica that answered has the head but not yet the body
      auto version = VersionId::from_bytes(head.row.version()).value_or(VersionId{});
      CO_TRY(head.inline_body,
             co_await rows_of(head.at).read_attachment(head.partition, version,
                                                       std::string(kInlineSuffix), step(deadline)));
    }
    if (head.inline_body->size() != head.row.size())
      co_return fail(ErrorCode::kCorrupt, "an inline body is too short");
    Blob body = Blob::own(std::move(*head.inline_body));
    result.body = memory_body_reader(body.slice(result.first, result.length));
  } else {
    result.body =
        open_body_reader(runtime_, scope_, memory_.reads, rows_of(head.at), blocks_, head.partition,
                         std::move(head.row), result.first, result.length);
  }
  co_return result;
}

Task<Result<GetResult>> Store::get(GetRequest request, TimePoint deadline) {
  return open(std::move(request), true, deadline);
}

Task<Result<GetResult>> Store::head(GetRequest request, TimePoint deadline) {
  return open(std::move(request), false, deadline);
}

Task<Result<ObjectInfo>> Store::set_tags(std::string bucket, std::string key,
                                         std::optional<std::string> version,
                                         std::map<std::string, std::string> tags,
                                         TimePoint deadline) {
  rows::HeadMutation want;
  want.set_kind(rows::HeadMutation::TAGS);
  for (const auto& [name, value] : tags) (*want.mutable_tags())[name] = value;
  co_return co_await change_head(std::move(bucket), std::move(key), std::move(version),
                                 std::move(want), deadline);
}

Task<Result<ObjectInfo>> Store::set_acl(std::string bucket, std::string key,
                                        std::optional<std::string> version, std::string acl,
                                        TimePoint deadline) {
  rows::HeadMutation want;
  want.set_kind(rows::HeadMutation::ACL);
  want.set_acl(acl);
  co_return co_await change_head(std::move(bucket), std::move(key), std::move(version),
                                 std::move(want), deadline);
}

// Changes what a head says beside its body, and answers with the head as it is then.
Task<Result<ObjectInfo>> Store::change_head(std::string bucket, std::string key,
                                            std::optional<std::string> version,
                                            rows::HeadMutation want, TimePoint deadline) {
  if (version && *version != "null") co_return fail(ErrorCode::kNoSuchVersion, "no such version");
  CO_TRY(BucketAt at, co_await writable_bucket(std::move(bucket), deadline));
  Mutation mutation = new_mutation(encode_mutation(false, want));
  CO_TRY(std::string reply,
         co_await mutate(at, head_key(at.space, key), std::move(mutation), deadline));
  rows::HeadRow row;
  if (!row.ParseFromString(reply))
    co_return fail(ErrorCode::kCorrupt, "a head row does not decode");
  co_return object_info(std::move(key), row);
}

Task<Result<std::vector<PartInfo>>> Store::object_parts(std::string bucket, std::string key,
                                                        std::optional<std::string> version,
                                                        uint32_t after, size_t limit,
                                                        TimePoint deadline) {
  CO_TRY(HeadAt head, co_await find_head(bucket, key, std::move(version), false, deadline));
  std::vector<PartInfo> parts;
  if (head.row.parts() == 0) co_return parts;
  CO_TRY(std::vector<rows::ManifestPart> rows,
         co_await read_parts(rows_of(head.at), head.partition, head.row, step(deadline)));
  for (const auto& row : rows) {
    if (row.number() <= after) continue;
    if (parts.size() == limit) break;
    parts.push_back(
        {row.number(), row.size(), row.etag(), from_row(row.checksum()), {row.modified_ms()}});
  }
  co_return parts;
}

Task<Status> Store::remove(DeleteRequest request, TimePoint deadline) {
  CO_TRY(BucketAt at, co_await writable_bucket(std::move(request.bucket), deadline));
  CO_TRY_STATUS(check_available(at, request.conditions));
  if (request.version && *request.version != "null") {
    auto version = VersionId::from_hex(*request.version);
    if (!at.space.available || !version)
      co_return fail(ErrorCode::kNoSuchVersion, "no such version");
    Mutation mutation = new_mutation(kRemoveVersion + std::string(version->view()));
    CO_TRY(std::string gone,
           co_await mutate(at, head_key(at.space, request.key), std::move(mutation), deadline));
    co_return Status();
  }
  rows::HeadMutation want;
  want.set_kind(rows::HeadMutation::DELETE);
  set_conditions(*want.mutable_conditions(), request.conditions);
  Mutation mutation = new_mutation(encode_mutation(request.conditions.empty(), want));
  CO_TRY(std::string reply,
         co_await mutate(at, head_key(at.space, request.key), std::move(mutation), deadline));
  co_return Status();
}

}  // namespace covey
