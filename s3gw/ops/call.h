// One S3 request on its way through the gateway: what was addressed, by whom, and what an error is
// to say beside its code.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "s3gw/ops/errors.h"
#include "s3gw/ops/gateway.h"

namespace covey {

struct Call {
  Gateway& gateway;
  HttpRequest& http;
  std::string request_id;
  std::string path;         // the target's path, undecoded: <Resource> of errors
  std::string bucket_name;  // empty: the service itself
  std::string key;          // empty: the bucket itself
  QueryParams query;
  Authenticated who;
  Bucket bucket;  // loaded before the handler runs, unless the route works without one
  std::vector<std::pair<std::string, std::string>> error_elements;  // <Key>, <ArgumentName>, ...
  std::vector<std::pair<std::string, std::string>> error_headers;   // ETag of a 304 or 412, ...

  ObjectStore& store() { return gateway.store(); }
  const std::string& user() const { return who.identity.user_id; }
  bool head() const { return http.method == "HEAD"; }
  // The first query parameter of that name; nullptr when absent.
  const std::string* param(std::string_view name) const;
  bool has(std::string_view name) const { return param(name) != nullptr; }
  std::optional<std::string_view> header(std::string_view name) const { return http.header(name); }
  // The value, or empty.
  std::string header_or_empty(std::string_view name) const;

  TimePoint soon() { return runtime().clock.after(gateway.settings().call_timeout); }
  TimePoint long_after() { return runtime().clock.after(gateway.settings().transfer_timeout); }
  WallTime wall_now() { return runtime().clock.wall_now(); }
  Runtime& runtime() { return gateway.runtime(); }

  // InvalidArgument that names the argument, as AWS does.
  tl::unexpected<Error> bad_argument(std::string message, std::string name, std::string value);
};

using Reply = Task<Result<HttpResponse>>;
// `call` outlives the coroutine: it lives in the frame of Gateway::handle, which awaits it.
using Handler = Reply (*)(Call& call);

// What the sender must be allowed to do in the addressed bucket.
enum class Need {
  kNobody,  // the handler checks by itself
  kKnown,   // any signed request
  kRead,
  kWrite,
  kReadAcl,
  kWriteAcl,
  kOwner,
  // Of an object: who has no right by the bucket may have it by the object's own ACL.
  kReadObject,
  kReadObjectAcl,
  kWriteObjectAcl,
};

struct Route {
  std::string_view method;
  std::string_view subresource;  // a query parameter's name; empty: none of them present
  Handler handler;
  Need need;
};

// How long the other nodes are asked whether this one has all keys, before 503.
inline constexpr Duration kConfirmKeys = std::chrono::seconds(4);
// The refusal is due to what this node knows of access keys.
bool rests_on_keys(const Error& error);

// The route of a request, by method, what is addressed and which sub-resource is asked for. An
// error: MethodNotAllowed or NotImplemented.
Result<Route> find_route(const Call& call);

// True for the kinds that an object's own ACL can give.
bool decided_by_object(Need need);
// By the bucket: its owner, `covey bucket allow`, its ACL.
bool allowed_by_bucket(const Identity& who, const Bucket& bucket, Need need);
// May the sender do this in this bucket? What an object's ACL may still give passes. Also checks
// x-amz-expected-bucket-owner.
Status check_access(const Call& call, const Bucket& bucket, Need need,
                    std::string_view expected_owner_header = "x-amz-expected-bucket-owner");
// The bucket, when it exists and the sender may do this there.
Task<Result<Bucket>> open_bucket(Call& call, std::string name, Need need,
                                 std::string_view expected_owner_header,
                                 Freshness freshness = Freshness::kCached);
// What check_access() left open: the object's own ACL.
Task<Status> check_object(Call& call, Bucket bucket, std::string key,
                          std::optional<std::string> version, Need need);

// ---- the operations, one family a file
Reply list_buckets(Call&);
Reply create_bucket(Call&);
Reply delete_bucket(Call&);
Reply head_bucket(Call&);
Reply get_bucket_location(Call&);

Reply get_object(Call&);
Reply put_object(Call&);
Reply delete_object(Call&);
Reply delete_objects(Call&);
Reply copy_object(Call&);
Reply post_object(Call&);
Reply get_object_attributes(Call&);

Reply list_objects(Call&);
Reply list_object_versions(Call&);

Reply create_multipart_upload(Call&);
Reply upload_part(Call&);
Reply complete_multipart_upload(Call&);
Reply abort_multipart_upload(Call&);
Reply list_parts(Call&);
Reply list_multipart_uploads(Call&);

Reply get_object_tagging(Call&);
Reply put_object_tagging(Call&);
Reply delete_object_tagging(Call&);
Reply get_bucket_tagging(Call&);
Reply put_bucket_tagging(Call&);
Reply delete_bucket_tagging(Call&);

Reply get_bucket_subresource(Call&);
Reply delete_bucket_subresource(Call&);
Reply get_object_acl(Call&);
Reply put_object_acl(Call&);
Reply get_bucket_acl(Call&);
Reply put_bucket_acl(Call&);
Reply get_object_lock_subresource(Call&);
Reply not_implemented(Call&);
Reply preflight(Call&);

}  // namespace covey
