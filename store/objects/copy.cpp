// Copy: no data moves. The copy's manifest names the source's blocks, and a reference row at the
// source's home keeps them: it is written on a quorum, the source is looked at again, and only then
// is the copy's head accepted.
#include <openssl/evp.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/core/limits.h"
#include "base/core/log.h"
#include "base/core/seeded_bug.h"
#include "store/objects/store.h"

namespace covey {
namespace {

constexpr int kSourceRetriesMax = 4;
constexpr Duration kGiveBackTimeout = std::chrono::seconds(30);

Status source_failed(Status status) {
  // A copy answers 412 to whatever condition on its source fails.
  if (status.is(ErrorCode::kNotModified))
    return fail(ErrorCode::kPreconditionFailed, {}, status.error().detail);
  return status;
}

// A reader as a body to store. Its ETag is the MD5 of what was read.
class ReaderSource : public BodySource {
 public:
  ReaderSource(std::unique_ptr<BodyReader> reader, uint64_t size)
      : reader_(std::move(reader)), size_(size), md5_(EVP_MD_CTX_new()) {
    CHECK(EVP_DigestInit_ex(md5_, EVP_md5(), nullptr) == 1);
  }
  ReaderSource(const ReaderSource&) = delete;
  ReaderSource& operator=(const ReaderSource&) = delete;
  ~ReaderSource() override { EVP_MD_CTX_free(md5_); }
  int64_t declared_bytes() const override { return static_cast<int64_t>(size_); }
  Task<Result<Blob>> next(size_t max_bytes) override {
    if (left_.empty()) {
      CO_TRY(left_, co_await reader_->next());
    }
    size_t take = std::min(max_bytes, left_.size());
    Blob piece = left_.slice(0, take);
    left_ = left_.slice(take, left_.size() - take);
    CHECK(EVP_DigestUpdate(md5_, piece.view().data(), piece.size()) == 1);
    co_return piece;
  }
  Task<Result<BodyDigests>> finish() override {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    CHECK(EVP_DigestFinal_ex(md5_, digest, &size) == 1);
    BodyDigests digests;
    digests.etag = hex_encode(std::string_view(reinterpret_cast<char*>(digest), size));
    co_return digests;
  }

