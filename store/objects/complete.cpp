// CompleteMultipartUpload: open -> completing (the head to be, durable manifest) -> head written ->
// completed. Whoever finds an upload 'completing' claims it and finishes it: the head is written at
// most once, because the row remembers what the key held before and whose turn it is.
#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "base/core/limits.h"
#include "base/core/seeded_bug.h"
#include "store/objects/checksum.h"
#include "store/objects/store.h"

namespace covey {
namespace {

constexpr int kFinishTriesMax = 8;

std::string md5(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_md5(), nullptr) == 1);
  return std::string(reinterpret_cast<char*>(digest), size);
}

VersionId version_of_parts(const std::string& upload,
                           const std::vector<rows::ManifestPart>& parts) {
  std::string text = upload;
  for (const rows::ManifestPart& part : parts)
    text += std::to_string(part.number()) + "=" + md5(part.SerializeAsString()) + ";";
  return VersionId::from_bytes(md5(text)).value_or(VersionId{});
}

std::string digest_of(const CompleteRequest& request) {
  std::string text;
  for (const CompletePart& part : request.parts)
    text += std::to_string(part.number) + "=" + part.etag + ";";
  return md5(text);
}

// The rows of the parts asked for, checked against the request.
Result<std::vector<rows::ManifestPart>> chosen_parts(const CompleteRequest& request,
                                                     const std::vector<rows::PartRow>& rows) {
  if (request.parts.empty())
    return fail(ErrorCode::kInvalid, "a Complete names at least one part", "MalformedXML");
  std::vector<rows::ManifestPart> chosen;
  auto row = rows.begin();
  uint32_t before = 0;
  for (const CompletePart& want : request.parts) {
    if (want.number <= before)
      return fail(ErrorCode::kInvalidPartOrder, "the parts are not in rising order");
    before = want.number;
    while (row != rows.end() && row->part().number() < want.number) ++row;
    if (row == rows.end() || row->part().number() != want.number ||
        row->part().etag() != want.etag) {
      return fail(ErrorCode::kInvalidPart, "a part was not found or its ETag differs");
    }
    if (!want.checksum.value.empty() &&
        (row->part().checksum().value() != want.checksum.value ||
         row->part().checksum().algorithm() != want.checksum.algorithm)) {
      return fail(ErrorCode::kInvalidPart, "a part's checksum differs");
    }
    if (!chosen.empty() && chosen.back().size() < kPartBytesMin) {
      return fail(ErrorCode::kEntityTooSmall, "every part but the last is at least 5 MiB");
    }
    chosen.push_back(row->part());
  }
  return chosen;
}

Result<Checksum> object_checksum(const rows::UploadRow& upload,
                                 const std::vector<rows::ManifestPart>& parts) {
  Checksum checksum;
  checksum.algorithm = upload.checksum_algorithm();
  if (checksum.algorithm.empty()) return checksum;
  checksum.full_object = upload.checksum_full_object();
  std::vector<std::string> values;
  std::vector<std::pair<std::string, uint64_t>> sized;
  for (const auto& part : parts) {
    if (part.checksum().algorithm() != checksum.algorithm)
      return Checksum{};  // parts without it: none for the object
    values.push_back(part.checksum().value());
    sized.emplace_back(part.checksum().value(), part.size());
  }
  if (checksum.full_object) {
    TRY(checksum.value, combine_full_object(checksum.algorithm, sized));
  } else {
    TRY(checksum.value, composite_checksum(checksum.algorithm, values));
  }
  return checksum;
}

}  // namespace

Task<Result<Store::Assembled>> Store::assemble(UploadAt& upload, const CompleteRequest& request,
                                               TimePoint deadline) {
  UploadId id = UploadId::from_bytes(upload.row.id()).value_or(UploadId{});
  CO_TRY(std::vector<rows::PartRow> stored,
         co_await part_rows(upload.at, upload.row.key(), id, 0, kPartNumberMax, deadline));
  CO_TRY(std::vector<rows::ManifestPart> parts, chosen_parts(request, stored));
  Assembled assembled;
  rows::HeadRow& head = assembled.head;
  std::string md5s;
  uint64_t size = 0;
  for (const auto& part : parts) {
    md5s += hex_decode(part.etag()).value_or(part.etag());
    size += part.size();
  }
  if (size > kObjectBytesMax)
    co_return fail(ErrorCode::kEntityTooLarge, "an object is at most 5 TiB");
  if (request.object_size && *request.object_size != size) {
    co_return fail(ErrorCode::kInvalid, "the object size is not the one given", "InvalidRequest");
  }
  CO_TRY(Checksum checksum, object_checksum(upload.row, parts));
  if (!request.object_checksum.value.empty() && request.object_checksum.value != checksum.value) {
    co_return fail(ErrorCode::kBadDigest, "the checksum of the whole object differs");
  }
  VersionId version = runtime_.rng.id<VersionId>();
  // Two sites that complete an upload while they are cut off make one version, not two that share
  // their blocks.
  if (upload.at.space.available) version = version_of_parts(upload.row.id(), parts);
  head.set_version(std::string(version.view()));
  head.set_size(size);
  head.set_etag(hex_encode(md5(md5s)) + "-" + std::to_string(parts.size()));
  head.set_modified_ms(runtime_.clock.wall_now().ms);
  const rows::AttributesMessage& from = upload.row.attributes();
  head.set_owner(from.owner());
  head.set_storage_class(from.storage_class());
  *head.mutable_headers() = from.headers();
  *head.mutable_user_metadata() = from.user_metadata();
  *head.mutable_tags() = from.tags();
  head.set_acl(from.acl());
  head.set_parts(static_cast<uint32_t>(parts.size()));
  if (!checksum.algorithm.empty()) *head.mutable_checksum() = to_row(checksum);
  assembled.chunks = place_parts(parts, true, head);
  assembled.epoch = layout_epoch();
  PartitionId partition = upload.at.space.partition(upload.row.key());
  CO_TRY_STATUS(co_await put_chunks(upload.at, partition, assembled.chunks, deadline));
  co_return assembled;
}

