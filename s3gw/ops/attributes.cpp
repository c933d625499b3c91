// GetObjectAttributes.
#include <set>

#include "base/core/limits.h"
#include "s3gw/http/response.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/reply.h"
#include "s3gw/ops/text.h"

namespace covey {

static Result<std::set<std::string>> read_wanted(Call& call) {
  static const std::set<std::string> kKnown = {"ETag", "Checksum", "ObjectParts", "StorageClass",
                                               "ObjectSize"};
  std::set<std::string> wanted;
  std::string joined = call.http.joined("x-amz-object-attributes").value_or("");
  std::string_view rest = joined;
  while (!rest.empty()) {
    size_t comma = rest.find(',');
    std::string name(trim(rest.substr(0, comma)));
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    if (name.empty()) continue;
    if (!kKnown.contains(name))
      return call.bad_argument("Invalid attribute name specified.", "x-amz-object-attributes",
                               name);
    wanted.insert(std::move(name));
  }
  if (wanted.empty())
    return call.bad_argument(
        "The x-amz-object-attributes header specifying the attributes to be "
        "retrieved is either missing or empty",
        "x-amz-object-attributes", "");
  return wanted;
}

static Result<uint64_t> read_number_header(Call& call, std::string name, uint64_t absent) {
  auto value = call.header(name);
  if (!value) return absent;
  auto number = parse_number(*value);
  if (number && *number <= 2147483647) return *number;
  return call.bad_argument("The header must be a whole number.", name, std::string(*value));
}

static Task<Status> write_parts(Call& call, XmlWriter& xml, const ObjectInfo& info,
                                std::optional<std::string> version) {
  CO_TRY(uint64_t most, read_number_header(call, "x-amz-max-parts", kListKeysMax));
  CO_TRY(uint64_t after, read_number_header(call, "x-amz-part-number-marker", 0));
  most = std::min<uint64_t>(most, kListKeysMax);
  CO_TRY(std::vector<PartInfo> parts,
         co_await call.store().object_parts(call.bucket_name, call.key, std::move(version),
                                            static_cast<uint32_t>(after), most + 1, call.soon()));
  bool truncated = parts.size() > most;
  if (truncated) parts.resize(most);
  xml.open("ObjectParts");
  xml.element("PartsCount", uint64_t{info.parts});
  xml.element("PartNumberMarker", after);
  xml.element("NextPartNumberMarker", uint64_t{parts.empty() ? 0 : parts.back().number});
  xml.element("MaxParts", most);
  xml.flag("IsTruncated", truncated);
  for (const PartInfo& part : parts) {
    xml.open("Part");
    write_checksum(xml, part.checksum, false);
    xml.element("PartNumber", uint64_t{part.number});
    xml.element("Size", part.size);
    xml.close("Part");
  }
  xml.close("ObjectParts");
  co_return Status();
}

Reply get_object_attributes(Call& call) {
  CO_TRY(std::set<std::string> wanted, read_wanted(call));
  GetRequest request;
  request.bucket = call.bucket_name;
  request.key = call.key;
  CO_TRY(request.version, read_version(call));
  std::optional<std::string> version = request.version;
  CO_TRY(GetResult got, co_await call.store().head(std::move(request), call.soon()));
  const ObjectInfo& info = got.info;
  XmlWriter xml("GetObjectAttributesResponse");
  if (wanted.contains("ETag")) xml.element("ETag", info.etag);
  if (wanted.contains("Checksum") && !info.checksum.value.empty()) {
    xml.open("Checksum");
    write_checksum(xml, info.checksum, true);
    xml.close("Checksum");
  }
  if (wanted.contains("ObjectParts") && info.parts > 0) {
    CO_TRY_STATUS(co_await write_parts(call, xml, info, version));
  }
  if (wanted.contains("StorageClass")) xml.element("StorageClass", info.storage_class);
  if (wanted.contains("ObjectSize")) xml.element("ObjectSize", info.size);
  HttpResponse reply = xml_reply(xml.take());
  reply.set("Last-Modified", http_date(info.modified));
  if (version) reply.set("x-amz-version-id", *version);
  co_return reply;
}

}  // namespace covey