 private:
  std::unique_ptr<BodyReader> reader_;
  uint64_t size_;
  EVP_MD_CTX* md5_;
  Blob left_;
};

}  // namespace

Task<Result<std::unique_ptr<BodySource>>> Store::source_body(HeadAt& source, uint64_t first,
                                                             uint64_t length) {
  std::unique_ptr<BodyReader> reader;
  if (source.row.inline_body()) {
    if (!source.inline_body)
      co_return fail(ErrorCode::kUnavailable, "the source's body could not be read");
    reader = memory_body_reader(Blob::copy(*source.inline_body).slice(first, length));
  } else {
    rows::HeadRow row = source.row;
    reader = open_body_reader(runtime_, scope_, memory_.reads, rows_of(source.at), blocks_,
                              source.partition, std::move(row), first, length);
  }
  co_return std::make_unique<ReaderSource>(std::move(reader), length);
}

Task<Result<std::vector<rows::ManifestPart>>> Store::source_parts(const HeadAt& source,
                                                                  TimePoint deadline) {
  if (source.row.inline_body()) {
    rows::ManifestPart part;
    part.set_size(source.row.size());
    part.set_etag(source.row.etag());
    if (source.row.size() > 0) {
      rows::Extent& extent = *part.add_extents();
      extent.set_inline_body(source.inline_body.value_or(""));
      extent.set_size(source.row.size());
    }
    std::vector<rows::ManifestPart> parts;
    parts.push_back(std::move(part));
    co_return parts;
  }
  BucketAt at = source.at;
  co_return co_await read_parts(rows_of(at), source.partition, source.row, step(deadline));
}

Task<Status> Store::claim(std::vector<rows::ManifestPart>& parts, const HeadAt& source,
                          VersionId holder, TimePoint deadline) {
  for (rows::ManifestPart& part : parts) {
    for (rows::Extent& extent : *part.mutable_extents()) {
      if (!extent.inline_body().empty()) continue;
      if (extent.owner().empty()) {
        extent.set_owner(source.row.version());
        extent.set_owner_partition(source.partition);
      }
      extent.set_holder(std::string(holder.view()));
    }
  }
  CO_TRY_STATUS(co_await put_claims(parts, true, deadline));
  Status there = co_await still_there(source, deadline);
  if (!there) scope_.spawn(give_back(parts));
  co_return there;
}

Task<Status> Store::put_claims(const std::vector<rows::ManifestPart>& parts, bool stand,
                               TimePoint deadline) {
  std::map<std::tuple<uint32_t, std::string, std::string>, std::set<std::string>> claims;
  for (const rows::ManifestPart& part : parts)
    for (const rows::Extent& extent : part.extents())
      if (!extent.owner().empty())
        claims[{extent.owner_partition(), extent.owner(), extent.holder()}].insert(
            extent.version());
  if (SEEDED_BUG("objects-copy-unclaimed")) claims.clear();
  for (const auto& [at, versions] : claims) {
    const auto& [partition, owner, holder] = at;
    RegisterKey key = block_ref_key(partition, VersionId::from_bytes(owner).value_or(VersionId{}),
                                    VersionId::from_bytes(holder).value_or(VersionId{}));
    Mutation mutation = new_mutation(stand ? "bp" + claim_row(versions) : "bd");
    auto done = co_await registers_.mutate(std::move(key), std::move(mutation), step(deadline));
    CO_TRY(std::string reply, std::move(done));
  }
  co_return Status();
}

Task<void> Store::give_back(std::vector<rows::ManifestPart> parts) {
  Status gone = co_await put_claims(parts, false, runtime_.clock.after(kGiveBackTimeout));
  if (!gone) log_debug("claims of a copy that failed stay: {}", to_string(gone.error()));
}

Task<Status> Store::still_there(const HeadAt& source, TimePoint deadline) {
  BucketAt at = source.at;
  CO_TRY(ReadResult read, co_await this->read(at, head_key(at.space, source.key), false, deadline));
  rows::HeadRow now;
  if (!read.row || !now.ParseFromString(*read.row) || now.version() != source.row.version()) {
    co_return fail(ErrorCode::kConflict, "the source was replaced while it was copied");
  }
  co_return Status();
}

Task<Result<ObjectInfo>> Store::copy(CopyRequest request, TimePoint deadline) {
  CO_TRY(BucketAt at, co_await writable_bucket(request.bucket, deadline));
  CO_TRY_STATUS(check_available(at, request.conditions));
  for (int tries = 0;; ++tries) {
    CO_TRY(HeadAt source, co_await find_head(request.source_bucket, request.source_key,
                                             request.source_version, true, deadline));
    CO_TRY_STATUS(source_failed(check_read_conditions(request.source_conditions, source.row)));
    if (source.row.size() > kPutBytesMax)
      co_return fail(ErrorCode::kEntityTooLarge, "the source is above 5 GiB");
    VersionId version = runtime_.rng.id<VersionId>();
    rows::HeadRow row = source.row;
    row.set_version(std::string(version.view()));
    row.set_modified_ms(runtime_.clock.wall_now().ms);
    row.set_owner(request.owner);
    row.set_acl(request.acl);
    row.clear_extents();
    row.clear_chunk_offset();
    row.clear_chunk_part();
    row.set_storage_class(request.storage_class == "STANDARD" ? "" : request.storage_class);
    if (request.replace) {
      row.clear_headers();
      row.clear_user_metadata();
      for (const auto& [name, value] : request.replace->headers)
        (*row.mutable_headers())[name] = value;
      for (const auto& [name, value] : request.replace->user_metadata)
        (*row.mutable_user_metadata())[name] = value;
    }
    if (request.replace_tags) {
      row.clear_tags();
      for (const auto& [name, value] : *request.replace_tags) (*row.mutable_tags())[name] = value;
    }
    std::vector<Attachment> attachments;
    std::vector<rows::ManifestPart> parts;
    // A claim on the source's blocks is a register, which a site that is cut off cannot write.
    if (at.space.available && !row.inline_body()) {
      CO_TRY(std::unique_ptr<BodySource> body, co_await source_body(source, 0, source.row.size()));
      CO_TRY(StoredBody stored, co_await store_body(at, request.key, version, 0, *body, deadline));
      row.set_inline_body(stored.extents.empty());
      row.set_parts(0);
      if (source.row.parts() > 0) row.set_etag(stored.digests.etag);
      if (stored.extents.empty())
        attachments.push_back({version, std::string(kInlineSuffix), stored.inline_body});
      for (rows::Extent& extent : stored.extents) *row.add_extents() = std::move(extent);
    } else if (row.inline_body()) {
      if (!source.inline_body)
        co_return fail(ErrorCode::kUnavailable, "the source's body could not be read");
      attachments.push_back({version, std::string(kInlineSuffix), *source.inline_body});
    } else {
      CO_TRY(parts, co_await source_parts(source, deadline));
      Status there = co_await claim(parts, source, version, deadline);
      if (there.is(ErrorCode::kConflict) && tries < kSourceRetriesMax) continue;
      CO_TRY_STATUS(std::move(there));
      attachments = place_parts(parts, source.row.parts() > 0, row);
    }
    rows::ConditionsMessage conditions;
    set_conditions(conditions, request.conditions);
    auto written = co_await write_head(at, request.key, row, std::move(conditions),
                                       std::move(attachments), deadline);
    if (written.is(ErrorCode::kPreconditionFailed)) scope_.spawn(give_back(parts));
    CO_TRY(std::string reply, std::move(written));
    co_return object_info(std::move(request.key), row);
  }
}

Task<Result<PartInfo>> Store::copy_part(CopyPartRequest request, TimePoint deadline) {
  CO_TRY(UploadAt upload, co_await find_upload(request.to.bucket, request.to.key, request.to.upload,
                                               true, deadline));
  for (int tries = 0;; ++tries) {
    CO_TRY(HeadAt source, co_await find_head(request.source_bucket, request.source_key,
                                             request.source_version, true, deadline));
    CO_TRY_STATUS(source_failed(check_read_conditions(request.source_conditions, source.row)));
    uint64_t first = 0, length = source.row.size();
    if (request.range) {
      first = request.range->first.value_or(0);
      uint64_t last = request.range->last.value_or(source.row.size());
      if (first > last || last >= source.row.size()) {
        co_return fail(ErrorCode::kInvalidRange, std::to_string(source.row.size()));
      }
      length = last - first + 1;
    }
    if (length > kPutBytesMax)
      co_return fail(ErrorCode::kEntityTooLarge, "a part is at most 5 GiB");
    if (upload.at.space.available) {
      VersionId version = runtime_.rng.id<VersionId>();
      CO_TRY(std::unique_ptr<BodySource> body, co_await source_body(source, first, length));
      CO_TRY(StoredBody stored, co_await store_body(upload.at, request.to.key, version,
                                                    request.to.number, *body, deadline));
      rows::PartRow row = part_row(request.to.number, version, std::move(stored));
      row.mutable_part()->set_modified_ms(runtime_.clock.wall_now().ms);
      CO_TRY_STATUS(co_await write_part(upload, row, deadline));
      co_return part_info(row.part());
    }
    CO_TRY(std::vector<rows::ManifestPart> parts, co_await source_parts(source, deadline));
    std::vector<rows::Extent> extents;
    for (auto& part : parts)
      extents.insert(extents.end(), part.extents().begin(), part.extents().end());
    VersionId version = runtime_.rng.id<VersionId>();
    rows::PartRow row;
    row.set_version(std::string(version.view()));
    rows::ManifestPart& part = *row.mutable_part();
    part.set_number(request.to.number);
    part.set_size(length);
    part.set_modified_ms(runtime_.clock.wall_now().ms);
    for (rows::Extent& extent : cut_extents(extents, first, length))
      *part.add_extents() = std::move(extent);
    if (part.ByteSizeLong() > kRowBytesMax / 2) {
      co_return fail(ErrorCode::kNotImplemented,
                     "this range of the source spans too many parts: copy it in smaller ranges");
    }
    std::vector<rows::ManifestPart> claimed;
    claimed.push_back(part);
    Status there = co_await claim(claimed, source, version, deadline);
    if (there.is(ErrorCode::kConflict) && tries < kSourceRetriesMax) continue;
    CO_TRY_STATUS(std::move(there));
    part = claimed[0];
    // A part has an ETag of its own bytes, so they are read once, locally where possible.
    bool whole = length == source.row.size() && source.row.parts() == 0;
    if (whole) {
      part.set_etag(source.row.etag());
    } else {
      rows::HeadRow source_row = source.row;
      auto reader =
          source.row.inline_body()
              ? memory_body_reader(Blob::copy(*source.inline_body).slice(first, length))
              : open_body_reader(runtime_, scope_, memory_.reads, rows_of(source.at), blocks_,
                                 source.partition, std::move(source_row), first, length);
      CO_TRY(std::string etag, co_await md5_of(*reader, runtime_.cpu));
      part.set_etag(std::move(etag));
    }
    CO_TRY_STATUS(co_await write_part(upload, row, deadline));
    co_return PartInfo{
        part.number(), part.size(), part.etag(), from_row(part.checksum()), {part.modified_ms()}};
  }
}

}  // namespace covey