static std::string encode_rank(const Rank& rank) {
  std::string bytes;
  Writer w(bytes);
  write_rank(w, rank);
  return bytes;
}

void Store::remember_before(rows::UploadRow& upload, const HeadNow& now) {
  upload.set_head_before(now.row ? now.row->version() : "");
  upload.set_rank_before(encode_rank(now.rank));
}

// Nothing was written to the key since. Where there was no object versions do not show it: one may
// have come and gone, the upload's own among them.
static bool untouched(const rows::UploadRow& upload, const std::string& version, Rank now) {
  if (version != upload.head_before()) return false;
  if (!version.empty() || upload.rank_before().empty()) return true;
  Reader r(upload.rank_before());
  return !(read_rank(r) < now);
}

// The head to be stands, or what stands says that it replaced it.
static bool surely_written(const std::optional<rows::HeadRow>& now, const std::string& version) {
  return now && (now->version() == version || (now->conditional() && now->replaced() == version));
}

// From 'completing' on, under a claim of this request's own. `first`: nobody else ever held a
// claim, so as long as nobody has taken it over, the head was written by this request or by nobody.
Task<Result<ObjectInfo>> Store::finish_complete(UploadAt& upload, Conditions conditions, bool first,
                                                TimePoint deadline) {
  rows::HeadRow head;
  if (!head.ParseFromString(upload.row.head()))
    co_return fail(ErrorCode::kCorrupt, "a stored head does not decode");
  std::optional<Error> refused;
  for (int tries = 0; tries < kFinishTriesMax; ++tries) {
    CO_TRY(HeadNow seen, co_await current_head(upload, deadline));
    const std::optional<rows::HeadRow>& now = seen.row;
    const std::string before = now ? now->version() : "";
    if (!untouched(upload.row, before, seen.rank)) {
      // A blind write hides what stood before it: the head may be ordered right before that.
      bool hidden = !first && now && !now->conditional() && conditions.empty();
      if (SEEDED_BUG("objects-complete-forgets-claim")) hidden = conditions.empty();
      if (surely_written(now, head.version()) || hidden) {
        CO_TRY_STATUS(co_await end_upload(upload, rows::UploadRow::COMPLETED, deadline));
        co_return object_info(upload.row.key(), head);
      }
      if (!first) {  // whether an earlier claim's head stood in between is known to nobody
        CO_TRY_STATUS(co_await end_upload(upload, rows::UploadRow::ABORTED, deadline));
        co_return fail(ErrorCode::kUnknownOutcome,
                       "the key changed while the upload was completed: read it to see");
      }
      remember_before(upload.row, seen);
      CO_TRY_STATUS(co_await end_upload(upload, rows::UploadRow::COMPLETING, deadline));
    } else if (refused && !conditions.empty()) {  // nothing stands between: the client's own failed
      if (first) {
        CO_TRY_STATUS(co_await end_upload(upload, rows::UploadRow::OPEN, deadline));
      }
      co_return tl::unexpected<Error>(std::move(*refused));
    }
    rows::ConditionsMessage want;
    set_conditions(want, conditions);
    want.set_if_version(before);
    want.set_if_absent(before.empty());
    std::vector<Attachment> none;
    auto written = co_await write_head(upload.at, upload.row.key(), head, std::move(want),
                                       std::move(none), deadline);
    if (written) {
      CO_TRY_STATUS(co_await end_upload(upload, rows::UploadRow::COMPLETED, deadline));
      co_return object_info(upload.row.key(), head);
    }
    if (!written.is(ErrorCode::kPreconditionFailed) && !written.is(ErrorCode::kNoSuchKey)) {
      co_return tl::unexpected<Error>(std::move(written).error());
    }
    refused = std::move(written).error();
  }
  co_return fail(ErrorCode::kConflict, "the key keeps changing while the upload is completed");
}

