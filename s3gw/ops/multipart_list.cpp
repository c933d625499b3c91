// ListParts and ListMultipartUploads.
#include "base/core/limits.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/reply.h"
#include "s3gw/ops/text.h"

namespace covey {

static void write_part(XmlWriter& xml, const PartInfo& part) {
  xml.open("Part");
  xml.element("PartNumber", uint64_t{part.number});
  xml.raw_element("LastModified", iso8601(part.modified));
  xml.element("ETag", quoted(part.etag));
  xml.element("Size", part.size);
  write_checksum(xml, part.checksum, false);
  xml.close("Part");
}

Reply list_parts(Call& call) {
  CO_TRY(UploadId id, read_upload_id(call));
  CO_TRY(size_t most, read_limit(call, "max-parts", kListKeysMax));
  uint32_t after = 0;
  if (auto* marker = call.param("part-number-marker"); marker && !marker->empty()) {
    auto number = parse_number(*marker);
    if (!number || *number > 2147483647)
      co_return call.bad_argument(
          "Argument part-number-marker must be an integer between 0 and "
          "2147483647",
          "part-number-marker", *marker);
    after = static_cast<uint32_t>(*number);
  }
  CO_TRY(UploadInfo upload,
         co_await call.store().upload(call.bucket_name, call.key, id, call.soon()));
  // One more than asked for tells whether there are more.
  CO_TRY(std::vector<PartInfo> parts,
         co_await call.store().parts(call.bucket_name, call.key, id, after, most + 1, call.soon()));
  bool truncated = parts.size() > most;
  if (truncated) parts.resize(most);
  XmlWriter xml("ListPartsResult", 1024 + parts.size() * 256);
  xml.element("Bucket", call.bucket_name);
  xml.element("Key", call.key);
  xml.raw_element("UploadId", id.hex());
  OwnerWriter owners(call.gateway.users());
  owners.write(xml, "Initiator", upload.initiator);
  owners.write(xml, "Owner", upload.owner);
  xml.element("StorageClass", upload.storage_class.empty() ? "STANDARD" : upload.storage_class);
  xml.element("PartNumberMarker", uint64_t{after});
  xml.element("NextPartNumberMarker", uint64_t{parts.empty() ? 0 : parts.back().number});
  xml.element("MaxParts", uint64_t{most});
  xml.flag("IsTruncated", truncated);
  if (!upload.checksum_algorithm.empty()) {
    xml.element("ChecksumAlgorithm", upload.checksum_algorithm);
    xml.element("ChecksumType", upload.checksum_full_object ? "FULL_OBJECT" : "COMPOSITE");
  }
  for (const PartInfo& part : parts) write_part(xml, part);
  co_return xml_reply(xml.take());
}

// ---- ListMultipartUploads

static std::string shown(std::string_view text, bool url) {
  if (!url) return std::string(text);
  std::string out;
  append_url_encoded(out, text);
  return out;
}

static void write_upload(XmlWriter& xml, OwnerWriter& owners, const UploadInfo& upload, bool url) {
  xml.open("Upload");
  xml.element("Key", shown(upload.key, url));
  xml.raw_element("UploadId", upload.id.hex());
  owners.write(xml, "Initiator", upload.initiator);
  owners.write(xml, "Owner", upload.owner);
  xml.element("StorageClass", upload.storage_class.empty() ? "STANDARD" : upload.storage_class);
  xml.raw_element("Initiated", iso8601(upload.started));
  if (!upload.checksum_algorithm.empty()) {
    xml.element("ChecksumAlgorithm", upload.checksum_algorithm);
    xml.element("ChecksumType", upload.checksum_full_object ? "FULL_OBJECT" : "COMPOSITE");
  }
  xml.close("Upload");
}

static std::string param_or_empty(const Call& call, std::string_view name) {
  const std::string* value = call.param(name);
  return value ? *value : std::string();
}

Reply list_multipart_uploads(Call& call) {
  ListUploadsRequest request;
  request.bucket = call.bucket_name;
  request.prefix = param_or_empty(call, "prefix");
  request.delimiter = param_or_empty(call, "delimiter");
  request.key_marker = param_or_empty(call, "key-marker");
  // Without a key marker AWS ignores the upload's.
  if (!request.key_marker.empty()) request.upload_marker = param_or_empty(call, "upload-id-marker");
  CO_TRY(request.limit, read_limit(call, "max-uploads", kListKeysMax));
  CO_TRY(bool url, read_encoding(call));
  ListUploadsResult found;
  if (request.limit > 0) {
    ListUploadsRequest sent = request;
    CO_TRY(found, co_await call.store().uploads(std::move(sent), call.soon()));
  }
  XmlWriter xml("ListMultipartUploadsResult", 1024 + found.uploads.size() * 512);
  OwnerWriter owners(call.gateway.users());
  xml.element("Bucket", call.bucket_name);
  xml.element("KeyMarker", shown(request.key_marker, url));
  xml.element("UploadIdMarker", request.upload_marker);
  if (found.truncated) {
    xml.element("NextKeyMarker", shown(found.next_key, url));
    xml.element("NextUploadIdMarker", found.next_upload);
  }
  xml.element("Prefix", shown(request.prefix, url));
  if (!request.delimiter.empty()) xml.element("Delimiter", shown(request.delimiter, url));
  if (url) xml.element("EncodingType", "url");
  xml.element("MaxUploads", uint64_t{request.limit});
  xml.flag("IsTruncated", found.truncated);
  for (const UploadInfo& upload : found.uploads) write_upload(xml, owners, upload, url);
  for (const std::string& prefix : found.common_prefixes) {
    xml.open("CommonPrefixes");
    xml.element("Prefix", shown(prefix, url));
    xml.close("CommonPrefixes");
  }
  co_return xml_reply(xml.take());
}

}  // namespace covey
