#include "store/objects/tables.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/core/codec.h"
#include "base/core/seeded_bug.h"
#include "store/objects/keys.h"

namespace covey {
namespace {

template <class Message>
Result<Message> parse(std::string_view bytes, const char* what) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(ErrorCode::kCorrupt, fmt::format("a {} does not decode", what));
  }
  return message;
}

template <class Message>
Result<Message> parse_mutation(const Mutation& mutation, const char* what) {
  if (mutation.body.empty()) return fail(ErrorCode::kInvalid, "an empty mutation");
  return parse<Message>(std::string_view(mutation.body).substr(1), what);
}

bool matches(const google::protobuf::RepeatedPtrField<std::string>& etags,
             const std::string& etag) {
  return std::any_of(etags.begin(), etags.end(),
                     [&](const std::string& e) { return e == "*" || e == etag; });
}

Status check_write_conditions(const rows::ConditionsMessage& want, const rows::HeadRow* current) {
  auto failed = [] { return fail(ErrorCode::kPreconditionFailed, "the condition does not hold"); };
  if (want.if_absent() && current) return failed();
  if (!want.if_version().empty() && (!current || current->version() != want.if_version()))
    return failed();
  if (!want.if_match().empty()) {
    if (!current) return fail(ErrorCode::kNoSuchKey, "If-Match on a key that does not exist");
    if (!matches(want.if_match(), current->etag()) && !SEEDED_BUG("objects-if-match-ignored"))
      return failed();
  }
  if (!want.if_none_match().empty() && current && matches(want.if_none_match(), current->etag()))
    return failed();
  if (want.if_match_last_modified() != 0) {
    if (!current) return fail(ErrorCode::kNoSuchKey, "a condition on a key that does not exist");
    if (current->modified_ms() / 1000 != want.if_match_last_modified()) return failed();
  }
  if (want.has_size()) {
    if (!current) return fail(ErrorCode::kNoSuchKey, "a condition on a key that does not exist");
    if (current->size() != want.object_size()) return failed();
  }
  return {};
}

void add_garbage(const GarbageClock& clock, const RegisterKey& key, std::string_view version,
                 std::string_view old, WriteBatch& batch) {
  rows::GarbageRow row;
  row.set_table(static_cast<uint32_t>(key.table));
  row.set_partition(key.partition);
  row.set_key(key.key);
  row.set_row(std::string(old));
  std::string name;
  Writer writer(name);
  writer.u8(static_cast<uint8_t>(TableId::kGarbage));
  writer.u64_be(clock.stamp());
  writer.raw(version);
  batch.put(std::move(name), row.SerializeAsString());
}

}  // namespace

namespace {

template <class Extents>
std::vector<VersionId> owned(const Extents& extents) {
  std::vector<VersionId> versions;
  for (const rows::Extent& extent : extents) {
    auto version = VersionId::from_bytes(extent.version());
    if (version && extent.inline_body().empty() && extent.owner().empty())
      versions.push_back(*version);
  }
  return versions;
}

}  // namespace

VersionId version_of_head(std::string_view row) {
  auto head = parse<rows::HeadRow>(row, "head row");
  if (!head) return {};
  return VersionId::from_bytes(head->version()).value_or(VersionId{});
}

std::vector<VersionId> HeadTable::brings(std::string_view row) const {
  auto head = parse<rows::HeadRow>(row, "head row");
  return head ? owned(head->extents()) : std::vector<VersionId>();
}

std::vector<VersionId> PartTable::brings(std::string_view row) const {
  auto part = parse<rows::PartRow>(row, "part row");
  return part ? owned(part->part().extents()) : std::vector<VersionId>();
}

std::string encode_mutation(bool blind, const google::protobuf::MessageLite& message) {
  std::string body(1, blind ? kBlind : kConditional);
  message.AppendToString(&body);
  return body;
}

std::string to_string(const rows::HeadRow& row) { return row.SerializeAsString(); }

void set_conditions(rows::ConditionsMessage& out, const Conditions& in) {
  for (const std::string& etag : in.if_match) out.add_if_match(etag);
  for (const std::string& etag : in.if_none_match) out.add_if_none_match(etag);
  if (in.if_match_last_modified) {
    // 0 is "no condition" in the message; 1970 must not become that, and no object is as old.
    int64_t seconds = in.if_match_last_modified->ms / 1000;
    out.set_if_match_last_modified(seconds == 0 ? 1 : seconds);
  }
  if (in.if_match_size) {
    out.set_has_size(true);
    out.set_object_size(*in.if_match_size);
  }
}

ObjectInfo object_info(std::string key, const rows::HeadRow& row) {
  ObjectInfo info;
  info.key = std::move(key);
  info.version = VersionId::from_bytes(row.version()).value_or(VersionId{});
  info.size = row.size();
  info.etag = row.etag();
  info.modified = {row.modified_ms()};
  info.owner = row.owner();
  if (!row.storage_class().empty()) info.storage_class = row.storage_class();
  for (const auto& [name, value] : row.headers()) info.headers.emplace(name, value);
  for (const auto& [name, value] : row.user_metadata()) info.user_metadata.emplace(name, value);
  for (const auto& [name, value] : row.tags()) info.tags.emplace(name, value);
  info.checksum = {row.checksum().algorithm(), row.checksum().value(), !row.checksum().composite()};
  info.parts = row.parts();
  info.acl = row.acl();
  return info;
}

