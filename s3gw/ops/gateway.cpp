#include "s3gw/ops/gateway.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/core/log.h"
#include "s3gw/ops/call.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/reply.h"
#include "s3gw/ops/text.h"

namespace covey {
namespace {

constexpr Duration kFailureLogEvery = std::chrono::seconds(1);

}  // namespace

const std::string* Call::param(std::string_view name) const {
  for (const auto& [key, value] : query)
    if (key == name) return &value;
  return nullptr;
}

std::string Call::header_or_empty(std::string_view name) const {
  return std::string(http.header(name).value_or(std::string_view()));
}

tl::unexpected<Error> Call::bad_argument(std::string message, std::string name, std::string value) {
  error_elements.emplace_back("ArgumentName", std::move(name));
  error_elements.emplace_back("ArgumentValue", std::move(value));
  return s3_error("InvalidArgument", std::move(message));
}

// The bucket that a Host header names in virtual-host style: "b.s3.example.org:3900" -> "b".
static std::string bucket_of_host(std::string_view host, const GatewaySettings& settings) {
  size_t colon = host.rfind(':');
  if (colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos)
    host = host.substr(0, colon);
  std::string name = lower(host);
  for (const std::string& domain : settings.domains) {
    std::string suffix = "." + lower(domain);
    if (name.size() > suffix.size() && name.ends_with(suffix))
      return name.substr(0, name.size() - suffix.size());
  }
  return {};
}

// Splits the target into bucket, key and query. The key is the rest of the path as it stands, with
// %XX decoded once: "//", "." and ".." are plain.
static Status read_address(Call& call) {
  std::string_view target = call.http.target;
  if (target.starts_with("http://") || target.starts_with("https://")) {
    size_t path = target.find('/', target.find("//") + 2);
    target = path == std::string_view::npos ? std::string_view("/") : target.substr(path);
  }
  size_t mark = target.find('?');
  call.path = target.substr(0, mark);
  if (!call.path.starts_with("/")) return s3_error("InvalidURI");
  if (mark != std::string_view::npos) {
    auto query = parse_query(target.substr(mark + 1));
    if (!query) return s3_error("InvalidURI");
    call.query = std::move(*query);
  }
  std::string_view path = std::string_view(call.path).substr(1);
  std::string virtual_bucket =
      bucket_of_host(call.http.header("host").value_or(""), call.gateway.settings());
  std::string_view key_part = path;
  if (virtual_bucket.empty()) {
    size_t slash = path.find('/');
    auto name = percent_decode(path.substr(0, slash));
    if (!name) return s3_error("InvalidURI");
    call.bucket_name = std::move(*name);
    key_part = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  } else {
    call.bucket_name = virtual_bucket;
  }
  auto key = percent_decode(key_part);
  if (!key) return s3_error("InvalidURI");
  call.key = std::move(*key);
  if (call.bucket_name.empty() && !call.key.empty()) return s3_error("InvalidBucketName");
  return {};
}

static bool is_form(const Call& call) {
  return call.http.method == "POST" && !call.bucket_name.empty() && call.key.empty() &&
         lower(call.header_or_empty("content-type")).starts_with("multipart/form-data");
}

// A form carries its own signature in its fields; its handler checks it.
static Status identify(Call& call) {
  if (is_form(call) || call.http.method == "OPTIONS") return {};
  const GatewaySettings& gateway = call.gateway.settings();
  AuthSettings settings{gateway.region,
                        bucket_of_host(call.http.header("host").value_or(""), gateway)};
  TRY(call.who, authenticate(call.http, call.gateway.users(), settings, call.wall_now()));
  for (auto& header : call.who.query_headers) call.http.headers.push_back(std::move(header));
  return {};
}

bool rests_on_keys(const Error& error) {
  return error.detail == "InvalidAccessKeyId" || error.detail == "SignatureDoesNotMatch";
}

// Nobody is refused because of what this node knows of the keys before the others have said that
// it is all there is: it may be new, or have been away.
static Task<Status> identify_surely(Call& call) {
  Status known = identify(call);
  if (known || !rests_on_keys(known.error())) co_return known;
  CO_TRY_STATUS(co_await call.gateway.users().confirm(call.runtime().clock.after(kConfirmKeys)));
  co_return identify(call);
}

static Reply dispatch(Call& call) {
  CO_TRY_STATUS(read_address(call));
  CO_TRY_STATUS(co_await identify_surely(call));
  if (!call.key.empty()) {
    CO_TRY_STATUS(check_key(call, call.key));
  }
  CO_TRY(Route route, find_route(call));
  if (route.need == Need::kKnown && call.who.identity.anonymous) co_return fail(ErrorCode::kDenied);
  // What concerns the bucket itself must see the last change of it.
  bool listing = route.handler == list_objects || route.handler == list_object_versions;
  Freshness freshness = call.key.empty() && !listing ? Freshness::kNow : Freshness::kCached;
  bool in_bucket = !call.bucket_name.empty() && route.handler != create_bucket;
  if (in_bucket) {
    auto bucket = co_await open_bucket(call, call.bucket_name, route.need,
                                       "x-amz-expected-bucket-owner", freshness);
    if (!bucket) co_return tl::unexpected<Error>(std::move(bucket).error());
    call.bucket = std::move(*bucket);
  }
  if (decided_by_object(route.need)) {
    CO_TRY(std::optional<std::string> version, read_version(call));
    CO_TRY_STATUS(
        co_await check_object(call, call.bucket, call.key, std::move(version), route.need));
  }
  CO_TRY_STATUS(refuse_unsupported(call));
  co_return co_await route.handler(call);
}

static std::string new_request_id(Rng& rng) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  uint64_t word = rng.next();
  std::string id;
  for (int i = 0; i < 16; ++i, word >>= 4) id.push_back(kDigits[word & 15]);
  return id;
}

