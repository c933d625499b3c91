// Which handler answers: by method, by what is addressed (service, bucket, object) and by the
// sub-resource in the query.
#include <algorithm>
#include <span>

#include "s3gw/ops/call.h"

namespace covey {

static constexpr Route kServiceRoutes[] = {
    {"GET", "", list_buckets, Need::kKnown},
};

static constexpr Route kBucketRoutes[] = {
    {"GET", "location", get_bucket_location, Need::kRead},
    {"GET", "uploads", list_multipart_uploads, Need::kRead},
    {"GET", "versions", list_object_versions, Need::kRead},
    {"GET", "acl", get_bucket_acl, Need::kReadAcl},
    {"PUT", "acl", put_bucket_acl, Need::kWriteAcl},
    {"GET", "tagging", get_bucket_tagging, Need::kOwner},
    {"PUT", "tagging", put_bucket_tagging, Need::kOwner},
    {"DELETE", "tagging", delete_bucket_tagging, Need::kOwner},
    {"POST", "delete", delete_objects, Need::kWrite},
    {"GET", "", list_objects, Need::kRead},
    {"HEAD", "", head_bucket, Need::kRead},
    {"PUT", "", create_bucket, Need::kNobody},
    {"DELETE", "", delete_bucket, Need::kOwner},
    {"POST", "", post_object, Need::kNobody},
    {"OPTIONS", "", preflight, Need::kNobody},
};

// Configurations of a bucket that are never set yet: GET says so as AWS does, DELETE has nothing to
// do, PUT is 501.
static constexpr std::string_view kBucketSettings[] = {"acl",
                                                       "cors",
                                                       "versioning",
                                                       "accelerate",
                                                       "logging",
                                                       "policy",
                                                       "requestPayment",
                                                       "website",
                                                       "lifecycle",
                                                       "replication",
                                                       "encryption",
                                                       "object-lock",
                                                       "policyStatus",
                                                       "publicAccessBlock",
                                                       "ownershipControls",
                                                       "analytics",
                                                       "inventory",
                                                       "intelligent-tiering",
                                                       "metrics",
                                                       "notification",
                                                       "metadataTable",
                                                       "metadataConfiguration",
                                                       "session"};

static constexpr Route kObjectRoutes[] = {
    {"GET", "uploadId", list_parts, Need::kRead},
    {"GET", "tagging", get_object_tagging, Need::kReadObject},
    {"GET", "attributes", get_object_attributes, Need::kReadObject},
    {"GET", "acl", get_object_acl, Need::kReadObjectAcl},
    {"PUT", "acl", put_object_acl, Need::kWriteObjectAcl},
    {"GET", "retention", get_object_lock_subresource, Need::kRead},
    {"GET", "legal-hold", get_object_lock_subresource, Need::kRead},
    {"PUT", "uploadId", upload_part, Need::kWrite},
    {"PUT", "tagging", put_object_tagging, Need::kWrite},
    {"DELETE", "uploadId", abort_multipart_upload, Need::kWrite},
    {"DELETE", "tagging", delete_object_tagging, Need::kWrite},
    {"POST", "uploads", create_multipart_upload, Need::kWrite},
    {"POST", "uploadId", complete_multipart_upload, Need::kWrite},
    {"GET", "", get_object, Need::kReadObject},
    {"HEAD", "", get_object, Need::kReadObject},
    {"PUT", "", put_object, Need::kWrite},
    {"DELETE", "", delete_object, Need::kWrite},
    {"OPTIONS", "", preflight, Need::kNobody},
};

static constexpr std::string_view kObjectSubresources[] = {
    "acl",     "attributes", "legal-hold", "restore", "retention",    "select",    "tagging",
    "torrent", "uploadId",   "uploads",    "append",  "renameObject", "encryption"};

static bool names_any(const Call& call, std::span<const std::string_view> names) {
  return std::any_of(names.begin(), names.end(), [&](auto name) { return call.has(name); });
}

static std::optional<Route> match(const Call& call, std::span<const Route> routes, bool plain) {
  for (const Route& route : routes) {
    if (route.method != call.http.method) continue;
    if (route.subresource.empty() ? plain : call.has(route.subresource)) return route;
  }
  return std::nullopt;
}

static bool known_method(const std::string& m) {
  return m == "GET" || m == "HEAD" || m == "PUT" || m == "POST" || m == "DELETE" || m == "OPTIONS";
}

static Result<Route> find_bucket_route(const Call& call) {
  bool setting = names_any(call, kBucketSettings);
  if (auto route = match(call, kBucketRoutes, !setting)) {
    bool misplaced = route->subresource.empty() && route->method != "GET" &&
                     (call.has("delete") || call.has("tagging") || call.has("uploads") ||
                      call.has("versions") || call.has("location"));
    if (!misplaced) return *route;
    return s3_error("MethodNotAllowed");
  }
  const std::string& m = call.http.method;
  if (setting && m == "GET") return Route{"GET", "", get_bucket_subresource, Need::kOwner};
  if (setting && m == "DELETE") return Route{m, "", delete_bucket_subresource, Need::kOwner};
  if (setting && (m == "PUT" || m == "POST")) return Route{m, "", not_implemented, Need::kOwner};
  return s3_error("MethodNotAllowed");
}

static Result<Route> find_object_route(const Call& call) {
  bool subresource = names_any(call, kObjectSubresources);
  if (auto route = match(call, kObjectRoutes, !subresource)) return *route;
  const std::string& m = call.http.method;
  if (subresource && (m == "PUT" || m == "POST" || m == "GET" || m == "DELETE"))
    return Route{m, "", not_implemented, m == "GET" ? Need::kRead : Need::kWrite};
  return s3_error("MethodNotAllowed");
}

Result<Route> find_route(const Call& call) {
  if (!known_method(call.http.method)) return s3_error("MethodNotAllowed");
  if (!call.key.empty()) return find_object_route(call);
  if (!call.bucket_name.empty()) return find_bucket_route(call);
  if (auto route = match(call, kServiceRoutes, true)) return *route;
  return s3_error("MethodNotAllowed");
}

}  // namespace covey