// RFC 9110 section 13.2.2: If-Match overrides If-Unmodified-Since, If-None-Match overrides
// If-Modified-Since.
Status check_read_conditions(const Conditions& want, const rows::HeadRow& row) {
  auto any = [&](const std::vector<std::string>& etags) {
    return std::any_of(etags.begin(), etags.end(),
                       [&](const std::string& e) { return e == "*" || e == row.etag(); });
  };
  int64_t modified_s = row.modified_ms() / 1000;
  if (!want.if_match.empty()) {
    if (!any(want.if_match)) return fail(ErrorCode::kPreconditionFailed, {}, "If-Match");
  } else if (want.if_unmodified_since && modified_s > want.if_unmodified_since->ms / 1000) {
    return fail(ErrorCode::kPreconditionFailed, {}, "If-Unmodified-Since");
  }
  if (!want.if_none_match.empty()) {
    if (any(want.if_none_match)) return fail(ErrorCode::kNotModified, row.etag(), "If-None-Match");
  } else if (want.if_modified_since && modified_s <= want.if_modified_since->ms / 1000) {
    return fail(ErrorCode::kNotModified, row.etag(), "If-Modified-Since");
  }
  return {};
}

bool HeadTable::blind(const Mutation& mutation) const {
  return !mutation.body.empty() && mutation.body[0] == kBlind;
}

Result<RegisterTable::Write> HeadTable::apply(const std::optional<std::string>& current,
                                              const Mutation& mutation) const {
  TRY(rows::HeadMutation want, parse_mutation<rows::HeadMutation>(mutation, "change of an object"));
  std::optional<rows::HeadRow> now;
  if (current && !blind(mutation)) {
    TRY(now, parse<rows::HeadRow>(*current, "head row"));
  }
  TRY_STATUS(check_write_conditions(want.conditions(), now ? &*now : nullptr));
  Write write;
  switch (want.kind()) {
    case rows::HeadMutation::PUT: {
      write.row = std::move(*want.mutable_row());
      if (blind(mutation)) return write;
      // Whoever finishes a Complete later must see what stood here (complete.cpp).
      TRY(auto head, parse<rows::HeadRow>(write.row, "head row"));
      head.set_conditional(true);
      head.set_replaced(now ? now->version() : "");
      write.row = head.SerializeAsString();
      return write;
    }
    case rows::HeadMutation::DELETE: write.tombstone = true; return write;
    case rows::HeadMutation::TAGS:
      if (!now) return fail(ErrorCode::kNoSuchKey, "no such object");
      *now->mutable_tags() = want.tags();
      write.row = write.reply = now->SerializeAsString();
      return write;
    case rows::HeadMutation::ACL:
      if (!now) return fail(ErrorCode::kNoSuchKey, "no such object");
      now->set_acl(want.acl());
      write.row = write.reply = now->SerializeAsString();
      return write;
    default: return fail(ErrorCode::kInvalid, "an unknown change of an object: upgrade this node");
  }
}

std::optional<std::pair<VersionId, std::string>> HeadTable::inline_attachment(
    std::string_view row) const {
  auto head = parse<rows::HeadRow>(row, "head row");
  if (!head || !head->inline_body()) return std::nullopt;
  auto version = VersionId::from_bytes(head->version());
  if (!version) return std::nullopt;
  return std::pair(*version, std::string(kInlineSuffix));
}

namespace {

std::vector<std::pair<VersionId, std::string>> attachments_of(const rows::HeadRow& head) {
  std::vector<std::pair<VersionId, std::string>> names;
  auto version = VersionId::from_bytes(head.version());
  if (!version) return names;
  if (head.inline_body()) names.emplace_back(*version, std::string(kInlineSuffix));
  for (int chunk = 0; chunk < head.chunk_offset_size(); ++chunk)
    names.emplace_back(*version, manifest_suffix(static_cast<uint32_t>(chunk)));
  return names;
}

}  // namespace

std::vector<std::pair<VersionId, std::string>> HeadTable::attachments(std::string_view row) const {
  auto head = parse<rows::HeadRow>(row, "head row");
  if (!head) return {};
  return attachments_of(*head);
}

std::vector<std::pair<VersionId, std::string>> UploadTable::attachments(
    std::string_view row) const {
  auto upload = parse<rows::UploadRow>(row, "upload row");
  if (!upload || upload->state() != rows::UploadRow::COMPLETING) return {};
  auto head = parse<rows::HeadRow>(upload->head(), "head row");
  if (!head) return {};
  return attachments_of(*head);
}

