// AWS Signature Version 2, where clients still use it by default: presigned URLs (boto3 and the aws
// CLI make them so in us-east-1) and POST forms. Source: AWS, "Signing and authenticating REST
// requests", Amazon S3 user guide.
#pragma once

#include <string>
#include <string_view>

#include "s3gw/auth/auth.h"

namespace covey::sigv2 {

// Base64(HMAC-SHA1(secret, text)).
std::string sign(std::string_view secret, std::string_view text);

// True when the query claims a signature of this version.
bool claimed(const QueryParams& params);

// Judges a presigned URL. What it carries in the query although it was signed as headers (x-amz-*,
// Content-Type, Content-MD5) comes back as Authenticated.query_headers.
Result<Authenticated> authenticate(const HttpRequest& request, const QueryParams& params,
                                   const Users& users, const AuthSettings& settings, WallTime now);

}  // namespace covey::sigv2