static void set_common_headers(HttpResponse& reply, const std::string& request_id) {
  reply.set("x-amz-request-id", request_id);
  reply.set("x-amz-id-2", request_id);
  reply.set("Server", "Covey");
}

// The client gets a code and a request id; what failed inside is for the operator.
void Gateway::log_failure(const Call& call, const Error& error) {
  TimePoint now = runtime_.clock.now();
  if (error.code != ErrorCode::kCorrupt && now < next_failure_log_) {
    ++failures_not_logged_;
    return;
  }
  next_failure_log_ = now + kFailureLogEvery;
  std::string others = failures_not_logged_ == 0
                           ? std::string()
                           : fmt::format(" ({} failures before it)", failures_not_logged_);
  failures_not_logged_ = 0;
  log_at(error.code == ErrorCode::kCorrupt ? LogLevel::kError : LogLevel::kWarn,
         "{} {}, request {}: {}{}", call.http.method, call.path, call.request_id, to_string(error),
         others);
}

Task<HttpResponse> Gateway::handle(HttpRequest& request) {
  stats_.requests.fetch_add(1, std::memory_order_relaxed);
  Call call{*this, request, new_request_id(runtime_.rng)};
  auto result = co_await dispatch(call);
  HttpResponse reply = result ? std::move(*result) : error_reply(call, result.error());
  if (!result && reply.status >= 500 && reply.status != 501) log_failure(call, result.error());
  if (reply.status >= 500)
    stats_.server_errors.fetch_add(1, std::memory_order_relaxed);
  else if (reply.status >= 400)
    stats_.client_errors.fetch_add(1, std::memory_order_relaxed);
  // An error instead of "100 Continue" ends the connection, as AWS does: botocore cannot use one
  // again after it (it waits for ever, even when the body it held back was empty).
  if (reply.status >= 400 && request.header("expect")) reply.close = true;
  set_common_headers(reply, call.request_id);
  if (request.method == "HEAD") {
    if (reply.content_length < 0) reply.content_length = static_cast<int64_t>(reply.body.size());
    reply.body = Blob();
    reply.stream.reset();
  }
  co_return reply;
}

static std::string_view refusal_code(int status) {
  switch (status) {
    case 408: return "RequestTimeout";
    case 411: return "MissingContentLength";
    case 413: return "EntityTooLarge";
    case 414: return "InvalidURI";
    case 431: return "RequestHeaderSectionTooLarge";
    case 501:
    case 505: return "NotImplemented";
    case 503: return "SlowDown";
    default: return "BadRequest";
  }
}

HttpResponse Gateway::refuse(int status, std::string_view why) {
  std::string request_id = new_request_id(runtime_.rng);
  XmlWriter xml;
  xml.open("Error");
  xml.element("Code", refusal_code(status));
  xml.element("Message", why);
  xml.element("RequestId", request_id);
  xml.element("HostId", request_id);
  xml.close("Error");
  HttpResponse reply = xml_reply(xml.take());
  reply.status = status;
  reply.close = true;
  set_common_headers(reply, request_id);
  return reply;
}

}  // namespace covey
