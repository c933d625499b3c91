// The register tables of the object store: what each row means and how a request changes it. Pure
// but for the garbage hook, which stamps what a displaced row referred to, so that reclaim.h finds
// it in order of age.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/async/clock.h"
#include "proto/rows.pb.h"
#include "store/available/table.h"
#include "store/objects/objects.h"
#include "store/register/registers.h"

namespace covey {

// Orders garbage without a wall clock: boot count, then milliseconds since this process started.
class GarbageClock {
 public:
  GarbageClock(Clock& clock, uint32_t boot) : clock_(clock), start_(clock.now()), boot_(boot) {}
  uint64_t stamp() const {
    auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(clock_.now() - start_).count();
    return static_cast<uint64_t>(boot_) << 40 | static_cast<uint64_t>(ms);
  }
  // The stamp of something that became garbage `age` ago; what an earlier process left counts as
  // made at this start.
  uint64_t stamp_before(Duration age) const {
    auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(clock_.now() - start_ - age).count();
    if (ms < 0) return 0;
    return static_cast<uint64_t>(boot_) << 40 | static_cast<uint64_t>(ms);
  }

 private:
  Clock& clock_;
  TimePoint start_;
  uint32_t boot_;
};

// Mutation bodies start with one byte that says whether they are blind, so that a holder need not
// parse them.
inline constexpr char kBlind = 'b', kConditional = 'c';
std::string encode_mutation(bool blind, const google::protobuf::MessageLite& message);

std::string to_string(const rows::HeadRow& row);
ObjectInfo object_info(std::string key, const rows::HeadRow& row);
void set_conditions(rows::ConditionsMessage& out, const Conditions& in);

// The If- headers of reads and of copy sources against a head. kPreconditionFailed, kNotModified.
Status check_read_conditions(const Conditions& conditions, const rows::HeadRow& row);

class HeadTable : public RegisterTable {
 public:
  explicit HeadTable(const GarbageClock& garbage) : garbage_(garbage) {}
  TableId id() const override { return TableId::kHeads; }
  bool blind(const Mutation& mutation) const override;
  Result<Write> apply(const std::optional<std::string>& current,
                      const Mutation& mutation) const override;
  std::optional<std::pair<VersionId, std::string>> inline_attachment(
      std::string_view row) const override;
  // The inline body, or the chunks of the manifest.
  std::vector<std::pair<VersionId, std::string>> attachments(std::string_view row) const override;
  std::vector<VersionId> brings(std::string_view row) const override;
  void on_replace(const RegisterKey& key, std::string_view old,
                  const std::optional<std::string>& fresh, WriteBatch& batch) const override;

 private:
  const GarbageClock& garbage_;
};

// Uploads, buckets and block references leave no garbage and have nothing inline.
class PlainTable : public RegisterTable {
 public:
  bool blind(const Mutation& mutation) const override;
  std::optional<std::pair<VersionId, std::string>> inline_attachment(
      std::string_view) const override {
    return std::nullopt;
  }
  void on_replace(const RegisterKey&, std::string_view, const std::optional<std::string>&,
                  WriteBatch&) const override {}
};

class UploadTable : public PlainTable {
 public:
  TableId id() const override { return TableId::kUploads; }
  // While it is being completed: those of the head to be.
  std::vector<std::pair<VersionId, std::string>> attachments(std::string_view row) const override;
  Result<Write> apply(const std::optional<std::string>& current,
                      const Mutation& mutation) const override;
};

class PartTable : public PlainTable {
 public:
  explicit PartTable(const GarbageClock& garbage) : garbage_(garbage) {}
  TableId id() const override { return TableId::kParts; }
  // Its upload has ended, or is not known here.
  bool dead(std::string_view row, const RowLookup& lookup) const override;
  Result<Write> apply(const std::optional<std::string>& current,
                      const Mutation& mutation) const override;
  std::vector<VersionId> brings(std::string_view row) const override;
  void on_replace(const RegisterKey& key, std::string_view old,
                  const std::optional<std::string>& fresh, WriteBatch& batch) const override;

 private:
  const GarbageClock& garbage_;
};

class BucketTable : public PlainTable {
 public:
  TableId id() const override { return TableId::kBuckets; }
  Result<Write> apply(const std::optional<std::string>& current,
                      const Mutation& mutation) const override;
};

// A claim's row: '+', then the versions whose blocks the copy uses. Of more than kClaimVersionsMax
// none is told, as in claims of releases before: then it may use any of its owner's.
inline constexpr size_t kClaimVersionsMax = 2048;
std::string claim_row(const std::set<std::string>& versions);
// Empty: none is told.
std::vector<VersionId> claimed_versions(std::string_view row);

// The body is "bp" and the row to add, "bd" to remove.
class BlockRefTable : public PlainTable {
 public:
  TableId id() const override { return TableId::kBlockRefs; }
  Result<Write> apply(const std::optional<std::string>& current,
                      const Mutation& mutation) const override;
};

VersionId version_of_head(std::string_view row);

// All of them, made once and handed to the register service.
struct ObjectTables {
  explicit ObjectTables(const GarbageClock& garbage, ConflictLog* log = nullptr)
      : heads(garbage),
        parts(garbage),
        available_heads(TableId::kAvailableHeads, heads, version_of_head, log),
        available_uploads(TableId::kAvailableUploads, uploads, nullptr, nullptr),
        available_parts(TableId::kAvailableParts, parts, nullptr, nullptr) {}
  std::vector<const RegisterTable*> all() const {
    return {&heads,           &uploads,           &parts,          &buckets, &refs,
            &available_heads, &available_uploads, &available_parts};
  }
  HeadTable heads;
  UploadTable uploads;
  PartTable parts;
  BucketTable buckets;
  BlockRefTable refs;
  AvailableTable available_heads, available_uploads, available_parts;
};

}  // namespace covey
