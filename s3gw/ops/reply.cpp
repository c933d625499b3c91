#include "s3gw/ops/reply.h"

#include "s3gw/http/response.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/text.h"

namespace covey {

HttpResponse empty_reply(int status) {
  HttpResponse reply;
  reply.status = status;
  return reply;
}

HttpResponse xml_reply(std::string document) {
  HttpResponse reply;
  reply.set("Content-Type", "application/xml");
  reply.body = Blob::own(std::move(document));
  return reply;
}

static void write_error_elements(XmlWriter& xml, const Call& call, std::string_view code) {
  for (const auto& [name, value] : call.error_elements) xml.element(name, value);
  if (code == "NoSuchBucket" || code == "BucketNotEmpty" || code.starts_with("BucketAlready") ||
      code == "InvalidBucketName" || code.ends_with("NotFoundError") ||
      (code.starts_with("NoSuch") && call.key.empty()))
    xml.element("BucketName", call.bucket_name);
  if (code == "NoSuchKey" || code == "NoSuchVersion") xml.element("Key", call.key);
  if (code == "NoSuchVersion")
    if (auto* version = call.param("versionId")) xml.element("VersionId", *version);
  if (code == "NoSuchUpload")
    if (auto* upload = call.param("uploadId")) xml.element("UploadId", *upload);
  if (code == "MethodNotAllowed") xml.element("Method", call.http.method);
  // Clients that signed for another region sign again for this one.
  if (code == "AuthorizationHeaderMalformed") xml.element("Region", call.gateway.settings().region);
}

HttpResponse error_reply(Call& call, const Error& error) {
  const S3ErrorCode& answer = answer_of(error, is_conditional(call));
  HttpResponse reply = empty_reply(answer.status);
  for (auto& [name, value] : call.error_headers) reply.set(name, value);
  if (answer.status == 503) reply.set("Retry-After", "1");
  if (answer.status == 304) return reply;
  reply.set("Content-Type", "application/xml");
  if (call.head()) {
    reply.content_length = 0;
    return reply;
  }
  XmlWriter xml;
  xml.open("Error");
  xml.element("Code", answer.code);
  xml.element("Message", client_message(error, answer));
  write_error_elements(xml, call, answer.code);
  xml.element("Resource", call.path);
  xml.element("RequestId", call.request_id);
  xml.element("HostId", call.request_id);
  xml.close("Error");
  reply.body = Blob::own(xml.take());
  return reply;
}

std::string quoted(std::string_view etag) {
  std::string out;
  out.reserve(etag.size() + 2);
  out.push_back('"');
  out.append(etag);
  out.push_back('"');
  return out;
}

// The store keeps these names in lower case.
static std::string_view shown_name(std::string_view stored) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"content-type", "Content-Type"},
      {"cache-control", "Cache-Control"},
      {"content-disposition", "Content-Disposition"},
      {"content-encoding", "Content-Encoding"},
      {"content-language", "Content-Language"},
      {"expires", "Expires"},
  };
  for (auto& [from, to] : kNames)
    if (from == stored) return to;
  return stored;
}

void set_object_headers(HttpResponse& reply, const ObjectInfo& info) {
  reply.headers.reserve(16 + info.user_metadata.size());
  reply.set("ETag", quoted(info.etag));
  reply.set("Last-Modified", http_date(info.modified));
  reply.set("Accept-Ranges", "bytes");
  if (!info.headers.contains("content-type")) reply.set("Content-Type", "binary/octet-stream");
  for (auto& [name, value] : info.headers) reply.set(std::string(shown_name(name)), value);
  for (auto& [name, value] : info.user_metadata) reply.set("x-amz-meta-" + name, value);
  if (info.storage_class != "STANDARD" && !info.storage_class.empty())
    reply.set("x-amz-storage-class", info.storage_class);
  if (!info.tags.empty()) reply.set("x-amz-tagging-count", std::to_string(info.tags.size()));
}

void set_checksum_headers(HttpResponse& reply, const Checksum& checksum) {
  if (checksum.algorithm.empty() || checksum.value.empty()) return;
  reply.set("x-amz-checksum-" + lower(checksum.algorithm), checksum.value);
  reply.set("x-amz-checksum-type", checksum.full_object ? "FULL_OBJECT" : "COMPOSITE");
}

void write_checksum(XmlWriter& xml, const Checksum& checksum, bool type) {
  if (checksum.algorithm.empty() || checksum.value.empty()) return;
  xml.element("Checksum" + checksum.algorithm, checksum.value);
  if (type) xml.element("ChecksumType", checksum.full_object ? "FULL_OBJECT" : "COMPOSITE");
}

const std::string& OwnerWriter::display_name(const std::string& user_id) {
  auto it = names_.find(user_id);
  if (it == names_.end())
    it = names_.emplace(user_id, users_.display_name(user_id).value_or(user_id)).first;
  return it->second;
}

void OwnerWriter::write(XmlWriter& xml, std::string_view element, const std::string& user_id) {
  xml.open(element);
  xml.element("ID", user_id);
  xml.element("DisplayName", display_name(user_id));
  xml.close(element);
}

}  // namespace covey
