// CreateBucket, DeleteBucket, HeadBucket, ListBuckets, GetBucketLocation.
#include <algorithm>

#include "base/core/limits.h"
#include "s3gw/ops/acl.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/names.h"
#include "s3gw/ops/reply.h"
#include "s3gw/ops/text.h"

namespace covey {

static constexpr size_t kListBucketsMax = 10'000;
static constexpr std::string_view kClassicRegion = "us-east-1";

// ---- ListBuckets: the buckets the sender owns, by name, in pages when asked for.

static void write_bucket(XmlWriter& xml, const Bucket& bucket, bool with_region) {
  xml.open("Bucket");
  xml.element("Name", bucket.name);
  xml.raw_element("CreationDate", iso8601(bucket.created));
  if (with_region) xml.element("BucketRegion", bucket.region);
  xml.close("Bucket");
}

static bool wanted(Call& call, const Bucket& bucket, const std::string& prefix,
                   const std::string& after) {
  const std::string* region = call.param("bucket-region");
  return bucket.owner == call.user() && bucket.name.starts_with(prefix) && bucket.name > after &&
         (!region || *region == bucket.region);
}

Reply list_buckets(Call& call) {
  CO_TRY(size_t most, read_limit(call, "max-buckets", kListBucketsMax));
  if (most == 0)
    co_return call.bad_argument("Argument max-buckets must be an integer between 1 and 10000",
                                "max-buckets", "0");
  const std::string* given = call.param("prefix");
  std::string prefix = given ? *given : std::string(), after;
  if (auto* token = call.param("continuation-token"); token && !token->empty()) {
    auto decoded = hex_decode(*token);
    if (!decoded)
      co_return call.bad_argument("The continuation token provided is incorrect",
                                  "continuation-token", *token);
    after = std::move(*decoded);
  }
  CO_TRY(std::vector<Bucket> all, co_await call.store().buckets(call.soon()));
  std::vector<Bucket> mine;
  for (Bucket& bucket : all)
    if (wanted(call, bucket, prefix, after)) mine.push_back(std::move(bucket));
  bool paged = call.has("max-buckets") || call.has("prefix") || call.has("bucket-region");
  bool truncated = mine.size() > most;
  if (truncated) mine.resize(most);
  XmlWriter xml("ListAllMyBucketsResult", 256 + mine.size() * 160);
  OwnerWriter owners(call.gateway.users());
  owners.write(xml, "Owner", call.user());
  xml.open("Buckets");
  for (const Bucket& bucket : mine) write_bucket(xml, bucket, paged);
  xml.close("Buckets");
  if (given) xml.element("Prefix", prefix);
  if (truncated) xml.element("ContinuationToken", hex_encode(mine.back().name));
  co_return xml_reply(xml.take());
}

// ---- CreateBucket

static Task<Status> check_location(Call& call) {
  auto body = co_await read_small_body(call.http, call.who, kXmlBodyBytesMax, call.runtime().cpu);
  if (!body) co_return tl::unexpected<Error>(std::move(body).error());
  if (trim_space(*body).empty()) co_return Status();
  CO_TRY(XmlNode root, parse_xml(*body));
  if (root.name != "CreateBucketConfiguration") co_return s3_error("MalformedXML");
  if (root.child("Tags"))
    co_return s3_error("NotImplemented", "Tags at creation: use PutBucketTagging.");
  if (root.child("Location") || root.child("Bucket"))
    co_return s3_error("NotImplemented", "Directory buckets are not implemented.");
  std::string wanted_region(root.value("LocationConstraint"));
  const std::string& region = call.gateway.settings().region;
  if (wanted_region == "EU") wanted_region = "eu-west-1";
  if (wanted_region.empty() || wanted_region == region) co_return Status();
  co_return s3_error("IllegalLocationConstraintException",
                     "The " + wanted_region +
                         " location constraint is incompatible for the "
                         "region specific endpoint this request was sent to.");
}

// Making one's own bucket again sets its ACL anew, too.
static Task<Status> set_new_acl(Call& call, std::optional<std::string> acl, bool fresh) {
  if (!acl && fresh) co_return Status();
  if (!acl) {
    CO_TRY(Bucket now,
           co_await call.store().bucket(call.bucket_name, call.soon(), Freshness::kNow));
    if (!now.settings.contains("acl")) co_return Status();
  }
  auto set = co_await call.store().set_bucket(call.bucket_name, "acl", std::move(acl), call.soon());
  if (!set) co_return tl::unexpected<Error>(std::move(set).error());
  co_return Status();
}

static constexpr const char* kConsistencyHeader = "x-covey-consistency";

static Result<Consistency> read_consistency(Call& call) {
  auto given = call.header(kConsistencyHeader);
  if (!given) return Consistency::kStrong;
  if (auto known = consistency_named(*given)) return *known;
  return call.bad_argument("A bucket's consistency is strong or available.", kConsistencyHeader,
                           std::string(*given));
}

Reply create_bucket(Call& call) {
  if (call.who.identity.anonymous) co_return fail(ErrorCode::kDenied);
  if (!valid_bucket_name(call.bucket_name)) co_return s3_error("InvalidBucketName");
  CO_TRY_STATUS(co_await check_location(call));
  CO_TRY(std::optional<std::string> acl, read_acl_headers(call, call.user(), std::string()));
  CO_TRY(Consistency consistency, read_consistency(call));
  const std::string& region = call.gateway.settings().region;
  HttpResponse reply = empty_reply(200);
  if (consistency == Consistency::kAvailable)
    reply.set(kConsistencyHeader, std::string(consistency_name(consistency)));
  reply.set("Location", "/" + call.bucket_name);
  if (!call.who.identity.create_buckets) {
    // Who may not create buckets still learns that a bucket is theirs already.
    auto existing = co_await call.store().bucket(call.bucket_name, call.soon());
    if (!existing || existing->owner != call.user() || region != kClassicRegion)
      co_return s3_error("AccessDenied",
                         "This key may not create buckets: an operator can allow it "
                         "or create the bucket with covey bucket create.");
    co_return reply;
  }
  auto made = co_await call.store().create_bucket(call.bucket_name, call.user(), region,
                                                  call.soon(), consistency);
  if (made) {
    CO_TRY_STATUS(co_await set_new_acl(call, std::move(acl), true));
    co_return reply;
  }
  if (made.is(ErrorCode::kConflict)) co_return s3_error("OperationAborted");
  // In us-east-1, and only there, making one's own bucket again succeeds.
  if (made.is(ErrorCode::kBucketAlreadyOwnedByYou) && region == kClassicRegion) {
    CO_TRY_STATUS(co_await set_new_acl(call, std::move(acl), false));
    co_return reply;
  }
  co_return fail(made.code(), made.error().message, made.error().detail);
}

Reply delete_bucket(Call& call) {
  CO_TRY_STATUS(co_await call.store().delete_bucket(call.bucket_name, call.soon()));
  co_return empty_reply(204);
}

Reply head_bucket(Call& call) {
  HttpResponse reply = empty_reply(200);
  reply.set("x-amz-bucket-region", call.bucket.region);
  reply.set(kConsistencyHeader, std::string(consistency_name(call.bucket.consistency)));
  reply.set("x-amz-access-point-alias", "false");
  reply.set("Content-Type", "application/xml");
  co_return reply;
}

Reply get_bucket_location(Call& call) {
  XmlWriter xml("LocationConstraint");
  if (call.bucket.region != kClassicRegion) {
    std::string region;
    append_xml_escaped(region, call.bucket.region);
    xml.raw(region);
  }
  HttpResponse reply = xml_reply(xml.take());
  reply.set(kConsistencyHeader, std::string(consistency_name(call.bucket.consistency)));
  co_return reply;
}

}  // namespace covey
