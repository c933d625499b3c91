// Tags of objects and buckets.
#include "base/core/limits.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/reply.h"

namespace covey {

using Tags = std::map<std::string, std::string>;
static constexpr size_t kTagsOfObjectMax = 10;
static constexpr size_t kTagsOfBucketMax = 50;

static Result<Tags> parse_tagging(std::string_view body, size_t most) {
  TRY(XmlNode root, parse_xml(body));
  const XmlNode* set = root.child("TagSet");
  if (root.name != "Tagging" || !set) return s3_error("MalformedXML");
  Tags tags;
  for (const XmlNode& node : set->children) {
    const XmlNode *key = node.child("Key"), *value = node.child("Value");
    if (node.name != "Tag" || !key || !value) return s3_error("MalformedXML");
    if (!tags.emplace(key->text, value->text).second)
      return s3_error("InvalidTag", "Cannot provide multiple Tags with the same key");
  }
  TRY_STATUS(check_tags(tags, most));
  return tags;
}

Result<Tags> parse_object_tagging(std::string_view body) {
  return parse_tagging(body, kTagsOfObjectMax);
}

static std::string write_tagging(const Tags& tags) {
  XmlWriter xml("Tagging");
  xml.open("TagSet");
  for (const auto& [key, value] : tags) {
    xml.open("Tag");
    xml.element("Key", key);
    xml.element("Value", value);
    xml.close("Tag");
  }
  xml.close("TagSet");
  return xml.take();
}

static Task<Result<Tags>> read_tagging(Call& call, size_t most) {
  CO_TRY(std::string body,
         co_await read_small_body(call.http, call.who, kXmlBodyBytesMax, call.runtime().cpu));
  if (body.empty()) co_return s3_error("MissingRequestBodyError");
  co_return parse_tagging(body, most);
}

Reply get_object_tagging(Call& call) {
  GetRequest request;
  request.bucket = call.bucket_name;
  request.key = call.key;
  CO_TRY(request.version, read_version(call));
  CO_TRY(GetResult got, co_await call.store().head(std::move(request), call.soon()));
  co_return xml_reply(write_tagging(got.info.tags));
}

static Reply set_object_tags(Call& call, Tags tags, int status) {
  CO_TRY(std::optional<std::string> version, read_version(call));
  CO_TRY(ObjectInfo info, co_await call.store().set_tags(call.bucket_name, call.key, version,
                                                         std::move(tags), call.soon()));
  co_return empty_reply(status);
}

Reply put_object_tagging(Call& call) {
  CO_TRY(Tags tags, co_await read_tagging(call, kTagsOfObjectMax));
  co_return co_await set_object_tags(call, std::move(tags), 200);
}

Reply delete_object_tagging(Call& call) { co_return co_await set_object_tags(call, Tags(), 204); }

// ---- buckets: the document is a setting of the bucket

Reply get_bucket_tagging(Call& call) {
  auto it = call.bucket.settings.find("tagging");
  if (it == call.bucket.settings.end()) co_return s3_error("NoSuchTagSet");
  co_return xml_reply(it->second);
}

Reply put_bucket_tagging(Call& call) {
  CO_TRY(Tags tags, co_await read_tagging(call, kTagsOfBucketMax));
  std::optional<std::string> document = write_tagging(tags);
  CO_TRY(Bucket bucket, co_await call.store().set_bucket(call.bucket_name, "tagging",
                                                         std::move(document), call.soon()));
  co_return empty_reply(204);
}

Reply delete_bucket_tagging(Call& call) {
  std::optional<std::string> none;
  CO_TRY(Bucket bucket, co_await call.store().set_bucket(call.bucket_name, "tagging",
                                                         std::move(none), call.soon()));
  co_return empty_reply(204);
}

}  // namespace covey
