// authenticate(): the signature of a request's head, in the Authorization header or in the query.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <set>

#include "base/core/limits.h"
#include "s3gw/auth/auth.h"
#include "s3gw/auth/sigv2.h"
#include "s3gw/auth/sigv4.h"

namespace covey {
namespace {

constexpr int64_t kSkewMsMax = 15 * 60 * 1000;
constexpr int64_t kExpiresSecondsMax = 7 * 24 * 3600;

tl::unexpected<Error> denied(std::string detail, std::string message) {
  return fail(ErrorCode::kDenied, std::move(message), std::move(detail));
}

tl::unexpected<Error> wrong_signature() {
  return denied("SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. "
                "Check your key and "
                "signing method.");
}

// What either form of a signature says.
struct Claim {
  sigv4::Credential credential;
  std::vector<std::string> signed_headers;
  std::string signature, stamp;
  bool presigned = false;
};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string trimmed(std::string_view value) {
  std::string out;
  bool space = false;
  for (char c : value) {
    if (c == ' ' || c == '\t') {
      space = !out.empty();
      continue;
    }
    if (space) out.push_back(' ');
    space = false;
    out.push_back(c);
  }
  return out;
}

std::string canonical_query(const QueryParams& params) {
  std::vector<std::pair<std::string, std::string>> encoded;
  for (const auto& [name, value] : params) {
    if (name == "X-Amz-Signature") continue;
    encoded.emplace_back(aws_uri_encode(name, false), aws_uri_encode(value, false));
  }
  std::sort(encoded.begin(), encoded.end());
  std::string text;
  for (const auto& [name, value] : encoded) {
    if (!text.empty()) text.push_back('&');
    text.append(name).append("=").append(value);
  }
  return text;
}

Result<std::string> canonical_request(const HttpRequest& request, const Claim& claim,
                                      const QueryParams& params, std::string_view payload) {
  std::string_view path = std::string_view(request.target).substr(0, request.target.find('?'));
  TRY(std::string decoded, percent_decode(path));
  std::string text = request.method;
  text.append("\n").append(aws_uri_encode(decoded, true)).append("\n");
  text.append(canonical_query(params)).append("\n");
  std::string names;
  for (const std::string& name : claim.signed_headers) {
    text.append(name).append(":");
    bool first = true;
    for (const auto& [key, value] : request.headers) {
      if (key != name) continue;
      if (!first) text.push_back(',');
      first = false;
      text.append(trimmed(value));
    }
    text.push_back('\n');
    if (!names.empty()) names.push_back(';');
    names.append(name);
  }
  text.append("\n").append(names).append("\n").append(payload);
  return text;
}

// Every x-amz-* header must be covered, or somebody on the way could add one.
Status check_signed_headers(const HttpRequest& request, const Claim& claim) {
  std::set<std::string_view> covered(claim.signed_headers.begin(), claim.signed_headers.end());
  // Else one long header, named a thousand times, would make a canonical request of any size.
  if (covered.size() != claim.signed_headers.size() || covered.size() > kHttpHeadersMax) {
    return fail(
        ErrorCode::kInvalid, "SignedHeaders must name each signed header once",
        claim.presigned ? "AuthorizationQueryParametersError" : "AuthorizationHeaderMalformed");
  }
  if (!covered.contains("host")) return denied("AccessDenied", "The host header must be signed");
  for (const auto& [name, value] : request.headers) {
    bool sensitive =
        name.compare(0, 6, "x-amz-") == 0 && !(claim.presigned && name == "x-amz-content-sha256");
    if (sensitive && !covered.contains(name)) {
      return denied("AccessDenied",
                    "There were headers present in the request which were not signed: " + name);
    }
  }
  return {};
}

Status check_scope(const Claim& claim, const AuthSettings& settings) {
  const char* code =
      claim.presigned ? "AuthorizationQueryParametersError" : "AuthorizationHeaderMalformed";
  std::string lead = claim.presigned ? "Error parsing the X-Amz-Credential parameter; "
                                     : "The authorization header is malformed; ";
  const sigv4::Credential& given = claim.credential;
  auto malformed = [&](std::string what) { return fail(ErrorCode::kInvalid, lead + what, code); };
  if (given.region != settings.region) {
    return malformed("the region '" + given.region + "' is wrong; expecting '" + settings.region +
                     "'");
  }
  if (given.service != "s3")
    return malformed("incorrect service \"" + given.service +
                     "\". This endpoint belongs to \"s3\".");
  if (given.terminator != "aws4_request") {
    return malformed("incorrect terminal \"" + given.terminator +
                     "\". This endpoint uses \"aws4_request\".");
  }
  if (given.day != claim.stamp.substr(0, 8)) {
    return malformed("Invalid credential date \"" + given.day +
                     "\". This date is not the same as X-Amz-Date: \"" + claim.stamp.substr(0, 8) +
                     "\".");
  }
  return {};
}

Result<Claim> header_claim(const HttpRequest& request, std::string_view authorization) {
  auto malformed = [](std::string what) {
    return fail(ErrorCode::kInvalid, "The authorization header is malformed; " + what,
                "AuthorizationHeaderMalformed");
  };
  if (authorization.compare(0, sigv4::kAlgorithm.size(), sigv4::kAlgorithm) != 0) {
    if (authorization.compare(0, 4, "AWS ") == 0) {
      return fail(ErrorCode::kInvalid,
                  "The authorization mechanism you have provided is not supported. Please use "
                  "AWS4-HMAC-SHA256.",
                  "InvalidRequest");
    }
    return fail(ErrorCode::kInvalid, "Unsupported Authorization Type", "InvalidArgument");
  }
  Claim claim;
  std::string_view rest = authorization.substr(sigv4::kAlgorithm.size());
  for (const std::string& field : split(rest, ',')) {
    std::string text = trimmed(field);
    size_t equals = text.find('=');
    if (equals == std::string::npos) return malformed("a component has no '='");
    std::string name = text.substr(0, equals), value = text.substr(equals + 1);
    if (name == "Credential") {
      auto credential = sigv4::parse_credential(value);
      if (!credential) {
        return malformed(
            "the Credential is mal-formed; expecting "
            "\"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".");
      }
      claim.credential = *credential;
    } else if (name == "SignedHeaders") {
      claim.signed_headers = split(value, ';');
    } else if (name == "Signature") {
      claim.signature = value;
    }
  }
  if (claim.credential.access_key.empty()) return malformed("missing Credential.");
  if (claim.signed_headers.empty()) return malformed("missing SignedHeaders.");
  if (claim.signature.empty()) return malformed("missing Signature.");
  auto stamp = request.header("x-amz-date");
  if (stamp) {
    claim.stamp = std::string(*stamp);
  } else if (auto date = request.header("date")) {
    claim.stamp = sigv4::stamp_of_http_date(*date).value_or(std::string(*date));
  }
  if (!sigv4::parse_stamp(claim.stamp)) {
    return denied("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header");
  }
  return claim;
}

const std::string* find(const QueryParams& params, std::string_view name) {
  for (const auto& [key, value] : params) {
    if (key == name) return &value;
  }
  return nullptr;
}

Result<Claim> query_claim(const QueryParams& params, WallTime now) {
  auto bad = [](std::string what) {
    return fail(ErrorCode::kInvalid, std::move(what), "AuthorizationQueryParametersError");
  };
  for (const char* name : {"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date",
                           "X-Amz-SignedHeaders", "X-Amz-Expires"}) {
    if (!find(params, name)) {
      return bad(
          "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
          "X-Amz-Signature, "
          "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.");
    }
  }
  if (*find(params, "X-Amz-Algorithm") != sigv4::kAlgorithm) {
    return bad("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"");
  }
  Claim claim;
  claim.presigned = true;
  auto credential = sigv4::parse_credential(*find(params, "X-Amz-Credential"));
  if (!credential) {
    return bad(
        "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "
        "\"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".");
  }
  claim.credential = *credential;
  claim.signed_headers = split(*find(params, "X-Amz-SignedHeaders"), ';');
  claim.signature = *find(params, "X-Amz-Signature");
  claim.stamp = *find(params, "X-Amz-Date");
  auto made = sigv4::parse_stamp(claim.stamp);
  if (!made) return bad("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"");
  const std::string& text = *find(params, "X-Amz-Expires");
  char* end = nullptr;
  long long expires = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0') return bad("X-Amz-Expires should be a number");
  // A period that no URL may have: it is malformed, and in any case no authorization.
  if (expires < 1) return denied("AccessDenied", "X-Amz-Expires must be at least 1 second");
  if (expires > kExpiresSecondsMax) {
    return denied(
        "AccessDenied",
        "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires "
        "must be less than "
        "604800 seconds");
  }
  if (made->ms > now.ms + kSkewMsMax) return denied("AccessDenied", "Request is not yet valid");
  if (now.ms > made->ms + expires * 1000) return denied("AccessDenied", "Request has expired");
  return claim;
}

bool is_hex64(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
         });
}

Status read_payload_mode(std::string_view given, Authenticated& out) {
  if (given == "UNSIGNED-PAYLOAD") {
    out.payload = Payload::kUnsigned;
  } else if (given == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD") {
    out.payload = Payload::kStreaming;
  } else if (given == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER") {
    out.payload = Payload::kStreamingTrailer;
  } else if (given == "STREAMING-UNSIGNED-PAYLOAD-TRAILER") {
    out.payload = Payload::kUnsignedTrailer;
  } else if (is_hex64(given)) {
    out.payload = Payload::kSigned;
    out.payload_sha256 = std::string(given);
    std::transform(out.payload_sha256.begin(), out.payload_sha256.end(), out.payload_sha256.begin(),
                   [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
  } else if (given.compare(0, 10, "STREAMING-") == 0) {
    return fail(ErrorCode::kNotImplemented, "this payload signing is not supported",
                "NotImplemented");
  } else {
    return fail(
        ErrorCode::kInvalidArgument,
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid "
        "sha256 value.",
        "InvalidArgument");
  }
  return {};
}

// Chunks are signed under a key of Version 4, which this sender has not shown to know.
Result<Authenticated> without_signed_chunks(Authenticated who) {
  bool signed_chunks =
      who.payload == Payload::kStreaming || who.payload == Payload::kStreamingTrailer;
  if (signed_chunks) return denied("AccessDenied", "Access Denied");
  return who;
}

}  // namespace

Result<Authenticated> authenticate(const HttpRequest& request, const Users& users,
                                   const AuthSettings& settings, WallTime now) {
  size_t mark = request.target.find('?');
  QueryParams params;
  if (mark != std::string::npos) {
    TRY(params, parse_query(std::string_view(request.target).substr(mark + 1)));
  }
  auto authorization = request.header("authorization");
  auto content_sha256 = request.header("x-amz-content-sha256");
  bool in_query = find(params, "X-Amz-Algorithm") || find(params, "X-Amz-Signature") ||
                  find(params, "X-Amz-Credential");
  bool old_query = sigv2::claimed(params);
  if (authorization ? in_query || old_query : in_query && old_query) {
    return fail(ErrorCode::kInvalidArgument,
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
                "Signature query string "
                "parameter or the Authorization header should be specified",
                "InvalidArgument");
  }
  Authenticated out;
  if (old_query) {
    TRY(out, sigv2::authenticate(request, params, users, settings, now));
    if (content_sha256) {
      TRY_STATUS(read_payload_mode(*content_sha256, out));
    }
    return without_signed_chunks(std::move(out));
  }
  if (!authorization && !in_query) {
    if (content_sha256) {
      TRY_STATUS(read_payload_mode(*content_sha256, out));
    }
    return without_signed_chunks(std::move(out));
  }
  TRY(Claim claim,
      authorization ? header_claim(request, *authorization) : query_claim(params, now));
  TRY_STATUS(check_scope(claim, settings));
  if (!claim.presigned) {
    int64_t skew = sigv4::parse_stamp(claim.stamp)->ms - now.ms;
    if (skew > kSkewMsMax || skew < -kSkewMsMax) {
      return denied("RequestTimeTooSkewed",
                    "The difference between the request time and the current time is too large.");
    }
    if (!content_sha256) {
      return fail(ErrorCode::kInvalid,
                  "Missing required header for this request: x-amz-content-sha256",
                  "InvalidRequest");
    }
  }
  std::string payload = content_sha256 ? std::string(*content_sha256) : "UNSIGNED-PAYLOAD";
  TRY_STATUS(read_payload_mode(payload, out));
  auto key = users.find(claim.credential.access_key);
  if (!key) {
    return denied("InvalidAccessKeyId",
                  "The AWS Access Key Id you provided does not exist in our records.");
  }
  TRY_STATUS(check_signed_headers(request, claim));
  TRY(std::string canonical, canonical_request(request, claim, params, payload));
  out.scope = claim.credential.scope();
  out.date = claim.stamp;
  out.signing_key = sigv4::signing_key(key->access_key, key->secret_key, claim.credential.day,
                                       claim.credential.region);
  std::string to_sign(sigv4::kAlgorithm);
  to_sign.append("\n").append(out.date).append("\n").append(out.scope).append("\n").append(
      sigv4::sha256_hex(canonical));
  out.seed_signature = sigv4::hmac_hex(out.signing_key, to_sign);
  if (!sigv4::equal(out.seed_signature, claim.signature)) return wrong_signature();
  out.identity = {false, key->access_key, key->user_id, key->display_name, key->create_buckets};
  return out;
}

}  // namespace covey
