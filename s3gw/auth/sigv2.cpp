#include "s3gw/auth/sigv2.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstdlib>

#include "s3gw/auth/digests.h"
#include "s3gw/auth/sigv4.h"

namespace covey::sigv2 {
namespace {

// The parameters that are part of the resource: all that tell operations apart or change the
// answer's headers. A client that leaves one out of its signature is refused, not served another
// operation than it signed. In the order of their bytes, as they are signed.
constexpr std::string_view kSignedParams[] = {
    "accelerate",
    "acl",
    "analytics",
    "append",
    "attributes",
    "cors",
    "defaultObjectAcl",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
};
static_assert(std::is_sorted(std::begin(kSignedParams), std::end(kSignedParams)));

tl::unexpected<Error> denied(std::string message) {
  return fail(ErrorCode::kDenied, std::move(message), "AccessDenied");
}

const std::string* find(const QueryParams& params, std::string_view name) {
  for (const auto& [key, value] : params)
    if (key == name) return &value;
  return nullptr;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

using Headers = std::vector<std::pair<std::string, std::string>>;

// Nothing that could not have stood in a header: a line break would end it in a later answer.
bool is_header_value(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  });
}

// What was signed as a header and is sent in the query. A header of the same name wins.
Result<Headers> headers_in_query(const HttpRequest& request, const QueryParams& params) {
  Headers found;
  for (const auto& [key, value] : params) {
    std::string name = lower(key);
    bool is_header = name.starts_with("x-amz-") || name == "content-type" || name == "content-md5";
    if (!is_header || request.header(name)) continue;
    if (!is_header_value(value)) return denied("The parameter " + name + " has control characters");
    found.emplace_back(std::move(name), value);
  }
  return found;
}

// "name:value\n" for every x-amz-* header, in order; the values of one name joined by commas.
std::string canonical_headers(const HttpRequest& request, const Headers& from_query) {
  Headers all;
  for (const Headers* headers : {&request.headers, &from_query})
    for (const auto& header : *headers)
      if (header.first.starts_with("x-amz-")) all.push_back(header);
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string text;
  for (size_t i = 0; i < all.size(); ++i) {
    bool same = i > 0 && all[i].first == all[i - 1].first;
    if (same) {
      text.back() = ',';
    } else {
      text.append(all[i].first).append(":");
    }
    text.append(all[i].second).append("\n");
  }
  return text;
}

std::string resource_path(const HttpRequest& request, const std::string& host_bucket) {
  std::string text = host_bucket.empty() ? "" : "/" + host_bucket;
  return text.append(std::string_view(request.target).substr(0, request.target.find('?')));
}

std::string signed_params(const QueryParams& params) {
  std::string text;
  char separator = '?';
  for (std::string_view name : kSignedParams) {
    for (const auto& [key, value] : params) {
      if (key != name) continue;
      text.append(1, separator).append(name);
      if (!value.empty()) text.append("=").append(value);
      separator = '&';
    }
  }
  return text;
}

std::string header_value(const HttpRequest& request, const Headers& from_query,
                         std::string_view name) {
  if (auto given = request.header(name)) return std::string(*given);
  for (const auto& [key, value] : from_query)
    if (key == name) return value;
  return {};
}

}  // namespace

std::string sign(std::string_view secret, std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(EVP_sha1(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
  return base64_encode({reinterpret_cast<const char*>(digest), size});
}

bool claimed(const QueryParams& params) {
  return find(params, "AWSAccessKeyId") || find(params, "Signature");
}

Result<Authenticated> authenticate(const HttpRequest& request, const QueryParams& params,
                                   const Users& users, const AuthSettings& settings, WallTime now) {
  const std::string* access_key = find(params, "AWSAccessKeyId");
  const std::string* signature = find(params, "Signature");
  const std::string* expires = find(params, "Expires");
  if (!access_key || !signature || !expires) {
    return denied(
        "Query-string authentication requires the Signature, Expires and AWSAccessKeyId "
        "parameters");
  }
  char* end = nullptr;
  long long until_s = std::strtoll(expires->c_str(), &end, 10);
  if (expires->empty() || *end != '\0')
    return denied("Invalid date (should be seconds since epoch): " + *expires);
  if (until_s < now.ms / 1000) return denied("Request has expired");
  auto key = users.find(*access_key);
  if (!key) {
    return fail(ErrorCode::kDenied,
                "The AWS Access Key Id you provided does not exist in our records.",
                "InvalidAccessKeyId");
  }
  Authenticated out;
  TRY(out.query_headers, headers_in_query(request, params));
  std::string text = request.method + "\n" +
                     header_value(request, out.query_headers, "content-md5") + "\n" +
                     header_value(request, out.query_headers, "content-type") + "\n" + *expires +
                     "\n" + canonical_headers(request, out.query_headers);
  std::string path = resource_path(request, settings.host_bucket), rest = signed_params(params);
  auto matches = [&](const std::string& resource) {
    return sigv4::equal(sign(key->secret_key, text + resource + rest), *signature);
  };
  // A bucket is signed as "/b/", the form it has where a host names it; some sign the path as sent.
  bool only_bucket = path.size() > 1 && path.find('/', 1) == std::string::npos;
  if (!matches(path) && !(only_bucket && matches(path + "/"))) {
    return fail(ErrorCode::kDenied,
                "The request signature we calculated does not match the signature you provided. "
                "Check your key and signing method.",
                "SignatureDoesNotMatch");
  }
  out.identity = {false, key->access_key, key->user_id, key->display_name, key->create_buckets};
  return out;
}

}  // namespace covey::sigv2
