// POST object: the policy document a form carries, and its signature.
// Source: AWS, "POST Object" and "Creating a POST policy", S3 API reference.
#include <sodium.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/core/limits.h"
#include "s3gw/auth/auth.h"
#include "s3gw/auth/digests.h"
#include "s3gw/auth/sigv2.h"
#include "s3gw/auth/sigv4.h"

namespace covey {
namespace {

using nlohmann::json;

constexpr size_t kConditionsMax = 256;
constexpr size_t kPolicyDepthMax = 8;

tl::unexpected<Error> denied(std::string message, std::string code = "AccessDenied") {
  return fail(ErrorCode::kDenied, std::move(message), std::move(code));
}
tl::unexpected<Error> bad_document(std::string message) {
  return fail(ErrorCode::kInvalid, "Invalid Policy: " + message, "InvalidPolicyDocument");
}
tl::unexpected<Error> not_met(const std::string& condition) {
  return denied("Invalid according to Policy: Policy Condition failed: " + condition);
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

const std::string* field(const PostForm& form, const std::string& name) {
  auto it = form.fields.find(name);
  return it == form.fields.end() ? nullptr : &it->second;
}

std::optional<std::string> decode_base64(const std::string& text) {
  size_t padding = text.size() >= 2 && text[text.size() - 2] == '=' ? 2
                   : !text.empty() && text.back() == '='            ? 1
                                                                    : 0;
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  return base64_decode(text, text.size() / 4 * 3 - padding);
}

size_t depth_of(const std::string& text) {
  size_t depth = 0, deepest = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && quoted) {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && (text[i] == '[' || text[i] == '{')) {
      deepest = std::max(deepest, ++depth);
    } else if (!quoted && (text[i] == ']' || text[i] == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

Result<json> read_policy(const PostForm& form) {
  const std::string* encoded = field(form, "policy");
  if (!encoded || encoded->size() > 2 * kPolicyBytesMax)
    return bad_document("it is missing or too long.");
  std::string stripped;
  for (char c : *encoded) {
    if (c != '\r' && c != '\n') stripped.push_back(c);
  }
  auto text = decode_base64(stripped);
  if (!text) return bad_document("it is not base64.");
  if (depth_of(*text) > kPolicyDepthMax) return bad_document("it is nested too deeply.");
  json policy = json::parse(*text, nullptr, false);
  if (policy.is_discarded() || !policy.is_object()) return bad_document("Invalid JSON.");
  return policy;
}

// The value a condition is about: a field of the form, or the bucket.
std::optional<std::string> value_of(const PostForm& form, const std::string& name) {
  if (name == "bucket") return form.bucket;
  const std::string* given = field(form, name);
  if (!given) return std::nullopt;
  return *given;
}

Status check_equals(const PostForm& form, const std::string& name, const json& want,
                    std::set<std::string>& covered) {
  if (!want.is_string()) return bad_document("a condition's value is not a string.");
  covered.insert(name);
  auto given = value_of(form, name);
  if (!given || *given != want.get<std::string>()) {
    return not_met("[\"eq\", \"$" + name + "\", \"" + want.get<std::string>() + "\"]");
  }
  return {};
}

Result<uint64_t> size_of(const json& value) {
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    bool digits =
        !text.empty() && text.size() < 19 &&
        std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (digits) return static_cast<uint64_t>(std::stoull(text));
  }
  return bad_document("content-length-range needs two sizes.");
}

Status check_list(const PostForm& form, const json& condition, std::set<std::string>& covered,
                  PostLimits& limits) {
  if (condition.size() != 3 || !condition[0].is_string())
    return bad_document("a condition has not three parts.");
  std::string kind = lower(condition[0].get<std::string>());
  if (kind == "content-length-range") {
    TRY(limits.min_bytes, size_of(condition[1]));
    TRY(limits.max_bytes, size_of(condition[2]));
    limits.has_range = true;
    return {};
  }
  if (!condition[1].is_string() || !condition[2].is_string())
    return bad_document("a condition's parts are not strings.");
  std::string name = lower(condition[1].get<std::string>());
  if (name.empty() || name[0] != '$')
    return bad_document("a condition's field does not start with '$'.");
  name.erase(0, 1);
  if (kind == "eq") return check_equals(form, name, condition[2], covered);
  if (kind != "starts-with") return bad_document("unknown condition \"" + kind + "\".");
  covered.insert(name);
  auto given = value_of(form, name);
  const std::string& prefix = condition[2].get_ref<const std::string&>();
  if (!given || given->compare(0, prefix.size(), prefix) != 0) {
    return not_met("[\"starts-with\", \"$" + name + "\", \"" + prefix + "\"]");
  }
  return {};
}

// Fields that a policy need not name.
bool exempt(const std::string& name) {
  return name == "policy" || name == "x-amz-signature" || name == "signature" ||
         name == "awsaccesskeyid" || name == "file" || name == "bucket" || name == "submit" ||
         name.compare(0, 9, "x-ignore-") == 0;
}

tl::unexpected<Error> missing_field(const char* name) {
  return fail(ErrorCode::kInvalidArgument,
              "Bucket POST must contain a field named '" + std::string(name) + "'.",
              "InvalidArgument");
}

tl::unexpected<Error> unknown_key() {
  return denied("The AWS Access Key Id you provided does not exist in our records.",
                "InvalidAccessKeyId");
}

tl::unexpected<Error> wrong_signature() {
  return denied(
      "The request signature we calculated does not match the signature you provided. Check your "
      "key and "
      "signing method.",
      "SignatureDoesNotMatch");
}

Identity identity_of(const AccessKey& key) {
  return Identity{false, key.access_key, key.user_id, key.display_name, key.create_buckets};
}

// The older form: Base64(HMAC-SHA1(secret key, policy)).
// Source: AWS, "Browser-based uploads using POST (AWS signature version 2)".
Result<Identity> authenticate_post_v2(const PostForm& form, const Users& users,
                                      const std::string& policy) {
  const std::string* access_key = field(form, "awsaccesskeyid");
  const std::string* signature = field(form, "signature");
  if (!access_key) return missing_field("AWSAccessKeyId");
  if (!signature) return missing_field("Signature");
  auto key = users.find(*access_key);
  if (!key) return unknown_key();
  std::string want = sigv2::sign(key->secret_key, policy);
  if (!sigv4::equal(want, *signature)) return wrong_signature();
  return identity_of(*key);
}

}  // namespace

Result<Identity> authenticate_post(const PostForm& form, const Users& users,
                                   const AuthSettings& settings, WallTime now) {
  const std::string* policy = field(form, "policy");
  const std::string* algorithm = field(form, "x-amz-algorithm");
  const std::string* credential_text = field(form, "x-amz-credential");
  const std::string* stamp = field(form, "x-amz-date");
  const std::string* signature = field(form, "x-amz-signature");
  if (!policy && !signature && !field(form, "signature") && !field(form, "awsaccesskeyid"))
    return Identity();
  if (!policy)
    return fail(ErrorCode::kInvalidArgument, "Bucket POST must contain a field named 'policy'.",
                "InvalidArgument");
  if (field(form, "awsaccesskeyid") || field(form, "signature"))
    return authenticate_post_v2(form, users, *policy);
  for (const auto& [value, name] :
       {std::pair(algorithm, "X-Amz-Algorithm"), std::pair(credential_text, "X-Amz-Credential"),
        std::pair(stamp, "X-Amz-Date"), std::pair(signature, "X-Amz-Signature")}) {
    if (!value) return missing_field(name);
  }
  auto credential = sigv4::parse_credential(*credential_text);
  if (*algorithm != sigv4::kAlgorithm || !credential || !sigv4::parse_stamp(*stamp)) {
    return fail(ErrorCode::kInvalidArgument, "The form's signature fields are malformed.",
                "InvalidArgument");
  }
  if (credential->region != settings.region || credential->service != "s3" ||
      credential->terminator != "aws4_request") {
    return fail(ErrorCode::kInvalid,
                "The authorization header is malformed; the region '" + credential->region +
                    "' is wrong; expecting '" + settings.region + "'",
                "AuthorizationHeaderMalformed");
  }
  auto key = users.find(credential->access_key);
  if (!key) return unknown_key();
  std::string signing =
      sigv4::signing_key(key->access_key, key->secret_key, credential->day, credential->region);
  if (!sigv4::equal(sigv4::hmac_hex(signing, *policy), *signature)) {
    return wrong_signature();
  }
  return identity_of(*key);
}

Result<PostLimits> check_post_policy(const PostForm& form, WallTime now) {
  PostLimits limits;
  if (!field(form, "policy")) return limits;
  TRY(json policy, read_policy(form));
  auto expiration = policy.find("expiration");
  if (expiration == policy.end() || !expiration->is_string())
    return bad_document("Policy missing expiration.");
  auto until = sigv4::parse_iso8601(expiration->get<std::string>());
  if (!until) return bad_document("Invalid 'expiration' value.");
  if (until->ms < now.ms) return denied("Invalid according to Policy: Policy expired.");
  auto conditions = policy.find("conditions");
  if (conditions == policy.end() || !conditions->is_array())
    return bad_document("Policy missing conditions.");
  if (conditions->size() > kConditionsMax) return bad_document("too many conditions.");
  std::set<std::string> covered;
  for (const json& condition : *conditions) {
    if (condition.is_array()) {
      TRY_STATUS(check_list(form, condition, covered, limits));
    } else if (condition.is_object() && condition.size() == 1) {
      TRY_STATUS(
          check_equals(form, lower(condition.begin().key()), condition.begin().value(), covered));
    } else {
      return bad_document("Invalid condition.");
    }
  }
  for (const auto& [name, value] : form.fields) {
    if (!covered.contains(name) && !exempt(name)) {
      return denied("Invalid according to Policy: Extra input fields: " + name);
    }
  }
  return limits;
}

}  // namespace covey
