// PutObject. With x-amz-copy-source it is CopyObject (copy.cpp).
#include "base/core/limits.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/reply.h"

namespace covey {

static Status check_size(Call& call, const BodySource& body) {
  if (body.declared_bytes() <= static_cast<int64_t>(kPutBytesMax)) return {};
  call.error_elements.emplace_back("ProposedSize", std::to_string(body.declared_bytes()));
  call.error_elements.emplace_back("MaxSizeAllowed", std::to_string(kPutBytesMax));
  return s3_error("EntityTooLarge");
}

Reply put_object(Call& call) {
  if (call.header("x-amz-copy-source")) co_return co_await copy_object(call);
  PutRequest request;
  request.bucket = call.bucket_name;
  request.key = call.key;
  CO_TRY(request.attributes, read_attributes(call));
  request.conditions = read_write_conditions(call);
  CO_TRY(auto body, open_body(call.http, call.who, call.gateway.settings().default_checksum,
                              call.runtime().cpu));
  CO_TRY_STATUS(check_size(call, *body));
  CO_TRY(ObjectInfo made, co_await call.store().put(std::move(request), *body, call.long_after()));
  HttpResponse reply = empty_reply(200);
  reply.set("ETag", quoted(made.etag));
  set_checksum_headers(reply, made.checksum);
  if (call.bucket.consistency == Consistency::kAvailable)
    reply.set("x-amz-version-id", made.version.hex());
  co_return reply;
}

}  // namespace covey
