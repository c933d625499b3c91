// Who may do what: the owner of a bucket everything, others what `covey bucket allow` or an ACL
// granted, the anonymous what an ACL granted to all.
#include "s3gw/ops/acl.h"
#include "s3gw/ops/call.h"

namespace covey {

bool decided_by_object(Need need) {
  return need == Need::kReadObject || need == Need::kReadObjectAcl || need == Need::kWriteObjectAcl;
}

// The right a bucket's ACL must give; 0: none does.
static unsigned acl_right(Need need) {
  switch (need) {
    case Need::kRead: return kAclRead;
    case Need::kWrite: return kAclWrite;
    case Need::kReadAcl: return kAclReadAcp;
    case Need::kWriteAcl: return kAclWriteAcp;
    default: return 0;
  }
}

static bool granted(const Grant& grant, Need need) {
  if (grant.owner) return true;
  if (need == Need::kRead || need == Need::kReadObject || need == Need::kReadObjectAcl)
    return grant.read;
  return need == Need::kWrite && grant.write;
}

bool allowed_by_bucket(const Identity& who, const Bucket& bucket, Need need) {
  if (need == Need::kNobody) return true;
  if (!who.anonymous) {
    if (need == Need::kKnown || who.user_id == bucket.owner) return true;
    auto it = bucket.grants.find(who.user_id);
    if (it != bucket.grants.end() && granted(it->second, need)) return true;
  }
  unsigned right = acl_right(need);
  auto acl = bucket.settings.find("acl");
  return right != 0 && acl != bucket.settings.end() &&
         acl_allows(acl->second, bucket.owner, who, right);
}

Status check_access(const Call& call, const Bucket& bucket, Need need,
                    std::string_view expected_owner_header) {
  auto expected = call.header(expected_owner_header);
  if (expected && *expected != bucket.owner) return fail(ErrorCode::kDenied);
  if (!decided_by_object(need) && !allowed_by_bucket(call.who.identity, bucket, need))
    return fail(ErrorCode::kDenied);
  return {};
}

Task<Result<Bucket>> open_bucket(Call& call, std::string name, Need need,
                                 std::string_view expected_owner_header, Freshness freshness) {
  auto bucket = co_await call.store().bucket(std::move(name), call.soon(), freshness);
  if (!bucket) co_return bucket;
  Status access = check_access(call, *bucket, need, expected_owner_header);
  if (!access && freshness == Freshness::kCached) {
    // A right given a moment ago through another node counts.
    std::string again = bucket->name;
    bucket = co_await call.store().bucket(std::move(again), call.soon(), Freshness::kNow);
    if (!bucket) co_return bucket;
    access = check_access(call, *bucket, need, expected_owner_header);
  }
  if (!access) co_return tl::unexpected<Error>(std::move(access).error());
  co_return bucket;
}

Task<Status> check_object(Call& call, Bucket bucket, std::string key,
                          std::optional<std::string> version, Need need) {
  if (!decided_by_object(need) || allowed_by_bucket(call.who.identity, bucket, need))
    co_return Status();
  unsigned right = need == Need::kReadObject      ? kAclRead
                   : need == Need::kReadObjectAcl ? kAclReadAcp
                                                  : kAclWriteAcp;
  co_return co_await check_object_access(call, std::move(bucket), std::move(key),
                                         std::move(version), right);
}

}  // namespace covey
