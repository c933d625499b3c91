// Multipart uploads: an upload is a register in its key's partition, each part is one too. Complete
// is in complete.cpp.
#include <algorithm>

#include "base/core/limits.h"
#include "store/objects/store.h"

namespace covey {
namespace {

constexpr size_t kUploadsScanMax = 20000;  // uploads looked at for one page

UploadInfo upload_info(const rows::UploadRow& row) {
  UploadInfo info;
  info.key = row.key();
  info.id = UploadId::from_bytes(row.id()).value_or(UploadId{});
  info.initiator = row.initiator();
  info.started = {row.started_ms()};
  info.checksum_algorithm = row.checksum_algorithm();
  info.checksum_full_object = row.checksum_full_object();
  const rows::AttributesMessage& from = row.attributes();
  info.owner = from.owner();
  info.attributes.owner = from.owner();
  if (!from.storage_class().empty()) info.attributes.storage_class = from.storage_class();
  info.storage_class = info.attributes.storage_class;
  for (const auto& [name, value] : from.headers()) info.attributes.headers.emplace(name, value);
  for (const auto& [name, value] : from.user_metadata())
    info.attributes.user_metadata.emplace(name, value);
  for (const auto& [name, value] : from.tags()) info.attributes.tags.emplace(name, value);
  info.attributes.acl = from.acl();
  return info;
}

bool in_progress(const rows::UploadRow& row) {
  return row.state() == rows::UploadRow::OPEN || row.state() == rows::UploadRow::COMPLETING;
}

}  // namespace

PartInfo part_info(const rows::ManifestPart& part) {
  return {part.number(), part.size(), part.etag(), from_row(part.checksum()), {part.modified_ms()}};
}

rows::PartRow part_row(uint32_t number, VersionId version, StoredBody stored) {
  rows::PartRow row;
  row.set_version(std::string(version.view()));
  rows::ManifestPart& part = *row.mutable_part();
  part.set_number(number);
  part.set_size(stored.size);
  part.set_etag(stored.digests.etag);
  if (!stored.digests.checksum.algorithm.empty())
    *part.mutable_checksum() = to_row(stored.digests.checksum);
  for (rows::Extent& extent : stored.extents) *part.add_extents() = std::move(extent);
  if (stored.extents.empty() && stored.size > 0) {
    rows::Extent& extent = *part.add_extents();
    extent.set_inline_body(std::move(stored.inline_body));
    extent.set_size(stored.size);
  }
  return row;
}

Task<Result<UploadInfo>> Store::create_upload(CreateUploadRequest request, TimePoint deadline) {
  CO_TRY(BucketAt at, co_await writable_bucket(request.bucket, deadline));
  UploadId id = runtime_.rng.id<UploadId>();
  rows::UploadMutation want;
  want.set_create(true);
  rows::UploadRow& row = *want.mutable_row();
  row.set_id(std::string(id.view()));
  row.set_key(request.key);
  row.set_initiator(request.initiator);
  row.set_started_ms(runtime_.clock.wall_now().ms);
  row.set_checksum_algorithm(request.checksum_algorithm);
  row.set_checksum_full_object(request.checksum_full_object);
  rows::AttributesMessage& to = *row.mutable_attributes();
  to.set_owner(request.attributes.owner);
  if (request.attributes.storage_class != "STANDARD")
    to.set_storage_class(request.attributes.storage_class);
  for (const auto& [name, value] : request.attributes.headers)
    (*to.mutable_headers())[name] = value;
  for (const auto& [name, value] : request.attributes.user_metadata)
    (*to.mutable_user_metadata())[name] = value;
  for (const auto& [name, value] : request.attributes.tags) (*to.mutable_tags())[name] = value;
  to.set_acl(request.attributes.acl);
  Mutation mutation = new_mutation(encode_mutation(true, want));
  CO_TRY(std::string reply,
         co_await mutate(at, upload_key(at.space, request.key, id), std::move(mutation), deadline));
  co_return upload_info(row);
}

Task<Result<Store::UploadAt>> Store::find_upload(std::string bucket, std::string key, UploadId id,
                                                 bool must_be_open, TimePoint deadline) {
  UploadAt upload;
  CO_TRY(upload.at, co_await writable_bucket(bucket, deadline));
  CO_TRY(ReadResult read,
         co_await this->read(upload.at, upload_key(upload.at.space, key, id), false, deadline));
  if (!read.row) co_return fail(ErrorCode::kNoSuchUpload, "no such upload");
  if (!upload.row.ParseFromString(*read.row))
    co_return fail(ErrorCode::kCorrupt, "an upload row does not decode");
  if (must_be_open && !in_progress(upload.row))
    co_return fail(ErrorCode::kNoSuchUpload, "the upload has ended");
  co_return upload;
}

Task<Result<UploadInfo>> Store::upload(std::string bucket, std::string key, UploadId id,
                                       TimePoint deadline) {
  CO_TRY(UploadAt upload,
         co_await find_upload(std::move(bucket), std::move(key), id, true, deadline));
  co_return upload_info(upload.row);
}

Task<Status> Store::write_part(UploadAt& upload, rows::PartRow row, TimePoint deadline) {
  UploadId id = UploadId::from_bytes(upload.row.id()).value_or(UploadId{});
  RegisterKey key = part_key(upload.at.space, upload.row.key(), id, row.part().number());
  row.set_upload(upload_key(upload.at.space, upload.row.key(), id).key);
  Mutation mutation = new_mutation(encode_mutation(true, row));
  CO_TRY(std::string reply,
         co_await mutate(upload.at, std::move(key), std::move(mutation), deadline));
  co_return Status();
}

Task<Result<PartInfo>> Store::upload_part(UploadPartRequest request, BodySource& body,
                                          TimePoint deadline) {
  CO_TRY(UploadAt upload,
         co_await find_upload(request.bucket, request.key, request.upload, true, deadline));
  VersionId version = runtime_.rng.id<VersionId>();
  CO_TRY(StoredBody stored,
         co_await store_body(upload.at, request.key, version, request.number, body, deadline));
  rows::PartRow row = part_row(request.number, version, std::move(stored));
  row.mutable_part()->set_modified_ms(runtime_.clock.wall_now().ms);
  CO_TRY_STATUS(co_await write_part(upload, row, deadline));
  co_return part_info(row.part());
}

Task<Result<std::vector<rows::PartRow>>> Store::part_rows(BucketAt& at, std::string key,
                                                          UploadId id, uint32_t after, size_t limit,
                                                          TimePoint deadline) {
  std::vector<rows::PartRow> rows;
  RegisterKey first = part_key(at.space, key, id, after + 1);
  RangeQuery query;
  query.table = at.space.parts();
  query.partition = first.partition;
  query.begin = first.key;
  query.end = prefix_end(std::string(id.view()));
  bool more = true;
  while (more && rows.size() < limit) {
    query.limit = std::min<size_t>(limit - rows.size(), 1000);
    CO_TRY(RangePage page, co_await range(at, query, deadline));
    for (const RangeItem& item : page.items) {
      rows::PartRow row;
      if (!row.ParseFromString(item.row))
        co_return fail(ErrorCode::kCorrupt, "a part row does not decode");
      rows.push_back(std::move(row));
    }
    more = page.truncated;
    query.begin = std::move(page.next);
  }
  co_return rows;
}

Task<Result<std::vector<PartInfo>>> Store::parts(std::string bucket, std::string key, UploadId id,
                                                 uint32_t after, size_t limit, TimePoint deadline) {
  CO_TRY(UploadAt upload, co_await find_upload(std::move(bucket), key, id, true, deadline));
  CO_TRY(std::vector<rows::PartRow> rows,
         co_await part_rows(upload.at, key, id, after, limit, deadline));
  std::vector<PartInfo> parts;
  for (const rows::PartRow& row : rows) parts.push_back(part_info(row.part()));
  co_return parts;
}

Task<Status> Store::set_upload(BucketAt& at, rows::UploadRow row,
                               std::vector<rows::UploadRow::State> expect, std::string claim,
                               TimePoint deadline) {
  rows::UploadMutation want;
  want.set_expect_claim(std::move(claim));
  for (auto state : expect) want.add_expect(state);
  RegisterKey key =
      upload_key(at.space, row.key(), UploadId::from_bytes(row.id()).value_or(UploadId{}));
  *want.mutable_row() = std::move(row);
  Mutation mutation = new_mutation(encode_mutation(false, want));
  CO_TRY(std::string reply, co_await mutate(at, std::move(key), std::move(mutation), deadline));
  co_return Status();
}

Task<Status> Store::abort_upload(std::string bucket, std::string key, UploadId id,
                                 TimePoint deadline) {
  CO_TRY(UploadAt upload,
         co_await find_upload(std::move(bucket), std::move(key), id, false, deadline));
  if (upload.row.state() == rows::UploadRow::COMPLETED)
    co_return fail(ErrorCode::kNoSuchUpload, "the upload has ended");
  if (upload.row.state() == rows::UploadRow::ABORTED)
    co_return fail(ErrorCode::kNoSuchUpload, "the upload has ended");
  if (upload.row.state() == rows::UploadRow::COMPLETING) {
    co_return fail(ErrorCode::kConflict, "the upload is being completed");
  }
  rows::UploadRow row = upload.row;
  row.set_state(rows::UploadRow::ABORTED);
  row.set_ended_ms(runtime_.clock.wall_now().ms);
  std::vector<rows::UploadRow::State> expect;
  expect.push_back(rows::UploadRow::OPEN);
  std::string any;
  Status set = co_await set_upload(upload.at, std::move(row), std::move(expect), any, deadline);
  if (set.is(ErrorCode::kPreconditionFailed))
    co_return fail(ErrorCode::kNoSuchUpload, "the upload has ended");
  co_return set;
}

Task<Result<ListUploadsResult>> Store::uploads(ListUploadsRequest request, TimePoint deadline) {
  CO_TRY(BucketAt at, co_await find_bucket(request.bucket, deadline));
  // Uploads under way are few: all that match are read and sorted here.
  std::vector<UploadInfo> all;
  for (uint32_t shard = 0; shard < at.space.shards; ++shard) {
    RangeQuery query;
    query.table = at.space.uploads();
    query.partition = shard_partition(at.bucket.id, shard, at.space.partitions);
    query.begin = upload_prefix(shard_prefix(at.bucket.id, shard), request.prefix);
    query.end = prefix_end(query.begin);
    query.limit = kListKeysMax;
    bool more = true;
    while (more) {
      CO_TRY(RangePage page, co_await range(at, query, deadline));
      for (const RangeItem& item : page.items) {
        rows::UploadRow row;
        if (!row.ParseFromString(item.row))
          co_return fail(ErrorCode::kCorrupt, "an upload row does not decode");
        if (in_progress(row)) all.push_back(upload_info(row));
      }
      if (all.size() > kUploadsScanMax)
        co_return fail(ErrorCode::kTooLarge, "too many uploads: list a longer prefix");
      more = page.truncated;
      query.begin = std::move(page.next);
    }
  }
  std::sort(all.begin(), all.end(), [](const UploadInfo& a, const UploadInfo& b) {
    return std::tie(a.key, a.started, a.id) < std::tie(b.key, b.started, b.id);
  });
  // The upload id marker counts only beside its key marker: everything up to and including it was
  // shown.
  size_t start = 0;
  while (start < all.size() && !request.key_marker.empty() &&
         all[start].key <= request.key_marker) {
    bool shown = all[start].key < request.key_marker || request.upload_marker.empty();
    if (!shown) {
      size_t at_marker = start;
      while (at_marker < all.size() && all[at_marker].key == request.key_marker &&
             all[at_marker].id.hex() != request.upload_marker) {
        ++at_marker;
      }
      if (at_marker < all.size() && all[at_marker].key == request.key_marker) start = at_marker + 1;
      break;
    }
    ++start;
  }
  ListUploadsResult result;
  for (size_t i = start; i < all.size(); ++i) {
    const UploadInfo& upload = all[i];
    size_t cut = request.delimiter.empty()
                     ? std::string::npos
                     : upload.key.find(request.delimiter, request.prefix.size());
    std::string folded =
        cut == std::string::npos ? "" : upload.key.substr(0, cut + request.delimiter.size());
    bool repeated = !folded.empty() && !result.common_prefixes.empty() &&
                    result.common_prefixes.back() == folded;
    if (repeated) continue;
    if (result.uploads.size() + result.common_prefixes.size() == request.limit) {
      result.truncated = true;
      break;
    }
    result.next_key = folded.empty() ? upload.key : folded;
    result.next_upload = folded.empty() ? upload.id.hex() : "";
    if (folded.empty()) {
      result.uploads.push_back(upload);
    } else {
      result.common_prefixes.push_back(std::move(folded));
    }
  }
  co_return result;
}

}  // namespace covey
