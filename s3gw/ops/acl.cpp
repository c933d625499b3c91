#include "s3gw/ops/acl.h"

#include <algorithm>

#include "base/core/limits.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/reply.h"
#include "s3gw/ops/text.h"

namespace covey {

static constexpr std::string_view kGroupUri = "http://acs.amazonaws.com/groups/";
static constexpr std::pair<std::string_view, std::string_view> kGroups[] = {
    {kGroupAll, "global/AllUsers"},
    {kGroupAuthenticated, "global/AuthenticatedUsers"},
    {kGroupLogs, "s3/LogDelivery"}};
static constexpr std::pair<std::string_view, unsigned> kRights[] = {{"FULL_CONTROL", kAclFull},
                                                                    {"READ", kAclRead},
                                                                    {"WRITE", kAclWrite},
                                                                    {"READ_ACP", kAclReadAcp},
                                                                    {"WRITE_ACP", kAclWriteAcp}};

// ---- as text: "acl1", then a line "rights grantee" for each grant

Acl load_acl(std::string_view stored, const std::string& owner) {
  if (stored.empty()) return {{owner, kAclFull}};
  Acl acl;
  size_t at = stored.find('\n');
  while (at != std::string_view::npos && at + 1 < stored.size()) {
    size_t end = stored.find('\n', at + 1);
    std::string_view line =
        stored.substr(at + 1, end == std::string_view::npos ? end : end - at - 1);
    at = end;
    size_t space = line.find(' ');
    auto rights = parse_number(line.substr(0, space));
    if (!rights || space == std::string_view::npos) continue;
    acl.push_back({std::string(line.substr(space + 1)), static_cast<unsigned>(*rights & kAclFull)});
  }
  return acl;
}

std::string save_acl(const Acl& acl) {
  std::string text = "acl1\n";
  for (const AclGrant& grant : acl)
    text += std::to_string(grant.rights) + " " + grant.grantee + "\n";
  return text;
}

bool acl_allows(std::string_view stored, const std::string& owner, const Identity& who,
                unsigned rights) {
  unsigned has = !who.anonymous && who.user_id == owner ? kAclReadAcp | kAclWriteAcp : 0u;
  for (const AclGrant& grant : load_acl(stored, owner)) {
    bool meant =
        grant.grantee == kGroupAll ||
        (!who.anonymous && (grant.grantee == kGroupAuthenticated || grant.grantee == who.user_id));
    if (meant) has |= grant.rights;
  }
  return (has & rights) == rights;
}

const std::string& maker(const Call& call) {
  return call.who.identity.anonymous ? call.bucket.owner : call.user();
}

// ---- from headers

static Result<Acl> canned_acl(std::string_view name, const std::string& owner,
                              const std::string& bucket_owner) {
  Acl acl;
  bool other = !bucket_owner.empty() && bucket_owner != owner;
  if (name == "public-read") {
    acl.push_back({std::string(kGroupAll), kAclRead});
  } else if (name == "public-read-write") {
    acl.push_back({std::string(kGroupAll), kAclRead});
    acl.push_back({std::string(kGroupAll), kAclWrite});
  } else if (name == "authenticated-read") {
    acl.push_back({std::string(kGroupAuthenticated), kAclRead});
  } else if (name == "log-delivery-write") {
    acl.push_back({std::string(kGroupLogs), kAclWrite});
    acl.push_back({std::string(kGroupLogs), kAclReadAcp});
  } else if (name == "aws-exec-read") {
    return s3_error("NotImplemented", "x-amz-acl: aws-exec-read is not implemented.");
  } else if (name != "private" && name != "bucket-owner-read" &&
             name != "bucket-owner-full-control") {
    return s3_error("InvalidArgument", "The canned ACL is not one of AWS's.");
  }
  acl.push_back({owner, kAclFull});
  if (other && name == "bucket-owner-read") acl.push_back({bucket_owner, kAclRead});
  if (other && name == "bucket-owner-full-control") acl.push_back({bucket_owner, kAclFull});
  return acl;
}

static Result<std::string> group_of_uri(Call& call, std::string_view uri) {
  if (uri.starts_with(kGroupUri))
    for (auto& [group, tail] : kGroups)
      if (uri.substr(kGroupUri.size()) == tail) return std::string(group);
  return call.bad_argument("Invalid group uri", "CanonicalUser/URI", std::string(uri));
}

static Result<std::string> known_user(Call& call, std::string_view id) {
  if (call.gateway.users().display_name(id)) return std::string(id);
  return call.bad_argument("Invalid id", "CanonicalUser/ID", std::string(id));
}

static tl::unexpected<Error> no_email() {
  return s3_error("UnresolvableGrantByEmailAddress",
                  "Users have no email addresses here: grant by id.");
}

// id="...", uri="...", emailAddress="...", with commas between them
static Status add_header_grants(Call& call, std::string_view list, unsigned rights, Acl& acl) {
  while (!list.empty()) {
    size_t comma = list.find(',');
    std::string_view item = trim(list.substr(0, comma));
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    size_t equals = item.find('=');
    std::string kind = lower(trim(item.substr(0, equals)));
    std::string_view value =
        equals == std::string_view::npos ? std::string_view() : trim(item.substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
      value = value.substr(1, value.size() - 2);
    AclGrant grant;
    grant.rights = rights;
    if (kind == "id") {
      TRY(grant.grantee, known_user(call, value));
    } else if (kind == "uri") {
      TRY(grant.grantee, group_of_uri(call, value));
    } else if (kind == "emailaddress") {
      return no_email();
    } else {
      return call.bad_argument("Argument format not recognized", "x-amz-grant", std::string(item));
    }
    if (acl.size() == kAclGrantsMax) return s3_error("MalformedACLError");
    acl.push_back(std::move(grant));
  }
  return {};
}

Result<std::optional<std::string>> read_acl_headers(Call& call, const std::string& owner,
                                                    const std::string& bucket_owner) {
  static constexpr std::pair<std::string_view, unsigned> kHeaders[] = {
      {"x-amz-grant-read", kAclRead},
      {"x-amz-grant-write", kAclWrite},
      {"x-amz-grant-read-acp", kAclReadAcp},
      {"x-amz-grant-write-acp", kAclWriteAcp},
      {"x-amz-grant-full-control", kAclFull}};
  auto canned = call.header("x-amz-acl");
  Acl acl;
  bool granted = false;
  for (auto& [name, rights] : kHeaders) {
    auto list = call.http.joined(std::string(name));
    if (!list) continue;
    granted = true;
    TRY_STATUS(add_header_grants(call, *list, rights, acl));
  }
  if (granted && canned)
    return s3_error("InvalidRequest",
                    "Specifying both Canned ACLs and Header Grants is not allowed");
  if (!granted && !canned) return std::optional<std::string>();
  if (canned) {
    TRY(acl, canned_acl(*canned, owner, bucket_owner));
  }
  return std::optional<std::string>(save_acl(acl));
}

Result<std::string> read_new_acl(Call& call) {
  const std::string& owner = maker(call);
  TRY(std::optional<std::string> acl, read_acl_headers(call, owner, call.bucket.owner));
  if (!acl || *acl == save_acl({{owner, kAclFull}})) return std::string();
  if (acl->size() > kObjectAclBytesMax)
    return s3_error("MalformedACLError", "The ACL of an object holds too many grants.");
  return std::move(*acl);
}

// ---- as XML

static Result<AclGrant> read_grant(Call& call, const XmlNode& node) {
  const XmlNode* grantee = node.child("Grantee");
  if (node.name != "Grant" || !grantee) return s3_error("MalformedACLError");
  AclGrant grant;
  std::string_view permission = node.value("Permission");
  for (auto& [name, rights] : kRights)
    if (permission == name) grant.rights = rights;
  if (grant.rights == 0) return s3_error("MalformedACLError");
  if (grantee->child("URI")) {
    TRY(grant.grantee, group_of_uri(call, grantee->value("URI")));
  } else if (grantee->child("ID")) {
    TRY(grant.grantee, known_user(call, grantee->value("ID")));
  } else if (grantee->child("EmailAddress")) {
    return no_email();
  } else {
    return s3_error("MalformedACLError");
  }
  return grant;
}

static Result<std::string> read_acl_xml(Call& call, std::string_view body,
                                        const std::string& owner) {
  TRY(XmlNode root, parse_xml(body));
  const XmlNode *list = root.child("AccessControlList"), *given = root.child("Owner");
  if (root.name != "AccessControlPolicy" || !list || !given) return s3_error("MalformedACLError");
  // An ACL never hands its bucket or object to another owner.
  if (given->value("ID") != owner) return fail(ErrorCode::kDenied);
  Acl acl;
  for (const XmlNode& node : list->children) {
    if (acl.size() == kAclGrantsMax) return s3_error("MalformedACLError");
    TRY(AclGrant grant, read_grant(call, node));
    acl.push_back(std::move(grant));
  }
  return save_acl(acl);
}

static void write_grant(XmlWriter& xml, OwnerWriter& owners, const AclGrant& grant) {
  static constexpr std::string_view kGrantee =
      "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"";
  xml.open("Grant");
  xml.raw(kGrantee);
  std::string_view tail;
  for (auto& [group, name] : kGroups)
    if (grant.grantee == group) tail = name;
  if (tail.empty()) {
    xml.raw("CanonicalUser\">");
    xml.element("ID", grant.grantee);
    xml.element("DisplayName", owners.display_name(grant.grantee));
  } else {
    xml.raw("Group\">");
    xml.element("URI", std::string(kGroupUri) + std::string(tail));
  }
  xml.close("Grantee");
  for (auto& [name, rights] : kRights)
    if (grant.rights == rights) xml.element("Permission", name);
  xml.close("Grant");
}

static HttpResponse show_acl(Call& call, std::string_view stored, const std::string& owner) {
  OwnerWriter owners(call.gateway.users());
  XmlWriter xml("AccessControlPolicy");
  owners.write(xml, "Owner", owner);
  xml.open("AccessControlList");
  for (const AclGrant& grant : load_acl(stored, owner)) write_grant(xml, owners, grant);
  xml.close("AccessControlList");
  return xml_reply(xml.take());
}

// The ACL of a PUT ?acl: in headers, or else in the body.
static Task<Result<std::string>> read_put_acl(Call& call, std::string owner,
                                              std::string bucket_owner) {
  CO_TRY(std::string body,
         co_await read_small_body(call.http, call.who, kXmlBodyBytesMax, call.runtime().cpu));
  CO_TRY(std::optional<std::string> acl, read_acl_headers(call, owner, bucket_owner));
  bool documented = !trim_space(body).empty();
  if (acl && documented)
    co_return s3_error("UnexpectedContent", "This request does not support content");
  if (acl) co_return std::move(*acl);
  if (!documented)
    co_return s3_error("MissingSecurityHeader", "Your request was missing a required header");
  co_return read_acl_xml(call, body, owner);
}

// ---- the operations

static const std::string& bucket_acl(const Bucket& bucket) {
  static const std::string kPrivate;
  auto it = bucket.settings.find("acl");
  return it == bucket.settings.end() ? kPrivate : it->second;
}

Reply get_bucket_acl(Call& call) {
  co_return show_acl(call, bucket_acl(call.bucket), call.bucket.owner);
}

Reply put_bucket_acl(Call& call) {
  std::string owner = call.bucket.owner;
  CO_TRY(std::string acl, co_await read_put_acl(call, std::move(owner), std::string()));
  std::optional<std::string> value = std::move(acl);
  CO_TRY(Bucket bucket,
         co_await call.store().set_bucket(call.bucket_name, "acl", std::move(value), call.soon()));
  co_return empty_reply(200);
}

static Task<Result<ObjectInfo>> look(Call& call) {
  GetRequest request;
  request.bucket = call.bucket_name;
  request.key = call.key;
  CO_TRY(request.version, read_version(call));
  CO_TRY(GetResult got, co_await call.store().head(std::move(request), call.soon()));
  co_return std::move(got.info);
}

Reply get_object_acl(Call& call) {
  CO_TRY(ObjectInfo info, co_await look(call));
  co_return show_acl(call, info.acl, info.owner);
}

Reply put_object_acl(Call& call) {
  CO_TRY(ObjectInfo info, co_await look(call));
  CO_TRY(std::string acl, co_await read_put_acl(call, info.owner, call.bucket.owner));
  if (acl.size() > kObjectAclBytesMax)
    co_return s3_error("MalformedACLError", "The ACL of an object holds too many grants.");
  CO_TRY(std::optional<std::string> version, read_version(call));
  CO_TRY(ObjectInfo done, co_await call.store().set_acl(call.bucket_name, call.key, version,
                                                        std::move(acl), call.soon()));
  co_return empty_reply(200);
}

Task<Status> check_object_access(Call& call, Bucket bucket, std::string key,
                                 std::optional<std::string> version, unsigned rights) {
  GetRequest request;
  request.bucket = bucket.name;
  request.key = std::move(key);
  request.version = std::move(version);
  auto got = co_await call.store().head(std::move(request), call.soon());
  const Identity& who = call.who.identity;
  if (got) {
    if (acl_allows(got->info.acl, got->info.owner, who, rights)) co_return Status();
    co_return fail(ErrorCode::kDenied);
  }
  // Who may not list is not told which keys exist.
  bool missing = got.is(ErrorCode::kNoSuchKey) || got.is(ErrorCode::kNoSuchVersion);
  if (missing && !acl_allows(bucket_acl(bucket), bucket.owner, who, kAclRead))
    co_return fail(ErrorCode::kDenied);
  co_return tl::unexpected<Error>(std::move(got).error());
}

}  // namespace covey
