// Sub-resources that are not built yet: a GET answers as AWS does for a bucket where they are not
// set, a DELETE has nothing to do, a PUT is 501.
#include "s3gw/ops/reply.h"

namespace covey {

// An empty document, or the AWS code that says "not set".
struct Unset {
  std::string_view name, root, body, error;
};

static constexpr Unset kUnset[] = {
    {"cors", "", "", "NoSuchCORSConfiguration"},
    {"versioning", "VersioningConfiguration", "", ""},
    {"accelerate", "AccelerateConfiguration", "", ""},
    {"logging", "BucketLoggingStatus", "", ""},
    {"requestPayment", "RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>", ""},
    {"website", "", "", "NoSuchWebsiteConfiguration"},
    {"lifecycle", "", "", "NoSuchLifecycleConfiguration"},
    {"replication", "", "", "ReplicationConfigurationNotFoundError"},
    {"encryption", "", "", "ServerSideEncryptionConfigurationNotFoundError"},
    {"object-lock", "", "", "ObjectLockConfigurationNotFoundError"},
    {"policy", "", "", "NoSuchBucketPolicy"},
    {"policyStatus", "", "", "NoSuchBucketPolicy"},
    {"publicAccessBlock", "", "", "NoSuchPublicAccessBlockConfiguration"},
    {"ownershipControls", "", "", "OwnershipControlsNotFoundError"},
    {"notification", "NotificationConfiguration", "", ""},
};

// Configurations with ids: a list without ?id, one of them with it.
static Result<HttpResponse> id_configuration(Call& call) {
  static constexpr std::pair<std::string_view, std::string_view> kLists[] = {
      {"analytics", "ListBucketAnalyticsConfigurationResult"},
      {"inventory", "ListInventoryConfigurationsResult"},
      {"metrics", "ListMetricsConfigurationsResult"},
      {"intelligent-tiering", "ListBucketIntelligentTieringConfigurationsOutput"},
  };
  for (auto& [name, root] : kLists) {
    if (!call.has(name)) continue;
    if (call.has("id")) return s3_error("NoSuchConfiguration");
    XmlWriter xml(root);
    xml.flag("IsTruncated", false);
    return xml_reply(xml.take());
  }
  return s3_error("NotImplemented", "This sub-resource of a bucket is not implemented.");
}

Reply get_bucket_subresource(Call& call) {
  for (const Unset& unset : kUnset) {
    if (!call.has(unset.name)) continue;
    if (!unset.error.empty()) co_return s3_error(unset.error);
    XmlWriter xml(unset.root);
    xml.raw(unset.body);
    co_return xml_reply(xml.take());
  }
  co_return id_configuration(call);
}

Reply delete_bucket_subresource(Call& call) {
  static constexpr std::string_view kDeletable[] = {
      "cors",       "website", "lifecycle",         "replication",
      "encryption", "policy",  "publicAccessBlock", "ownershipControls"};
  for (std::string_view name : kDeletable)
    if (call.has(name)) co_return empty_reply(204);
  for (std::string_view name : {"analytics", "inventory", "metrics", "intelligent-tiering"})
    if (call.has(name)) co_return s3_error("NoSuchConfiguration");
  co_return s3_error("MethodNotAllowed");
}

static Task<Result<ObjectInfo>> look(Call& call) {
  GetRequest request;
  request.bucket = call.bucket_name;
  request.key = call.key;
  CO_TRY(GetResult got, co_await call.store().head(std::move(request), call.soon()));
  co_return std::move(got.info);
}

Reply get_object_lock_subresource(Call& call) {
  CO_TRY(ObjectInfo info, co_await look(call));
  co_return s3_error("InvalidRequest", "Bucket is missing Object Lock Configuration");
}

Reply not_implemented(Call& call) {
  std::string name;
  for (const auto& [key, value] : call.query)
    if (name.empty() && value.empty()) name = key;
  co_return s3_error("NotImplemented", call.http.method + " of the sub-resource ?" + name +
                                           " is not implemented by this version of Covey.");
}

Reply preflight(Call& call) {
  if (!call.header("origin"))
    co_return s3_error("BadRequest", "Insufficient information. Origin request header needed.");
  if (!call.header("access-control-request-method"))
    co_return s3_error("BadRequest", "Invalid Access-Control-Request-Method: null");
  co_return s3_error("AccessForbidden");
}

}  // namespace covey
