// Store: the ObjectStore over registers and blocks. One source file per family of operations:
// buckets.cpp, put.cpp, get.cpp, remove.cpp, list.cpp, copy.cpp, multipart.cpp, complete.cpp.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/async/memory_budget.h"
#include "base/async/runtime.h"
#include "store/available/service.h"
#include "store/block/blocks.h"
#include "store/meta/kv.h"
#include "store/objects/directory.h"
#include "store/objects/manifest.h"
#include "store/objects/objects.h"
#include "store/objects/tables.h"
#include "store/register/registers.h"

namespace covey {

// A body that has been stored but that no row names yet.
struct StoredBody {
  uint64_t size = 0;
  std::string inline_body;  // used when extents is empty
  std::vector<rows::Extent> extents;
  BodyDigests digests;
};

PartInfo part_info(const rows::ManifestPart& part);
// The row of a part whose body is stored; its time is the caller's to set.
rows::PartRow part_row(uint32_t number, VersionId version, StoredBody stored);

class Store : public ObjectStore {
 public:
  // Everything outlives the store. `scope` ends what goes on in the background (read-ahead,
  // purging) and is joined by its owner.
  // Without `available` no bucket can be made available.
  struct Available {
    AvailableRows* rows = nullptr;
    ControlTables* control = nullptr;
  };
  Store(Runtime runtime, Scope& scope, MemoryBudget& memory, Registers& registers, Blocks& blocks,
        const Topology& topology, Available available);
  Store(Runtime runtime, Scope& scope, MemoryBudget& memory, Registers& registers, Blocks& blocks,
        const Topology& topology)
      : Store(runtime, scope, memory, registers, blocks, topology, Available()) {}
  ~Store() override;

  Task<Result<Bucket>> create_bucket(std::string name, std::string owner, std::string region,
                                     TimePoint deadline, Consistency consistency) override;
  Task<Result<Bucket>> bucket(std::string name, TimePoint deadline, Freshness freshness) override;
  Task<Status> delete_bucket(std::string name, TimePoint deadline) override;
  Task<Result<std::vector<Bucket>>> buckets(TimePoint deadline) override;
  Task<Result<Bucket>> set_bucket(std::string name, std::string setting,
                                  std::optional<std::string> value, TimePoint deadline) override;
  Task<Result<Bucket>> grant_bucket(std::string name, std::string user, Grant grant,
                                    TimePoint deadline) override;

  Task<Result<ObjectInfo>> put(PutRequest request, BodySource& body, TimePoint deadline) override;
  Task<Result<GetResult>> get(GetRequest request, TimePoint deadline) override;
  Task<Result<GetResult>> head(GetRequest request, TimePoint deadline) override;
  Task<Status> remove(DeleteRequest request, TimePoint deadline) override;
  Task<Result<ObjectInfo>> copy(CopyRequest request, TimePoint deadline) override;
  Task<Result<ObjectInfo>> set_tags(std::string bucket, std::string key,
                                    std::optional<std::string> version,
                                    std::map<std::string, std::string> tags,
                                    TimePoint deadline) override;
  Task<Result<ObjectInfo>> set_acl(std::string bucket, std::string key,
                                   std::optional<std::string> version, std::string acl,
                                   TimePoint deadline) override;
  Task<Result<ObjectInfo>> change_head(std::string bucket, std::string key,
                                       std::optional<std::string> version, rows::HeadMutation want,
                                       TimePoint deadline);
  Task<Result<ListResult>> list(ListRequest request, TimePoint deadline) override;
  Task<Result<ListVersionsResult>> list_versions(ListVersionsRequest request,
                                                 TimePoint deadline) override;
  Task<Result<std::vector<PartInfo>>> object_parts(std::string bucket, std::string key,
                                                   std::optional<std::string> version,
                                                   uint32_t after, size_t limit,
                                                   TimePoint deadline) override;

