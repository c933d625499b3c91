// Access control lists: canned, granted in headers or in XML; kept as text with the bucket or
// object. Source: AWS, "Access control list (ACL) overview", S3 user guide.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "s3gw/ops/call.h"

namespace covey {

inline constexpr size_t kAclGrantsMax = 100;            // AWS's limit
inline constexpr size_t kObjectAclBytesMax = 2 * 1024;  // an object's head stays small

enum AclRight : unsigned {
  kAclRead = 1,
  kAclWrite = 2,
  kAclReadAcp = 4,
  kAclWriteAcp = 8,
  kAclFull = 15,
};

struct AclGrant {
  std::string grantee;  // a user id, or one of the groups below
  unsigned rights = 0;
};
inline constexpr std::string_view kGroupAll = "group:AllUsers";
inline constexpr std::string_view kGroupAuthenticated = "group:AuthenticatedUsers";
inline constexpr std::string_view kGroupLogs = "group:LogDelivery";

using Acl = std::vector<AclGrant>;

// Empty text is "private": the owner has FULL_CONTROL.
Acl load_acl(std::string_view stored, const std::string& owner);
std::string save_acl(const Acl& acl);
// Does the list give `who` all of `rights`? The owner of the thing may always read and write its
// ACL.
bool acl_allows(std::string_view stored, const std::string& owner, const Identity& who,
                unsigned rights);

// What x-amz-acl or x-amz-grant-* ask for, as save_acl() writes it; nullopt without such a header.
// `bucket_owner` is who the bucket-owner-* lists mean; empty for the ACL of a bucket.
Result<std::optional<std::string>> read_acl_headers(Call& call, const std::string& owner,
                                                    const std::string& bucket_owner);
// The ACL of a new object: "" for private.
Result<std::string> read_new_acl(Call& call);
// The owner of what this request makes: the anonymous make it for the bucket's owner.
const std::string& maker(const Call& call);

// May the sender do this with that object, by its own ACL? NoSuchKey only for who may list.
Task<Status> check_object_access(Call& call, Bucket bucket, std::string key,
                                 std::optional<std::string> version, unsigned rights);

}  // namespace covey
