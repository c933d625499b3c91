// ObjectStore: buckets, objects and uploads as S3 means them, over registers and blocks. The
// gateway (s3gw/ops) calls this and nothing below it. Every call is linearizable in a `strong`
// bucket; in an `available` one conditions on writes are refused (kNotImplemented). `deadline`
// bounds each call.
//
// Errors, beside those named: kNoSuchBucket, kUnavailable (503, nothing done), kUnknownOutcome
// (503, may have been done), kConflict (409), kOverloaded (503 SlowDown), kNoSpace (507), kCorrupt
// (500).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/async/clock.h"
#include "base/core/ids.h"
#include "base/core/result.h"
#include "store/objects/body.h"

namespace covey {

// ---- buckets

struct Grant {
  bool read = false, write = false, owner = false;
};

// Fixed when a bucket is made. kAvailable: every site takes writes while it is cut off; concurrent
// ones of one key are merged, and the losers stay as noncurrent versions.
enum class Consistency { kStrong, kAvailable };
// As people and headers write it.
std::string_view consistency_name(Consistency consistency);
std::optional<Consistency> consistency_named(std::string_view name);

struct Bucket {
  std::string name;
  BucketId id;
  uint64_t generation = 0;
  std::string owner;  // user id
  WallTime created;
  std::string region;
  uint32_t index_shards = 0;
  Consistency consistency = Consistency::kStrong;
  std::map<std::string, Grant> grants;  // user id -> what `covey bucket allow` gave
  std::map<std::string, std::string>
      settings;  // sub-resource name ("tagging", "cors", ...) -> its stored document
};

// ---- objects

// Exactly the headers the client gave that are returned on GET, lower-case: content-type,
// cache-control, content-disposition, content-encoding, content-language, expires,
// x-amz-website-redirect-location.
using HeaderMap = std::map<std::string, std::string>;

struct PartInfo {
  uint32_t number = 0;
  uint64_t size = 0;
  std::string etag;
  Checksum checksum;
  WallTime modified;
};

struct ObjectInfo {
  std::string key;
  VersionId version;
  uint64_t size = 0;
  std::string etag;  // without quotes
  WallTime modified;
  std::string owner;  // user id
  std::string storage_class = "STANDARD";
  HeaderMap headers;
  std::map<std::string, std::string> user_metadata;  // without x-amz-meta-
  std::map<std::string, std::string> tags;
  Checksum checksum;
  uint32_t parts = 0;  // 0: not made by multipart
  std::string acl;     // as the gateway wrote it; empty: private
};

// If-Match and friends, compared with the state the register protocol agreed on. ETags without
// quotes; "*" is any.
struct Conditions {
  std::vector<std::string> if_match;                               // empty: absent
  std::vector<std::string> if_none_match;                          // empty: absent
  std::optional<WallTime> if_modified_since, if_unmodified_since;  // whole seconds
  std::optional<WallTime> if_match_last_modified;                  // DELETE only
  std::optional<uint64_t> if_match_size;                           // DELETE only
  bool empty() const {
    return if_match.empty() && if_none_match.empty() && !if_modified_since &&
           !if_unmodified_since && !if_match_last_modified && !if_match_size;
  }
};

struct ObjectAttributes {  // what a writer says of a new object
  std::string owner;
  std::string storage_class = "STANDARD";
  HeaderMap headers;
  std::map<std::string, std::string> user_metadata;
  std::map<std::string, std::string> tags;
  std::string acl;  // opaque to the store; empty: private
};

struct PutRequest {
  std::string bucket, key;
  ObjectAttributes attributes;
  Conditions conditions;  // if_match, if_none_match
};

// A byte range as HTTP asks for it: first..last, first.. (no last), or the last `suffix` bytes.
struct RangeSpec {
  std::optional<uint64_t> first, last, suffix;
};
struct GetRequest {
  std::string bucket, key;
  std::optional<std::string> version;  // "null" or hex; kNoSuchVersion
  std::optional<RangeSpec> range;
  uint32_t part_number = 0;  // 0: none
  Conditions conditions;
};
struct GetResult {
  ObjectInfo info;
  uint64_t first = 0, length = 0;  // the bytes the reader yields
  bool partial = false;
  std::unique_ptr<BodyReader> body;  // nullptr from head()
};

struct CopyRequest {
  std::string source_bucket, source_key;
  std::optional<std::string> source_version;
  Conditions source_conditions;  // kPreconditionFailed when they fail
  std::string bucket, key;
  Conditions conditions;
  std::optional<ObjectAttributes> replace;  // nullopt: keep the source's (MetadataDirective COPY)
  std::optional<std::map<std::string, std::string>> replace_tags;  // TaggingDirective REPLACE
  std::string owner;
  std::string storage_class = "STANDARD";
  std::string acl;  // of the copy; the source's is never copied
};

struct DeleteRequest {
  std::string bucket, key;
  std::optional<std::string> version;
  Conditions conditions;
};

struct ListRequest {
  std::string bucket, prefix, delimiter;
  std::string after;    // keys strictly greater than this (marker, start-after, continuation)
  size_t limit = 1000;  // keys and common prefixes together
};
// What a listing shows of an object; small, because a page has a thousand.
struct ListedObject {
  std::string key;
  uint64_t size = 0;
  std::string etag;  // without quotes
  WallTime modified;
  std::string owner;          // user id
  std::string storage_class;  // empty: STANDARD
  Checksum checksum;
};
struct ListResult {
  std::vector<ListedObject> objects;  // strictly byte-ordered
  std::vector<std::string> common_prefixes;
  bool truncated = false;
  std::string next;  // pass as `after` to go on: the last key or common prefix returned
};

// Versions of the keys of an available bucket: a key's newest first.
struct ListVersionsRequest {
  std::string bucket, prefix, delimiter, key_marker;
  std::string version_marker;  // hex; after this version of key_marker
  size_t limit = 1000;         // versions and common prefixes together
};
struct ListedVersion {
  ListedObject object;
  VersionId version;
  bool latest = false;
  bool deletion = false;  // a delete marker
};
struct ListVersionsResult {
  std::vector<ListedVersion> versions;
  std::vector<std::string> common_prefixes;
  bool truncated = false;
  std::string next_key, next_version;
};

// ---- multipart

struct CreateUploadRequest {
  std::string bucket, key;
  ObjectAttributes attributes;
  std::string initiator;           // user id
  std::string checksum_algorithm;  // empty: none
  bool checksum_full_object = false;
};
struct UploadInfo {
  std::string key;
  UploadId id;
  std::string initiator, owner;
  WallTime started;
  std::string storage_class;
  std::string checksum_algorithm;
  bool checksum_full_object = false;
  ObjectAttributes attributes;
};
struct UploadPartRequest {
  std::string bucket, key;
  UploadId upload;
  uint32_t number = 0;
};
struct CopyPartRequest {
  UploadPartRequest to;
  std::string source_bucket, source_key;
  std::optional<std::string> source_version;
  Conditions source_conditions;
  std::optional<RangeSpec> range;
};
struct CompletePart {
  uint32_t number = 0;
  std::string etag;
  Checksum checksum;  // compared when given
};
struct CompleteRequest {
  std::string bucket, key;
  UploadId upload;
  std::vector<CompletePart>
      parts;  // kInvalidPartOrder unless rising, kInvalidPart, kEntityTooSmall
  Conditions conditions;
  Checksum object_checksum;  // compared when given: kBadDigest
  std::optional<uint64_t> object_size;
};
struct ListUploadsRequest {
  std::string bucket, prefix, delimiter, key_marker, upload_marker;
  size_t limit = 1000;
};
struct ListUploadsResult {
  std::vector<UploadInfo> uploads;  // by key, then by start time
  std::vector<std::string> common_prefixes;
  bool truncated = false;
  std::string next_key, next_upload;
};

// How new a bucket's settings must be. Cached ones may be seconds old, but every operation on keys
// made under an old generation is refused by the replicas and repeated under the new one; kNow
// reads the register.
enum class Freshness { kCached, kNow };

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  // kBucketAlreadyOwnedByYou, kBucketAlreadyExists. Name rules are the gateway's.
  virtual Task<Result<Bucket>> create_bucket(std::string name, std::string owner,
                                             std::string region, TimePoint deadline,
                                             Consistency consistency = Consistency::kStrong) = 0;
  virtual Task<Result<Bucket>> bucket(std::string name, TimePoint deadline,
                                      Freshness freshness = Freshness::kCached) = 0;
  virtual Task<Status> delete_bucket(std::string name, TimePoint deadline) = 0;  // kBucketNotEmpty
  // Every bucket, by name.
  virtual Task<Result<std::vector<Bucket>>> buckets(TimePoint deadline) = 0;
  // Replaces one setting (nullopt: removes it) or a grant; fences older generations out before it
  // completes.
  virtual Task<Result<Bucket>> set_bucket(std::string name, std::string setting,
                                          std::optional<std::string> value, TimePoint deadline) = 0;
  virtual Task<Result<Bucket>> grant_bucket(std::string name, std::string user, Grant grant,
                                            TimePoint deadline) = 0;