bool PartTable::dead(std::string_view row, const RowLookup& lookup) const {
  auto part = parse<rows::PartRow>(row, "part row");
  if (!part) return false;  // whoever reads it says that it is corrupt
  auto stored = lookup(TableId::kUploads, part->upload());
  if (!stored) return true;
  auto upload = parse<rows::UploadRow>(*stored, "upload row");
  return upload && (upload->state() == rows::UploadRow::COMPLETED ||
                    upload->state() == rows::UploadRow::ABORTED);
}

void HeadTable::on_replace(const RegisterKey& key, std::string_view old,
                           const std::optional<std::string>& fresh, WriteBatch& batch) const {
  auto displaced = parse<rows::HeadRow>(old, "head row");
  if (!displaced) return;  // nothing can be told from it; the scrub will find its blocks
  if (fresh) {
    auto next = parse<rows::HeadRow>(*fresh, "head row");
    if (next && next->version() == displaced->version()) return;
  }
  if (!displaced->inline_body() && displaced->extents().empty() &&
      displaced->chunk_offset().empty())
    return;
  add_garbage(garbage_, key, displaced->version(), old, batch);
}

bool PlainTable::blind(const Mutation& mutation) const {
  return !mutation.body.empty() && mutation.body[0] == kBlind;
}

Result<RegisterTable::Write> UploadTable::apply(const std::optional<std::string>& current,
                                                const Mutation& mutation) const {
  TRY(rows::UploadMutation want,
      parse_mutation<rows::UploadMutation>(mutation, "change of an upload"));
  Write write;
  if (want.create()) {
    write.row = want.row().SerializeAsString();
    return write;
  }
  if (!current) return fail(ErrorCode::kNoSuchUpload, "no such upload");
  TRY(rows::UploadRow now, parse<rows::UploadRow>(*current, "upload row"));
  if (std::find(want.expect().begin(), want.expect().end(), static_cast<int>(now.state())) ==
      want.expect().end()) {
    // The caller reads the row again to see what became of the upload.
    return fail(ErrorCode::kPreconditionFailed, "the upload is in another state");
  }
  if (!want.expect_claim().empty() && want.expect_claim() != now.claim())
    return fail(ErrorCode::kPreconditionFailed, "another request completes the upload");
  write.tombstone = want.remove();
  if (!want.remove()) write.row = want.row().SerializeAsString();
  return write;
}

Result<RegisterTable::Write> PartTable::apply(const std::optional<std::string>&,
                                              const Mutation& mutation) const {
  TRY(rows::PartRow want, parse_mutation<rows::PartRow>(mutation, "part row"));
  Write write;
  write.row = want.SerializeAsString();
  return write;
}

void PartTable::on_replace(const RegisterKey& key, std::string_view old,
                           const std::optional<std::string>& fresh, WriteBatch& batch) const {
  auto displaced = parse<rows::PartRow>(old, "part row");
  if (!displaced) return;
  if (fresh) {
    auto next = parse<rows::PartRow>(*fresh, "part row");
    if (next && next->version() == displaced->version()) return;
  }
  add_garbage(garbage_, key, displaced->version(), old, batch);
}

Result<RegisterTable::Write> BucketTable::apply(const std::optional<std::string>& current,
                                                const Mutation& mutation) const {
  TRY(rows::BucketMutation want,
      parse_mutation<rows::BucketMutation>(mutation, "change of a bucket"));
  uint64_t generation = 0;
  Write write;
  if (current) {
    TRY(rows::BucketRow now, parse<rows::BucketRow>(*current, "bucket row"));
    generation = now.generation();
    // Creating again: tell the caller who has it.
    if (want.expect_generation() == 0) {
      return fail(ErrorCode::kBucketAlreadyExists, "the bucket exists", now.owner());
    }
  }
  if (generation == 0 && want.expect_generation() != 0)
    return fail(ErrorCode::kNoSuchBucket, "no such bucket");
  if (generation != want.expect_generation())
    return fail(ErrorCode::kConflict, "the bucket changed meanwhile");
  write.tombstone = want.remove();
  if (!want.remove()) write.row = want.row().SerializeAsString();
  return write;
}

Result<RegisterTable::Write> BlockRefTable::apply(const std::optional<std::string>&,
                                                  const Mutation& mutation) const {
  Write write;
  write.tombstone = mutation.body == "bd";
  if (write.tombstone) return write;
  if (!mutation.body.starts_with("bp+"))
    return fail(ErrorCode::kInvalid, "an unknown change of a claim: upgrade this node");
  write.row = mutation.body.substr(2);
  return write;
}

std::string claim_row(const std::set<std::string>& versions) {
  std::string row = "+";
  if (versions.size() > kClaimVersionsMax) return row;
  for (const std::string& version : versions) row += version;
  return row;
}

std::vector<VersionId> claimed_versions(std::string_view row) {
  std::vector<VersionId> versions;
  for (size_t at = 1; at < row.size(); at += VersionId::kSize)
    if (auto version = VersionId::from_bytes(row.substr(at, VersionId::kSize)))
      versions.push_back(*version);
  return versions;
}

}  // namespace covey