  Task<Result<UploadInfo>> create_upload(CreateUploadRequest request, TimePoint deadline) override;
  Task<Result<UploadInfo>> upload(std::string bucket, std::string key, UploadId id,
                                  TimePoint deadline) override;
  Task<Result<PartInfo>> upload_part(UploadPartRequest request, BodySource& body,
                                     TimePoint deadline) override;
  Task<Result<PartInfo>> copy_part(CopyPartRequest request, TimePoint deadline) override;
  Task<Result<ObjectInfo>> complete_upload(CompleteRequest request, TimePoint deadline) override;
  Task<Status> abort_upload(std::string bucket, std::string key, UploadId id,
                            TimePoint deadline) override;
  Task<Result<std::vector<PartInfo>>> parts(std::string bucket, std::string key, UploadId id,
                                            uint32_t after, size_t limit,
                                            TimePoint deadline) override;
  Task<Result<ListUploadsResult>> uploads(ListUploadsRequest request, TimePoint deadline) override;

 private:
  // Every step of a request (one quorum operation) is bounded, so that the minority side answers
  // within 5 s.
  TimePoint step(TimePoint deadline) const;
  // Writes need a bucket that nobody is deleting; one whose deletion was abandoned is taken back
  // first.
  Task<Result<BucketAt>> writable_bucket(std::string name, TimePoint deadline);
  Task<Result<BucketAt>> find_bucket(std::string name, TimePoint deadline);

  // Where the rows of the bucket's keys are.
  Registers& rows_of(const BucketAt& at) {
    if (at.space.available) return *available_.rows;
    return registers_;
  }
  // registers_.mutate / read, again under the bucket's new generation when the replicas know one.
  Task<Result<std::string>> mutate(BucketAt& at, RegisterKey key, Mutation mutation,
                                   TimePoint deadline);
  Task<Result<ReadResult>> read(BucketAt& at, RegisterKey key, bool with_inline,
                                TimePoint deadline);
  Task<Result<RangePage>> range(BucketAt& at, RangeQuery query, TimePoint deadline);
  Task<Status> put_attachments(BucketAt& at, PartitionId partition, std::vector<Attachment> rows,
                               TimePoint deadline);
  // One call each, since together they may be larger than a message. Chunks of a manifest stand
  // alone until a row names them: if the layout has changed when that row is written, its replicas
  // may be others, and the chunks are put again.
  Task<Status> put_chunks(BucketAt& at, PartitionId partition, std::vector<Attachment> chunks,
                          TimePoint deadline);
  uint32_t layout_epoch() const { return topology_.layout()->epoch; }
  // The bucket again after kStale; kNoSuchBucket if the name now means another one.
  Task<Status> refresh(BucketAt& at, TimePoint deadline);

  Mutation new_mutation(std::string body);

  // put.cpp
  Task<Result<StoredBody>> store_body(const BucketAt& at, std::string key, VersionId version,
                                      uint32_t part, BodySource& body, TimePoint deadline);
  Task<Result<std::string>> write_head(BucketAt& at, std::string key, rows::HeadRow row,
                                       rows::ConditionsMessage conditions,
                                       std::vector<Attachment> attachments, TimePoint deadline);
  // get.cpp
  struct HeadAt {
    BucketAt at;
    std::string key;
    PartitionId partition = 0;
    rows::HeadRow row;
    std::optional<std::string> inline_body;
  };
  Task<Result<HeadAt>> find_head(std::string bucket, std::string key,
                                 std::optional<std::string> version, bool with_inline,
                                 TimePoint deadline);
  Task<Result<GetResult>> open(GetRequest request, bool with_body, TimePoint deadline);
  Task<Status> apply_part_range(const HeadAt& head, uint32_t part, GetResult& result,
                                TimePoint deadline);

  // versions.cpp
  Task<Status> find_version(HeadAt& head, std::string version, TimePoint deadline);

