#include "s3gw/ops/fields.h"

#include <algorithm>
#include <array>

#include "base/core/limits.h"
#include "s3gw/ops/acl.h"
#include "s3gw/ops/text.h"

namespace covey {

static constexpr size_t kObjectTagsMax = 10;
static constexpr size_t kTagKeyBytesMax = 128 * 4;    // AWS counts characters
static constexpr size_t kTagValueBytesMax = 256 * 4;  // of up to four bytes

static constexpr std::string_view kAlgorithms[] = {"CRC32", "CRC32C", "CRC64NVME", "SHA1",
                                                   "SHA256"};

bool is_checksum_algorithm(std::string_view name) {
  return std::find(std::begin(kAlgorithms), std::end(kAlgorithms), name) != std::end(kAlgorithms);
}

std::string client_checksum_algorithm(const Call& call) {
  std::string trailer = lower(call.header_or_empty("x-amz-trailer"));
  for (std::string_view algorithm : kAlgorithms) {
    std::string name = "x-amz-checksum-" + lower(algorithm);
    if (call.header(name) || trim(trailer) == name) return std::string(algorithm);
  }
  return {};
}

Checksum read_checksum_header(const Call& call) {
  for (std::string_view algorithm : kAlgorithms)
    if (auto value = call.header("x-amz-checksum-" + lower(algorithm)))
      return {std::string(algorithm), std::string(*value),
              call.header_or_empty("x-amz-checksum-type") != "COMPOSITE"};
  return {};
}

static Status check_storage_class(std::string_view name) {
  if (name.empty() || name == "STANDARD") return {};
  static constexpr std::string_view kOther[] = {"REDUCED_REDUNDANCY",
                                                "STANDARD_IA",
                                                "ONEZONE_IA",
                                                "INTELLIGENT_TIERING",
                                                "GLACIER",
                                                "DEEP_ARCHIVE",
                                                "OUTPOSTS",
                                                "GLACIER_IR",
                                                "SNOW",
                                                "EXPRESS_ONEZONE"};
  if (std::find(std::begin(kOther), std::end(kOther), name) != std::end(kOther))
    return s3_error("NotImplemented", "x-amz-storage-class: only STANDARD is implemented.");
  return s3_error("InvalidStorageClass");
}

// Headers of encryption that contradict each other, or say half of what they must.
static Status check_encryption_headers(const Call& call) {
  static constexpr std::string_view kServer = "x-amz-server-side-encryption";
  std::string customer = std::string(kServer) + "-customer-";
  auto algorithm = call.header(customer + "algorithm"), key = call.header(customer + "key"),
       md5 = call.header(customer + "key-md5"), server = call.header(kServer);
  if (server && *server != "AES256" && *server != "aws:kms" && *server != "aws:kms:dsse")
    return s3_error("InvalidArgument", "The encryption method specified is not supported");
  if (server && *server == "AES256" && call.header("x-amz-server-side-encryption-aws-kms-key-id"))
    return s3_error("InvalidArgument",
                    "Server Side Encryption with AWS KMS managed key requires HTTP header "
                    "x-amz-server-side-encryption : aws:kms");
  if (!algorithm && !key && !md5) return {};
  if (server)
    return s3_error("InvalidArgument",
                    "Server Side Encryption with Customer provided key is incompatible with the "
                    "encryption method specified");
  if (!algorithm || !key || !md5)
    return s3_error("InvalidArgument",
                    "Requests specifying Server Side Encryption with Customer provided keys must "
                    "provide an algorithm, a key and the MD5 of the key.");
  return {};
}

Status refuse_unsupported(const Call& call) {
  TRY_STATUS(check_encryption_headers(call));
  for (const auto& [name, value] : call.http.headers) {
    std::string_view n = name;
    if (!n.starts_with("x-amz-")) continue;
    if (n.starts_with("x-amz-server-side-encryption") ||
        n.starts_with("x-amz-copy-source-server-side-encryption"))
      return s3_error("NotImplemented",
                      "Server-side encryption is not implemented: remove the "
                      "header " +
                          name + " from the request.");
    if (n == "x-amz-storage-class") {
      TRY_STATUS(check_storage_class(value));
    }
    if (n.starts_with("x-amz-object-lock-"))
      return s3_error("InvalidRequest", "Bucket is missing Object Lock Configuration");
    if (n == "x-amz-bucket-object-lock-enabled" && lower(value) != "false")
      return s3_error("NotImplemented", "Object lock is not implemented.");
    if (n == "x-amz-object-ownership" && value != "BucketOwnerEnforced")
      return s3_error("NotImplemented",
                      "x-amz-object-ownership: only BucketOwnerEnforced is implemented.");
    if (n == "x-amz-write-offset-bytes")
      return s3_error("NotImplemented", "Appending to objects is not implemented.");
  }
  return {};
}

static std::vector<std::string> read_etags(const Call& call, const std::string& name) {
  std::vector<std::string> etags;
  auto value = call.http.joined(name);
  if (!value) return etags;
  std::string_view rest = *value;
  while (!rest.empty()) {
    size_t comma = rest.find(',');
    std::string_view etag = unquote_etag(rest.substr(0, comma));
    if (!etag.empty()) etags.emplace_back(etag);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  // Present but empty: matches nothing, so that it is never taken for absent.
  if (etags.empty()) etags.emplace_back("\"");
  return etags;
}

Conditions read_conditions(const Call& call, std::string_view prefix) {
  std::string p(prefix);
  Conditions c;
  c.if_match = read_etags(call, p + "if-match");
  c.if_none_match = read_etags(call, p + "if-none-match");
  if (auto date = call.header(p + "if-modified-since")) c.if_modified_since = parse_date(*date);
  if (auto date = call.header(p + "if-unmodified-since")) c.if_unmodified_since = parse_date(*date);
  return c;
}

Conditions read_write_conditions(const Call& call) {
  Conditions c;
  c.if_match = read_etags(call, "if-match");
  c.if_none_match = read_etags(call, "if-none-match");
  return c;
}

bool is_conditional(const Call& call) {
  return call.header("if-match") || call.header("if-none-match");
}

std::optional<RangeSpec> read_range(std::string_view header) {
  header = trim(header);
  if (lower(header.substr(0, 6)) != "bytes=") return std::nullopt;
  header.remove_prefix(6);
  size_t dash = header.find('-');
  if (dash == std::string_view::npos || header.find(',') != std::string_view::npos)
    return std::nullopt;
  std::string_view from = trim(header.substr(0, dash)), to = trim(header.substr(dash + 1));
  RangeSpec range;
  if (from.empty()) {
    range.suffix = parse_number(to);
    return range.suffix ? std::optional(range) : std::nullopt;
  }
  range.first = parse_number(from);
  if (!to.empty()) range.last = parse_number(to);
  bool good = range.first && (to.empty() || (range.last && *range.last >= *range.first));
  return good ? std::optional(range) : std::nullopt;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Form decoding: x-amz-tagging is a query string, where "+" is a space.
static std::optional<std::string> form_decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i] == '+' ? ' ' : text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

Status check_tags(const std::map<std::string, std::string>& tags, size_t most) {
  if (tags.size() > most)
    return s3_error("InvalidTag", "Tags cannot be more than " + std::to_string(most) + ".");
  for (const auto& [key, value] : tags) {
    if (key.empty() || key.size() > kTagKeyBytesMax)
      return s3_error("InvalidTag", "The TagKey you have provided is invalid");
    if (value.size() > kTagValueBytesMax)
      return s3_error("InvalidTag", "The TagValue you have provided is invalid");
    size_t chars = 0, value_chars = 0;
    for (char c : key) chars += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    for (char c : value) value_chars += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (chars > 128) return s3_error("InvalidTag", "The TagKey you have provided is invalid");
    if (value_chars > 256)
      return s3_error("InvalidTag", "The TagValue you have provided is invalid");
    if (!is_utf8(key) || !is_utf8(value)) return s3_error("InvalidTag");
  }
  return {};
}

Result<std::map<std::string, std::string>> parse_tag_header(std::string_view text) {
  std::map<std::string, std::string> tags;
  while (!text.empty()) {
    size_t end = text.find('&');
    std::string_view pair = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (pair.empty()) continue;
    size_t equals = pair.find('=');
    auto key = form_decode(pair.substr(0, equals));
    auto value = form_decode(equals == std::string_view::npos ? "" : pair.substr(equals + 1));
    if (!key || !value)
      return s3_error("InvalidArgument",
                      "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL "
                      "query parameters without tag name duplicates.");
    if (!tags.emplace(*key, *value).second)
      return s3_error("InvalidArgument",
                      "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL "
                      "query parameters without tag name duplicates.");
  }
  TRY_STATUS(check_tags(tags, kObjectTagsMax));
  return tags;
}

// aws-chunked describes the transfer, not the object.
static std::string without_aws_chunked(std::string_view value) {
  std::string kept;
  while (!value.empty()) {
    size_t comma = value.find(',');
    std::string_view coding = trim(value.substr(0, comma));
    value = comma == std::string_view::npos ? std::string_view() : value.substr(comma + 1);
    if (coding.empty() || lower(coding) == "aws-chunked") continue;
    if (!kept.empty()) kept += ", ";
    kept += coding;
  }
  return kept;
}

Result<ObjectAttributes> read_attributes(Call& call) {
  static constexpr std::string_view kKept[] = {"content-type",
                                               "cache-control",
                                               "content-disposition",
                                               "content-encoding",
                                               "content-language",
                                               "expires",
                                               "x-amz-website-redirect-location"};
  ObjectAttributes attributes;
  attributes.owner = maker(call);
  TRY(attributes.acl, read_new_acl(call));
  size_t metadata_bytes = 0;
  for (const auto& [name, value] : call.http.headers) {
    if (has_control(value)) return s3_error("InvalidArgument", "A header holds a line break.");
    if (name.starts_with("x-amz-meta-")) {
      std::string key = name.substr(11);
      metadata_bytes += key.size() + value.size();
      auto [it, fresh] = attributes.user_metadata.emplace(key, value);
      if (!fresh) it->second += "," + value;
    } else if (std::find(std::begin(kKept), std::end(kKept), name) != std::end(kKept)) {
      std::string kept = name == "content-encoding" ? without_aws_chunked(value) : value;
      if (!kept.empty()) attributes.headers[name] = kept;
    }
  }
  if (metadata_bytes > kUserMetadataBytesMax) return s3_error("MetadataTooLarge");
  if (auto tagging = call.header("x-amz-tagging")) {
    TRY(attributes.tags, parse_tag_header(*tagging));
  }
  return attributes;
}

Result<std::optional<std::string>> read_version(Call& call) {
  const std::string* given = call.param("versionId");
  if (!given) return std::optional<std::string>();
  if (*given == "null" || VersionId::from_hex(*given)) return std::optional<std::string>(*given);
  return call.bad_argument("Invalid version id specified", "versionId", *given);
}

Result<uint32_t> read_part_number(Call& call) {
  const std::string* given = call.param("partNumber");
  if (!given) return 0u;
  auto number = parse_number(*given);
  if (number && *number >= 1 && *number <= kPartNumberMax) return static_cast<uint32_t>(*number);
  return call.bad_argument("Part number must be an integer between 1 and 10000, inclusive",
                           "partNumber", *given);
}

Result<UploadId> read_upload_id(Call& call) {
  const std::string* given = call.param("uploadId");
  auto id = given ? UploadId::from_hex(*given) : std::nullopt;
  if (!id) return fail(ErrorCode::kNoSuchUpload);
  return *id;
}

Result<size_t> read_limit(Call& call, std::string_view name, size_t most) {
  const std::string* given = call.param(name);
  if (!given || given->empty()) return most;
  auto number = parse_number(*given);
  if (!number || *number > 2147483647)
    return call.bad_argument(
        "Argument " + std::string(name) + " must be an integer between 0 and 2147483647",
        std::string(name), *given);
  return std::min<size_t>(*number, most);
}

Result<bool> read_encoding(Call& call) {
  const std::string* given = call.param("encoding-type");
  if (!given || given->empty()) return false;
  if (lower(*given) == "url") return true;
  return call.bad_argument("Invalid Encoding Method specified in Request", "encoding-type", *given);
}

Result<CopySource> read_copy_source(Call& call) {
  std::string_view given = call.header("x-amz-copy-source").value_or("");
  CopySource source;
  size_t mark = given.rfind("?versionId=");
  if (mark != std::string_view::npos) {
    source.version = std::string(given.substr(mark + 11));
    given = given.substr(0, mark);
    if (*source.version != "null" && !VersionId::from_hex(*source.version))
      return call.bad_argument("Invalid version id specified", "x-amz-copy-source",
                               *source.version);
  }
  auto decoded = percent_decode(given);
  std::string_view path = decoded ? std::string_view(*decoded) : given;
  if (path.starts_with("/")) path.remove_prefix(1);
  size_t slash = path.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == path.size())
    return call.bad_argument(
        "Copy Source must mention the source bucket and key: "
        "sourcebucket/sourcekey",
        "x-amz-copy-source", std::string(given));
  source.bucket = path.substr(0, slash);
  source.key = path.substr(slash + 1);
  return source;
}

Status check_key(Call& call, std::string_view key) {
  if (key.size() > kObjectKeyBytesMax) {
    call.error_elements.emplace_back("Size", std::to_string(key.size()));
    call.error_elements.emplace_back("MaxSizeAllowed", std::to_string(kObjectKeyBytesMax));
    return s3_error("KeyTooLongError");
  }
  if (!is_utf8(key) || key.find('\0') != std::string_view::npos) return s3_error("InvalidURI");
  return {};
}

}  // namespace covey
