// Who sent this request, and is its body what was signed? AWS Signature Version 4: header,
// presigned query, streaming (signed, trailer, unsigned-trailer) and POST policy forms. Source:
// AWS, "Authenticating Requests (AWS Signature Version 4)", S3 API reference. Presigned queries and
// forms may also be signed by Version 2 (sigv2.h).
//
// Errors carry AWS's code in Error.detail ("SignatureDoesNotMatch", "RequestTimeTooSkewed", ...);
// s3gw/ops turns it into status and XML.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/async/loop.h"
#include "base/core/result.h"
#include "s3gw/http/http.h"
#include "store/objects/body.h"
#include "store/objects/users.h"

namespace covey {

struct Identity {
  bool anonymous = true;
  std::string access_key, user_id, display_name;
  bool create_buckets = false;
};

// How the body is framed and signed, as x-amz-content-sha256 says.
enum class Payload {
  kUnsigned,          // UNSIGNED-PAYLOAD, or presigned
  kSigned,            // the SHA-256 of the whole body, in hex
  kStreaming,         // STREAMING-AWS4-HMAC-SHA256-PAYLOAD
  kStreamingTrailer,  // STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER
  kUnsignedTrailer,   // STREAMING-UNSIGNED-PAYLOAD-TRAILER
};

struct Authenticated {
  Identity identity;
  Payload payload = Payload::kUnsigned;
  std::string payload_sha256;  // kSigned: 64 hex digits
  std::string signing_key;     // for chunk signatures: derived key, not the secret
  std::string scope, date, seed_signature;
  // Headers that a presigned URL carries in its query; they count as sent.
  std::vector<std::pair<std::string, std::string>> query_headers;
};

struct AuthSettings {
  std::string region = "us-east-1";
  std::string host_bucket;  // the bucket that the Host header names, if it does: Version 2 signs it
};

// The query string of a target, decoded, in order. `present` names without "=" have an empty value.
using QueryParams = std::vector<std::pair<std::string, std::string>>;
Result<QueryParams> parse_query(std::string_view query);
// %XX decoding; kInvalid for a malformed escape.
Result<std::string> percent_decode(std::string_view text);
// AWS's UriEncode: everything but A-Z a-z 0-9 - . _ ~ (and "/" when `keep_slash`).
std::string aws_uri_encode(std::string_view text, bool keep_slash);

// Anonymous when the request carries no credentials at all. Looks at headers and query only; the
// body is checked by the source that open_body() returns.
Result<Authenticated> authenticate(const HttpRequest& request, const Users& users,
                                   const AuthSettings& settings, WallTime now);

// The body of a PUT or UploadPart as the store wants it: unframed (aws-chunked), every signature,
// length, Content-MD5 and x-amz-checksum-* (header or trailer) verified at finish(). MD5, SHA-256
// and checksums run on `cpu`, apart from each other. `default_checksum`: algorithm to compute when
// the client sent none ("" = none). Errors at once: kInvalid with detail InvalidRequest,
// InvalidDigest, MissingContentLength, ...
Result<std::unique_ptr<BodySource>> open_body(HttpRequest& request, const Authenticated& who,
                                              std::string default_checksum, Pool& cpu);

// The whole of a small body (XML, JSON, POST fields), verified like the above. kTooLarge above
// `max_bytes`.
Task<Result<std::string>> read_small_body(HttpRequest& request, Authenticated who, size_t max_bytes,
                                          Pool& cpu);

// Checks a POST form's policy document and signature against its fields (names lower-case).
// `length` is the file's size.
struct PostForm {
  std::map<std::string, std::string> fields;
  std::string bucket;
};
Result<Identity> authenticate_post(const PostForm& form, const Users& users,
                                   const AuthSettings& settings, WallTime now);
struct PostLimits {
  uint64_t min_bytes = 0, max_bytes = 0;  // content-length-range; 0,0: none given
  bool has_range = false;
};
Result<PostLimits> check_post_policy(const PostForm& form, WallTime now);

}  // namespace covey