  // buckets.cpp
  Task<Result<rows::BucketRow>> change_register(std::string name, uint64_t expect,
                                                rows::BucketRow row, TimePoint deadline);
  Task<Status> remove_register(std::string name, uint64_t expect, TimePoint deadline);
  Task<Status> reopen(std::string name, TimePoint deadline);
  Task<Status> delete_available(std::string name, rows::BucketRow row, TimePoint deadline);
  Task<Result<rows::BucketRow>> change_bucket(std::string name, uint64_t expect,
                                              rows::BucketRow row, TimePoint deadline);
  // Raises the generation over what `edit` makes of the row; again if somebody else was faster.
  using BucketEdit = std::function<void(rows::BucketRow&)>;
  Task<Result<Bucket>> edit_bucket(std::string name, BucketEdit edit, TimePoint deadline);
  Task<Status> fence_bucket(rows::BucketRow row, TimePoint deadline);
  Task<Result<bool>> bucket_is_empty(std::string name, rows::BucketRow row, TimePoint deadline);

  // copy.cpp
  // The source's bytes as a body to store: where the copy cannot lean on the source's blocks.
  Task<Result<std::unique_ptr<BodySource>>> source_body(HeadAt& source, uint64_t first,
                                                        uint64_t length);
  // Rows that let `holder` use the data behind `parts` without moving it: claims on their owners,
  // after which the source was still there. Errors: kConflict (it was not: there are no claims).
  Task<Status> claim(std::vector<rows::ManifestPart>& parts, const HeadAt& source, VersionId holder,
                     TimePoint deadline);
  // The claims behind `parts`.
  Task<Status> put_claims(const std::vector<rows::ManifestPart>& parts, bool stand,
                          TimePoint deadline);
  // Of a copy whose row was not written, nor will be. The client does not wait for it: what cannot
  // be given back stays, and keeps blocks that nobody needs, no more.
  Task<void> give_back(std::vector<rows::ManifestPart> parts);
  Task<Result<std::vector<rows::ManifestPart>>> source_parts(const HeadAt& source,
                                                             TimePoint deadline);
  Task<Status> still_there(const HeadAt& source, TimePoint deadline);

  // multipart.cpp, complete.cpp
  struct UploadAt {
    BucketAt at;
    rows::UploadRow row;
  };
  Task<Result<UploadAt>> find_upload(std::string bucket, std::string key, UploadId id,
                                     bool must_be_open, TimePoint deadline);
  Task<Result<std::vector<rows::PartRow>>> part_rows(BucketAt& at, std::string key, UploadId id,
                                                     uint32_t after, size_t limit,
                                                     TimePoint deadline);
  Task<Status> write_part(UploadAt& upload, rows::PartRow row, TimePoint deadline);
  // When it is in one of the states and, unless `claim` is empty, under that claim.
  Task<Status> set_upload(BucketAt& at, rows::UploadRow row,
                          std::vector<rows::UploadRow::State> expect, std::string claim,
                          TimePoint deadline);
  Task<Status> claim_upload(UploadAt& upload, rows::UploadRow::State from, TimePoint deadline);
  struct Assembled {
    rows::HeadRow head;
    std::vector<Attachment> chunks;
    uint32_t epoch = 0;  // of the layout under which they were put
  };
  Task<Result<Assembled>> assemble(UploadAt& upload, const CompleteRequest& request,
                                   TimePoint deadline);
  Task<Result<ObjectInfo>> finish_complete(UploadAt& upload, Conditions conditions, bool first,
                                           TimePoint deadline);
  // What stands at an upload's key.
  struct HeadNow {
    std::optional<rows::HeadRow> row;
    Rank rank;
  };
  Task<Result<HeadNow>> current_head(UploadAt& upload, TimePoint deadline);
  static void remember_before(rows::UploadRow& upload, const HeadNow& now);
  Task<Status> end_upload(UploadAt& upload, rows::UploadRow::State state, TimePoint deadline);

  Runtime runtime_;
  Scope& scope_;
  MemoryBudget& memory_;
  Registers& registers_;
  Blocks& blocks_;
  const Topology& topology_;
  Available available_;
  BucketDirectory directory_;
};

}  // namespace covey
