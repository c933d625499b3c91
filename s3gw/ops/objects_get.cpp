// GetObject and HeadObject: conditions, ranges, parts, response-* overrides.
#include <array>

#include "s3gw/http/response.h"
#include "s3gw/ops/acl.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/reply.h"
#include "s3gw/ops/text.h"

namespace covey {

// A body on its way to the client, from the second piece on when the first was fetched ahead.
class BodyStream : public HttpStream {
 public:
  BodyStream(Blob first, std::unique_ptr<BodyReader> reader)
      : first_(std::move(first)), reader_(std::move(reader)) {}
  Task<Result<Blob>> next() override {
    if (!first_.empty()) co_return std::exchange(first_, Blob());
    co_return co_await reader_->next();
  }

 private:
  Blob first_;
  std::unique_ptr<BodyReader> reader_;
};

static Result<GetRequest> read_get_request(Call& call) {
  GetRequest request;
  request.bucket = call.bucket_name;
  request.key = call.key;
  TRY(request.version, read_version(call));
  TRY(request.part_number, read_part_number(call));
  request.conditions = read_conditions(call, "");
  if (auto range = call.header("range")) request.range = read_range(*range);
  if (request.part_number > 0 && call.header("range"))
    return s3_error("InvalidRequest",
                    "Cannot specify both Range header and partNumber query parameter");
  return request;
}

// A failed read still describes what is there: ETag with 304 and 412, the size with 416.
static Task<void> describe_failure(Call& call, GetRequest request, ErrorCode code) {
  request.range.reset();
  request.part_number = 0;
  request.conditions = Conditions();
  auto now = co_await call.store().head(std::move(request), call.soon());
  if (!now) co_return;
  if (code == ErrorCode::kInvalidRange) {
    std::string size = std::to_string(now->info.size);
    call.error_headers.emplace_back("Content-Range", "bytes */" + size);
    call.error_elements.emplace_back("RangeRequested", call.header_or_empty("range"));
    call.error_elements.emplace_back("ActualObjectSize", size);
    co_return;
  }
  call.error_headers.emplace_back("ETag", quoted(now->info.etag));
  call.error_headers.emplace_back("Last-Modified", http_date(now->info.modified));
  for (const char* kept : {"cache-control", "expires"})
    if (auto it = now->info.headers.find(kept); it != now->info.headers.end())
      call.error_headers.emplace_back(kept, it->second);
}

static Status apply_overrides(Call& call, ObjectInfo& info) {
  static constexpr std::pair<std::string_view, std::string_view> kOverrides[] = {
      {"response-content-type", "content-type"},
      {"response-content-language", "content-language"},
      {"response-expires", "expires"},
      {"response-cache-control", "cache-control"},
      {"response-content-disposition", "content-disposition"},
      {"response-content-encoding", "content-encoding"},
  };
  for (auto& [name, header] : kOverrides) {
    const std::string* value = call.param(name);
    if (!value) continue;
    if (call.who.identity.anonymous)
      return s3_error(
          "InvalidRequest",
          "Request specific response headers cannot be used for anonymous GET requests.");
    if (has_control(*value))
      return call.bad_argument("A header value must not hold a line break.", std::string(name), "");
    info.headers[std::string(header)] = *value;
  }
  return {};
}

static Task<Result<Checksum>> checksum_of(Call& call, GetRequest request, const ObjectInfo& info,
                                          bool partial) {
  if (request.part_number == 0 || info.parts == 0)
    co_return partial&& request.part_number == 0 ? Checksum() : info.checksum;
  auto parts = co_await call.store().object_parts(request.bucket, request.key, request.version,
                                                  request.part_number - 1, 1, call.soon());
  if (!parts) co_return tl::unexpected<Error>(std::move(parts).error());
  if (parts->empty()) co_return Checksum();
  Checksum checksum = parts->front().checksum;
  checksum.full_object = info.checksum.full_object;
  co_return checksum;
}

static void set_range_headers(HttpResponse& reply, const GetResult& got,
                              const GetRequest& request) {
  if (request.part_number > 0 && got.info.parts > 0)
    reply.set("x-amz-mp-parts-count", std::to_string(got.info.parts));
  if (!got.partial) return;
  reply.status = 206;
  uint64_t last = got.length == 0 ? got.first : got.first + got.length - 1;
  reply.set("Content-Range", "bytes " + std::to_string(got.first) + "-" + std::to_string(last) +
                                 "/" + std::to_string(got.info.size));
}

// A body of one piece leaves with the head, in one write.
static Task<Status> set_body(HttpResponse& reply, std::unique_ptr<BodyReader> reader,
                             uint64_t length) {
  if (length == 0 || !reader) co_return Status();
  CO_TRY(Blob first, co_await reader->next());
  if (first.size() == length) {
    reply.body = std::move(first);
    co_return Status();
  }
  if (first.empty())
    co_return fail(ErrorCode::kCorrupt, "an object's body ended before its length");
  reply.content_length = static_cast<int64_t>(length);
  reply.stream = std::make_unique<BodyStream>(std::move(first), std::move(reader));
  co_return Status();
}

// (A co_await inside ?: is miscompiled by GCC 12.)
static Task<Result<GetResult>> read_object(Call& call, GetRequest request) {
  if (call.head()) co_return co_await call.store().head(std::move(request), call.soon());
  co_return co_await call.store().get(std::move(request), call.long_after());
}

Reply get_object(Call& call) {
  CO_TRY(GetRequest request, read_get_request(call));
  GetRequest sent = request;
  auto got = co_await read_object(call, std::move(sent));
  if (!got) {
    Error error = std::move(got).error();
    if (error.code == ErrorCode::kNotModified || error.code == ErrorCode::kPreconditionFailed ||
        error.code == ErrorCode::kInvalidRange)
      co_await describe_failure(call, request, error.code);
    if (error.code == ErrorCode::kInvalidPart) error.detail = "InvalidPartNumber";
    co_return tl::unexpected<Error>(std::move(error));
  }
  // Another object may stand here than the one whose ACL was looked at before.
  if (!allowed_by_bucket(call.who.identity, call.bucket, Need::kReadObject) &&
      !acl_allows(got->info.acl, got->info.owner, call.who.identity, kAclRead))
    co_return fail(ErrorCode::kDenied);
  CO_TRY_STATUS(apply_overrides(call, got->info));
  HttpResponse reply = empty_reply(200);
  set_object_headers(reply, got->info);
  if (call.bucket.consistency == Consistency::kAvailable) {
    reply.set("x-amz-version-id", got->info.version.hex());
  } else if (request.version) {
    reply.set("x-amz-version-id", *request.version);
  }
  set_range_headers(reply, *got, request);
  if (lower(call.header_or_empty("x-amz-checksum-mode")) == "enabled") {
    CO_TRY(Checksum checksum, co_await checksum_of(call, request, got->info, got->partial));
    set_checksum_headers(reply, checksum);
  }
  if (call.head()) {
    reply.content_length = static_cast<int64_t>(got->length);
    co_return reply;
  }
  CO_TRY_STATUS(co_await set_body(reply, std::move(got->body), got->length));
  co_return reply;
}

}  // namespace covey