  // The body is read, hashed by its source and stored before the head is written; no lock is held
  // meanwhile. A failed condition is kPreconditionFailed (if_match on a missing key: kNoSuchKey).
  virtual Task<Result<ObjectInfo>> put(PutRequest request, BodySource& body,
                                       TimePoint deadline) = 0;
  // kNoSuchKey, kNotModified, kPreconditionFailed, kInvalidRange, kInvalidPart.
  virtual Task<Result<GetResult>> get(GetRequest request, TimePoint deadline) = 0;
  virtual Task<Result<GetResult>> head(GetRequest request, TimePoint deadline) = 0;
  // Success also when there was nothing to delete (unless a condition asked for it).
  virtual Task<Status> remove(DeleteRequest request, TimePoint deadline) = 0;
  virtual Task<Result<ObjectInfo>> copy(CopyRequest request, TimePoint deadline) = 0;
  virtual Task<Result<ObjectInfo>> set_tags(std::string bucket, std::string key,
                                            std::optional<std::string> version,
                                            std::map<std::string, std::string> tags,
                                            TimePoint deadline) = 0;
  virtual Task<Result<ObjectInfo>> set_acl(std::string bucket, std::string key,
                                           std::optional<std::string> version, std::string acl,
                                           TimePoint deadline) = 0;
  virtual Task<Result<ListResult>> list(ListRequest request, TimePoint deadline) = 0;
  // REQUIRES: the bucket is an available one.
  virtual Task<Result<ListVersionsResult>> list_versions(ListVersionsRequest request,
                                                         TimePoint deadline) = 0;
  // The parts of an object made by multipart (GetObjectAttributes), from part `after` + 1 on.
  virtual Task<Result<std::vector<PartInfo>>> object_parts(std::string bucket, std::string key,
                                                           std::optional<std::string> version,
                                                           uint32_t after, size_t limit,
                                                           TimePoint deadline) = 0;

  virtual Task<Result<UploadInfo>> create_upload(CreateUploadRequest request,
                                                 TimePoint deadline) = 0;
  virtual Task<Result<UploadInfo>> upload(std::string bucket, std::string key, UploadId id,
                                          TimePoint deadline) = 0;
  virtual Task<Result<PartInfo>> upload_part(UploadPartRequest request, BodySource& body,
                                             TimePoint deadline) = 0;
  virtual Task<Result<PartInfo>> copy_part(CopyPartRequest request, TimePoint deadline) = 0;
  // The same Complete again gets the same answer.
  virtual Task<Result<ObjectInfo>> complete_upload(CompleteRequest request, TimePoint deadline) = 0;
  virtual Task<Status> abort_upload(std::string bucket, std::string key, UploadId id,
                                    TimePoint deadline) = 0;
  virtual Task<Result<std::vector<PartInfo>>> parts(std::string bucket, std::string key,
                                                    UploadId id, uint32_t after, size_t limit,
                                                    TimePoint deadline) = 0;
  virtual Task<Result<ListUploadsResult>> uploads(ListUploadsRequest request,
                                                  TimePoint deadline) = 0;
};

}  // namespace covey
