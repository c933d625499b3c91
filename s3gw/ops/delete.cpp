// DeleteObject and DeleteObjects.
#include <memory>

#include "base/core/limits.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/reply.h"
#include "s3gw/ops/text.h"

namespace covey {

static constexpr size_t kDeletesInFlight = 32;

Reply delete_object(Call& call) {
  DeleteRequest request;
  request.bucket = call.bucket_name;
  request.key = call.key;
  CO_TRY(request.version, read_version(call));
  request.conditions.if_match = read_conditions(call, "").if_match;
  if (auto date = call.header("x-amz-if-match-last-modified-time")) {
    request.conditions.if_match_last_modified = parse_date(*date);
    if (!request.conditions.if_match_last_modified)
      co_return call.bad_argument("The date is not valid.", "x-amz-if-match-last-modified-time",
                                  std::string(*date));
  }
  if (auto size = call.header("x-amz-if-match-size")) {
    request.conditions.if_match_size = parse_number(*size);
    if (!request.conditions.if_match_size)
      co_return call.bad_argument("The size is not valid.", "x-amz-if-match-size",
                                  std::string(*size));
  }
  std::optional<std::string> version = request.version;
  auto done = co_await call.store().remove(std::move(request), call.soon());
  // A version that never was is as gone as one deleted now.
  if (!done && !done.is(ErrorCode::kNoSuchVersion))
    co_return tl::unexpected<Error>(std::move(done).error());
  HttpResponse reply = empty_reply(204);
  if (version) reply.set("x-amz-version-id", *version);
  co_return reply;
}

// ---- DeleteObjects: up to 1,000 keys in one request; each succeeds or fails by itself.

struct DeleteItem {
  DeleteRequest request;
  std::optional<Error> error;
};

static Result<DeleteItem> read_item(Call& call, const XmlNode& node) {
  const XmlNode* key = node.child("Key");
  if (!key || key->text.empty()) return s3_error("MalformedXML");
  DeleteItem item;
  item.request.bucket = call.bucket_name;
  item.request.key = key->text;
  if (key->text.size() > kObjectKeyBytesMax)
    item.error = Error{ErrorCode::kInvalid, {}, "KeyTooLongError"};
  if (std::string version(node.value("VersionId")); !version.empty()) {
    if (version != "null" && !VersionId::from_hex(version))
      item.error = Error{ErrorCode::kNoSuchVersion, {}, "NoSuchVersion"};
    item.request.version = std::move(version);
  }
  if (node.child("ETag"))
    item.request.conditions.if_match.emplace_back(unquote_etag(node.value("ETag")));
  if (node.child("LastModifiedTime")) {
    auto date = parse_date(node.value("LastModifiedTime"));
    if (!date) return s3_error("MalformedXML");
    item.request.conditions.if_match_last_modified = date;
  }
  if (node.child("Size")) {
    auto size = parse_number(node.value("Size"));
    if (!size) return s3_error("MalformedXML");
    item.request.conditions.if_match_size = size;
  }
  return item;
}

static Result<std::vector<DeleteItem>> read_items(Call& call, const XmlNode& root) {
  if (root.name != "Delete") return s3_error("MalformedXML");
  std::vector<DeleteItem> items;
  for (const XmlNode& node : root.children) {
    if (node.name != "Object") continue;
    if (items.size() == kDeleteObjectsMax) return s3_error("MalformedXML");
    TRY(DeleteItem item, read_item(call, node));
    items.push_back(std::move(item));
  }
  if (items.empty()) return s3_error("MalformedXML");
  return items;
}

// One of several workers that share `next`.
static Task<void> delete_some(Call& call, std::vector<DeleteItem>& items, size_t& next) {
  while (next < items.size()) {
    DeleteItem& item = items[next++];
    if (item.error) continue;
    DeleteRequest request = item.request;
    auto done = co_await call.store().remove(std::move(request), call.soon());
    if (!done && !done.is(ErrorCode::kNoSuchVersion)) item.error = std::move(done).error();
  }
}

static void write_outcome(XmlWriter& xml, const DeleteItem& item, bool quiet) {
  if (!item.error) {
    if (quiet) return;
    xml.open("Deleted");
    xml.element("Key", item.request.key);
    if (item.request.version) xml.element("VersionId", *item.request.version);
    xml.close("Deleted");
    return;
  }
  const S3ErrorCode& answer = answer_of(*item.error, !item.request.conditions.empty());
  xml.open("Error");
  xml.element("Key", item.request.key);
  if (item.request.version) xml.element("VersionId", *item.request.version);
  xml.element("Code", answer.code);
  xml.element("Message", client_message(*item.error, answer));
  xml.close("Error");
}

Reply delete_objects(Call& call) {
  CO_TRY(std::string body,
         co_await read_small_body(call.http, call.who, kXmlBodyBytesMax, call.runtime().cpu));
  if (body.empty()) co_return s3_error("MissingRequestBodyError");
  CO_TRY(XmlNode root, parse_xml(body));
  CO_TRY(std::vector<DeleteItem> items, read_items(call, root));
  {
    Scope scope;
    size_t next = 0;
    for (size_t i = 0; i < kDeletesInFlight && next < items.size(); ++i)
      scope.spawn(delete_some(call, items, next));
    co_await scope.join();
  }
  bool quiet = lower(root.value("Quiet")) == "true";
  XmlWriter xml("DeleteResult", 256 + items.size() * 96);
  for (const DeleteItem& item : items) write_outcome(xml, item, quiet);
  co_return xml_reply(xml.take());
}

}  // namespace covey