Task<Result<Store::HeadNow>> Store::current_head(UploadAt& upload, TimePoint deadline) {
  CO_TRY(
      ReadResult read,
      co_await this->read(upload.at, head_key(upload.at.space, upload.row.key()), false, deadline));
  HeadNow now;
  now.rank = read.rank;
  if (read.row && !now.row.emplace().ParseFromString(*read.row)) {
    co_return fail(ErrorCode::kCorrupt, "a head row does not decode");
  }
  co_return now;
}

// Moves an upload that is 'completing' under this request's claim to `state`. To 'completed'
// anybody may move it who knows that the head was written.
Task<Status> Store::end_upload(UploadAt& upload, rows::UploadRow::State state, TimePoint deadline) {
  rows::UploadRow row = upload.row;
  std::string claim = row.claim();
  row.set_state(state);
  if (state != rows::UploadRow::COMPLETING) row.clear_claim();
  if (state == rows::UploadRow::OPEN) {
    row.clear_head();
    row.clear_head_before();
    row.clear_rank_before();
  } else if (state != rows::UploadRow::COMPLETING) {
    row.set_ended_ms(runtime_.clock.wall_now().ms);
  }
  std::vector<rows::UploadRow::State> from;
  from.push_back(rows::UploadRow::COMPLETING);
  if (state == rows::UploadRow::COMPLETED) {
    from.push_back(rows::UploadRow::COMPLETED);
    from.push_back(rows::UploadRow::ABORTED);  // by one who could not know
    claim.clear();
  }
  Status ended =
      co_await set_upload(upload.at, std::move(row), std::move(from), std::move(claim), deadline);
  if (ended.is(ErrorCode::kPreconditionFailed) && state != rows::UploadRow::COMPLETED)
    co_return fail(ErrorCode::kUnknownOutcome, "another Complete took over: read the key to see");
  co_return ended;
}

// Takes a fresh claim on an upload that is in state `from`.
Task<Status> Store::claim_upload(UploadAt& upload, rows::UploadRow::State from,
                                 TimePoint deadline) {
  OperationId claim = runtime_.rng.id<OperationId>();
  upload.row.set_claim(std::string(claim.view()));
  upload.row.set_claimed_ms(runtime_.clock.wall_now().ms);
  std::vector<rows::UploadRow::State> expect;
  expect.push_back(from);
  std::string any;
  Status marked = co_await set_upload(upload.at, upload.row, std::move(expect), any, deadline);
  if (marked.is(ErrorCode::kPreconditionFailed))
    co_return fail(ErrorCode::kConflict, "another Complete is under way");
  co_return marked;
}

Task<Result<ObjectInfo>> Store::complete_upload(CompleteRequest request, TimePoint deadline) {
  CO_TRY(UploadAt upload,
         co_await find_upload(request.bucket, request.key, request.upload, false, deadline));
  std::string digest = digest_of(request);
  CO_TRY_STATUS(check_available(upload.at, request.conditions));
  if (upload.row.state() == rows::UploadRow::ABORTED)
    co_return fail(ErrorCode::kNoSuchUpload, "the upload has ended");
  if (upload.row.state() == rows::UploadRow::COMPLETED) {
    if (upload.row.request_digest() != digest)
      co_return fail(ErrorCode::kNoSuchUpload, "the upload has ended");
    rows::HeadRow head;
    if (!head.ParseFromString(upload.row.head()))
      co_return fail(ErrorCode::kCorrupt, "a stored head does not decode");
    co_return object_info(std::move(request.key), head);
  }
  if (upload.row.state() == rows::UploadRow::COMPLETING) {
    CO_TRY_STATUS(co_await claim_upload(upload, rows::UploadRow::COMPLETING, deadline));
    co_return co_await finish_complete(upload, request.conditions, false, deadline);
  }
  CO_TRY(Assembled made, co_await assemble(upload, request, deadline));
  CO_TRY(HeadNow before, co_await current_head(upload, deadline));
  upload.row.set_state(rows::UploadRow::COMPLETING);
  upload.row.set_head(made.head.SerializeAsString());
  remember_before(upload.row, before);
  upload.row.set_request_digest(digest);
  CO_TRY_STATUS(co_await claim_upload(upload, rows::UploadRow::OPEN, deadline));
  if (layout_epoch() != made.epoch) {
    PartitionId partition = upload.at.space.partition(upload.row.key());
    CO_TRY_STATUS(co_await put_chunks(upload.at, partition, std::move(made.chunks), deadline));
  }
  co_return co_await finish_complete(upload, request.conditions, true, deadline);
}

}  // namespace covey
