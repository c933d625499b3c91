// Who may do what: the owner of a bucket everything, others what `covey bucket allow` granted,
// the anonymous nothing.
#include "s3gw/ops/call.h"

namespace covey {

static bool allowed(const Identity& who, const Bucket& bucket, Need need) {
  if (need == Need::kNobody) return true;
  if (who.anonymous) return false;
  if (need == Need::kKnown || who.user_id == bucket.owner) return true;
  auto it = bucket.grants.find(who.user_id);
  if (it == bucket.grants.end()) return false;
  const Grant& grant = it->second;
  if (grant.owner) return true;
  return (need == Need::kRead && grant.read) || (need == Need::kWrite && grant.write);
}

Status check_access(const Call& call, const Bucket& bucket, Need need,
                    std::string_view expected_owner_header) {
  auto expected = call.header(expected_owner_header);
  if (expected && *expected != bucket.owner) return fail(ErrorCode::kDenied);
  if (!allowed(call.who.identity, bucket, need)) return fail(ErrorCode::kDenied);
  return {};
}

Task<Result<Bucket>> open_bucket(Call& call, std::string name, Need need,
                                 std::string_view expected_owner_header, Freshness freshness) {
  auto bucket = co_await call.store().bucket(std::move(name), call.soon(), freshness);
  if (!bucket) co_return bucket;
  CO_TRY_STATUS(check_access(call, *bucket, need, expected_owner_header));
  co_return bucket;
}

}  // namespace covey
