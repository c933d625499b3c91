// Responses: XML documents, errors, and the headers that describe an object.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "s3gw/ops/call.h"
#include "s3gw/xml/xml.h"

namespace covey {

HttpResponse empty_reply(int status);
HttpResponse xml_reply(std::string document);
HttpResponse error_reply(Call& call, const Error& error);

std::string quoted(std::string_view etag);
// ETag, Last-Modified, Content-Type, metadata, storage class, ... of GET and HEAD.
void set_object_headers(HttpResponse& reply, const ObjectInfo& info);
// "x-amz-checksum-crc32c" and "x-amz-checksum-type"; nothing for no checksum.
void set_checksum_headers(HttpResponse& reply, const Checksum& checksum);
// <ChecksumCRC32C>; with `type` also <ChecksumType>.
void write_checksum(XmlWriter& xml, const Checksum& checksum, bool type);

// <Owner><ID>..</ID><DisplayName>..</DisplayName></Owner>, looking each display name up once.
class OwnerWriter {
 public:
  explicit OwnerWriter(const Users& users) : users_(users) {}
  // `element` is "Owner" or "Initiator".
  void write(XmlWriter& xml, std::string_view element, const std::string& user_id);
  const std::string& display_name(const std::string& user_id);

 private:
  const Users& users_;
  std::map<std::string, std::string> names_;
};

}  // namespace covey
