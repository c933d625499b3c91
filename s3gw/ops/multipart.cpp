// CreateMultipartUpload, UploadPart, UploadPartCopy, CompleteMultipartUpload, AbortMultipartUpload.
#include "base/core/limits.h"
#include "s3gw/ops/acl.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/reply.h"
#include "s3gw/ops/text.h"

namespace covey {

// ---- CreateMultipartUpload

// x-amz-checksum-algorithm and -type: CRC64NVME is of the full object only, SHA composite only.
static Status read_checksum_plan(Call& call, CreateUploadRequest& request) {
  std::string algorithm = call.header_or_empty("x-amz-checksum-algorithm");
  std::string type = call.header_or_empty("x-amz-checksum-type");
  if (algorithm.empty()) {
    if (type.empty()) return {};
    return s3_error("InvalidRequest",
                    "The x-amz-checksum-type header can only be used with the "
                    "x-amz-checksum-algorithm header.");
  }
  for (char& c : algorithm)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  if (!is_checksum_algorithm(algorithm))
    return s3_error("InvalidRequest",
                    "Checksum algorithm provided is unsupported. Please try again "
                    "with any of the valid types: [CRC32, CRC32C, CRC64NVME, "
                    "SHA1, SHA256]");
  if (!type.empty() && type != "COMPOSITE" && type != "FULL_OBJECT")
    return s3_error("InvalidRequest", "Value for x-amz-checksum-type header is invalid.");
  bool sha = algorithm.starts_with("SHA"), crc64 = algorithm == "CRC64NVME";
  if ((sha && type == "FULL_OBJECT") || (crc64 && type == "COMPOSITE"))
    return s3_error("InvalidRequest", "The " + type + " checksum type cannot be used with the " +
                                          lower(algorithm) + " checksum algorithm.");
  request.checksum_full_object = crc64 || type == "FULL_OBJECT";
  request.checksum_algorithm = std::move(algorithm);
  return {};
}

static std::string checksum_type(const CreateUploadRequest& request) {
  return request.checksum_full_object ? "FULL_OBJECT" : "COMPOSITE";
}

Reply create_multipart_upload(Call& call) {
  CreateUploadRequest request;
  request.bucket = call.bucket_name;
  request.key = call.key;
  request.initiator = maker(call);
  CO_TRY(request.attributes, read_attributes(call));
  CO_TRY_STATUS(read_checksum_plan(call, request));
  CreateUploadRequest sent = request;
  CO_TRY(UploadInfo made, co_await call.store().create_upload(std::move(sent), call.soon()));
  XmlWriter xml("InitiateMultipartUploadResult");
  xml.element("Bucket", call.bucket_name);
  xml.element("Key", call.key);
  xml.raw_element("UploadId", made.id.hex());
  HttpResponse reply = xml_reply(xml.take());
  if (!request.checksum_algorithm.empty()) {
    reply.set("x-amz-checksum-algorithm", request.checksum_algorithm);
    reply.set("x-amz-checksum-type", checksum_type(request));
  }
  co_return reply;
}

// ---- UploadPart, UploadPartCopy

// bytes=first-last, both given: AWS is stricter here than with Range.
static Result<std::optional<RangeSpec>> read_copy_range(Call& call) {
  auto header = call.header("x-amz-copy-source-range");
  if (!header) return std::optional<RangeSpec>();
  auto range = read_range(*header);
  if (range && range->first && range->last) return range;
  return call.bad_argument(
      "The x-amz-copy-source-range value must be of the form bytes=first-last "
      "where first and last are the zero-based offsets of the first and last "
      "bytes to copy",
      "x-amz-copy-source-range", std::string(*header));
}

static Reply upload_part_copy(Call& call, UploadPartRequest to) {
  CO_TRY(CopySource source, read_copy_source(call));
  CO_TRY(Bucket from, co_await open_bucket(call, source.bucket, Need::kReadObject,
                                           "x-amz-source-expected-bucket-owner"));
  CO_TRY_STATUS(co_await check_object(call, from, source.key, source.version, Need::kReadObject));
  CopyPartRequest request;
  request.to = std::move(to);
  request.source_bucket = std::move(source.bucket);
  request.source_key = std::move(source.key);
  request.source_version = source.version;
  request.source_conditions = read_conditions(call, "x-amz-copy-source-");
  CO_TRY(request.range, read_copy_range(call));
  auto range = request.range;
  auto copied = co_await call.store().copy_part(std::move(request), call.long_after());
  if (!copied) {
    Error error = std::move(copied).error();
    if (error.code == ErrorCode::kNotModified) error.code = ErrorCode::kPreconditionFailed;
    if (error.code == ErrorCode::kInvalidRange && range) {
      error.detail = "InvalidRange";
      error.message = "The requested range is not valid for the source object.";
    }
    co_return tl::unexpected<Error>(std::move(error));
  }
  XmlWriter xml("CopyPartResult");
  xml.element("ETag", quoted(copied->etag));
  xml.raw_element("LastModified", iso8601(copied->modified));
  write_checksum(xml, copied->checksum, false);
  HttpResponse reply = xml_reply(xml.take());
  if (source.version) reply.set("x-amz-copy-source-version-id", *source.version);
  co_return reply;
}

// A part's checksum is of the upload's algorithm, or of any when the upload named none.
static Status check_part_algorithm(const UploadInfo& upload, const std::string& given) {
  if (given.empty() || upload.checksum_algorithm.empty() || given == upload.checksum_algorithm)
    return {};
  return s3_error("InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: " +
                                        lower(upload.checksum_algorithm) +
                                        ", actual checksum Type: " + lower(given));
}

Reply upload_part(Call& call) {
  UploadPartRequest request;
  request.bucket = call.bucket_name;
  request.key = call.key;
  CO_TRY(request.number, read_part_number(call));
  if (request.number == 0)
    co_return s3_error("InvalidArgument", "This operation needs the query parameter partNumber.");
  CO_TRY(request.upload, read_upload_id(call));
  if (call.header("x-amz-copy-source"))
    co_return co_await upload_part_copy(call, std::move(request));
  CO_TRY(UploadInfo upload,
         co_await call.store().upload(call.bucket_name, call.key, request.upload, call.soon()));
  CO_TRY_STATUS(check_part_algorithm(upload, client_checksum_algorithm(call)));
  CO_TRY(auto body, open_body(call.http, call.who, upload.checksum_algorithm, call.runtime().cpu));
  if (body->declared_bytes() > static_cast<int64_t>(kPutBytesMax))
    co_return s3_error("EntityTooLarge");
  CO_TRY(PartInfo part,
         co_await call.store().upload_part(std::move(request), *body, call.long_after()));
  HttpResponse reply = empty_reply(200);
  reply.set("ETag", quoted(part.etag));
  if (!part.checksum.value.empty())
    reply.set("x-amz-checksum-" + lower(part.checksum.algorithm), part.checksum.value);
  co_return reply;
}

// ---- CompleteMultipartUpload

static Result<CompletePart> read_part(Call& call, const XmlNode& node) {
  CompletePart part;
  auto number = parse_number(node.value("PartNumber"));
  if (!number || !node.child("ETag")) return s3_error("MalformedXML");
  if (*number < 1 || *number > kPartNumberMax)
    return call.bad_argument("PartNumber must be >= 1 and <= 10000", "partNumber",
                             std::string(node.value("PartNumber")));
  part.number = static_cast<uint32_t>(*number);
  part.etag = unquote_etag(node.value("ETag"));
  for (const XmlNode& child : node.children) {
    if (!child.name.starts_with("Checksum")) continue;
    std::string algorithm = child.name.substr(8);
    if (!is_checksum_algorithm(algorithm)) return s3_error("MalformedXML");
    part.checksum = {algorithm, std::string(trim_space(child.text)), true};
  }
  return part;
}

static Result<std::vector<CompletePart>> read_parts(Call& call, std::string_view body) {
  if (body.empty()) return s3_error("MalformedXML");
  TRY(XmlNode root, parse_xml(body));
  if (root.name != "CompleteMultipartUpload") return s3_error("MalformedXML");
  std::vector<CompletePart> parts;
  for (const XmlNode& node : root.children) {
    if (node.name != "Part") continue;
    if (parts.size() == kPartNumberMax) return s3_error("MalformedXML");
    TRY(CompletePart part, read_part(call, node));
    parts.push_back(std::move(part));
  }
  if (parts.empty()) return s3_error("MalformedXML");
  return parts;
}

static std::string location_of(const Call& call) {
  std::string url = call.http.tls ? "https://" : "http://";
  url += call.header_or_empty("host");
  return url + call.path;
}

Reply complete_multipart_upload(Call& call) {
  CompleteRequest request;
  request.bucket = call.bucket_name;
  request.key = call.key;
  CO_TRY(request.upload, read_upload_id(call));
  // x-amz-checksum-* here is of the whole object, not of this document.
  Checksum object_checksum = read_checksum_header(call);
  HttpRequest& http = call.http;
  std::erase_if(http.headers, [](const auto& h) { return h.first.starts_with("x-amz-checksum-"); });
  CO_TRY(std::string body,
         co_await read_small_body(http, call.who, kXmlBodyBytesMax, call.runtime().cpu));
  CO_TRY(request.parts, read_parts(call, body));
  request.conditions = read_write_conditions(call);
  request.object_checksum = std::move(object_checksum);
  if (auto size = call.header("x-amz-mp-object-size")) request.object_size = parse_number(*size);
  CO_TRY(ObjectInfo made,
         co_await call.store().complete_upload(std::move(request), call.long_after()));
  XmlWriter xml("CompleteMultipartUploadResult");
  xml.element("Location", location_of(call));
  xml.element("Bucket", call.bucket_name);
  xml.element("Key", call.key);
  xml.element("ETag", quoted(made.etag));
  write_checksum(xml, made.checksum, true);
  co_return xml_reply(xml.take());
}

Reply abort_multipart_upload(Call& call) {
  CO_TRY(UploadId id, read_upload_id(call));
  CO_TRY_STATUS(co_await call.store().abort_upload(call.bucket_name, call.key, id, call.soon()));
  co_return empty_reply(204);
}

}  // namespace covey
