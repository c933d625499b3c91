// CopyObject: within the store, no byte moves through the gateway.
#include "s3gw/ops/fields.h"
#include "s3gw/ops/reply.h"
#include "s3gw/ops/text.h"

namespace covey {

// COPY (false) or REPLACE (true).
static Result<bool> read_directive(Call& call, std::string name) {
  std::string value = call.header_or_empty(name);
  if (value.empty() || value == "COPY") return false;
  if (value == "REPLACE") return true;
  return call.bad_argument("Unknown directive: " + name + " is COPY or REPLACE.", name, value);
}

static Result<CopyRequest> read_copy_request(Call& call) {
  TRY(CopySource source, read_copy_source(call));
  TRY(bool replace, read_directive(call, "x-amz-metadata-directive"));
  TRY(bool replace_tags, read_directive(call, "x-amz-tagging-directive"));
  TRY(ObjectAttributes attributes, read_attributes(call));
  bool same = source.bucket == call.bucket_name && source.key == call.key && !source.version;
  if (same && !replace && !call.header("x-amz-storage-class") &&
      !call.header("x-amz-website-redirect-location") && !replace_tags)
    return s3_error("InvalidRequest",
                    "This copy request is illegal because it is trying to copy an object to itself "
                    "without changing the object's metadata, storage class, website redirect "
                    "location or encryption attributes.");
  CopyRequest request;
  request.source_bucket = std::move(source.bucket);
  request.source_key = std::move(source.key);
  request.source_version = std::move(source.version);
  request.source_conditions = read_conditions(call, "x-amz-copy-source-");
  request.bucket = call.bucket_name;
  request.key = call.key;
  request.conditions = read_write_conditions(call);
  request.owner = attributes.owner;
  request.acl = attributes.acl;
  if (replace_tags) request.replace_tags = attributes.tags;
  if (replace) {
    attributes.tags.clear();
    request.replace = std::move(attributes);
  }
  return request;
}

// A copy keeps the checksum its source has, because no byte is read. Whoever asks for another one
// is told so: the answer to a copy that ignored it would be taken for a checked one.
static Task<Status> require_checksum(Call& call, std::string wanted, CopyRequest& request) {
  GetRequest source;
  source.bucket = request.source_bucket;
  source.key = request.source_key;
  source.version = request.source_version;
  source.conditions = request.source_conditions;
  CO_TRY(GetResult found, co_await call.store().head(std::move(source), call.soon()));
  if (found.info.checksum.algorithm != wanted)
    co_return s3_error("NotImplemented",
                       "A copy with another checksum algorithm than that of its source is not "
                       "implemented: leave out x-amz-checksum-algorithm, or upload the object.");
  // The object that was looked at is the one that is copied.
  if (request.source_conditions.if_match.empty())
    request.source_conditions.if_match.push_back(found.info.etag);
  co_return Status();
}

// A source whose If-None-Match fails is a failed precondition, never "not modified".
static tl::unexpected<Error> source_error(Error error) {
  if (error.code == ErrorCode::kNotModified) error.code = ErrorCode::kPreconditionFailed;
  return tl::unexpected<Error>(std::move(error));
}

Reply copy_object(Call& call) {
  CO_TRY(CopyRequest request, read_copy_request(call));
  CO_TRY(Bucket source, co_await open_bucket(call, request.source_bucket, Need::kReadObject,
                                             "x-amz-source-expected-bucket-owner"));
  CO_TRY_STATUS(co_await check_object(call, source, request.source_key, request.source_version,
                                      Need::kReadObject));
  std::string wanted = call.header_or_empty("x-amz-checksum-algorithm");
  if (!wanted.empty() && !is_checksum_algorithm(wanted))
    co_return s3_error("InvalidRequest",
                       "Checksum algorithm provided is unsupported. Please try "
                       "again with any of the valid types: [CRC32, CRC32C, "
                       "CRC64NVME, SHA1, SHA256]");
  if (!wanted.empty()) {
    Status same = co_await require_checksum(call, wanted, request);
    if (!same) co_return source_error(std::move(same).error());
  }
  std::optional<std::string> source_version = request.source_version;
  auto copied = co_await call.store().copy(std::move(request), call.long_after());
  if (!copied) co_return source_error(std::move(copied).error());
  XmlWriter xml("CopyObjectResult");
  xml.element("ETag", quoted(copied->etag));
  xml.raw_element("LastModified", iso8601(copied->modified));
  write_checksum(xml, copied->checksum, true);
  HttpResponse reply = xml_reply(xml.take());
  if (source_version) reply.set("x-amz-copy-source-version-id", *source_version);
  co_return reply;
}

}  // namespace covey
