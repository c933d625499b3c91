// Versions of the keys of available buckets: what is current, and what lost to concurrent writes.
#include <algorithm>
#include <set>

#include "base/core/limits.h"
#include "store/objects/store.h"

namespace covey {
namespace {

constexpr size_t kRowsPerPage = 256;

// What a listing shows of a key, newest first: each version once, and a deletion only while it
// hides other versions.
std::vector<const Sibling*> shown(const AvailableRow& row) {
  std::vector<const Sibling*> found;
  std::set<VersionId> seen;
  for (const Sibling& one : row.siblings) {
    bool current = &one == row.winner();
    if ((one.tombstone && !current) || !seen.insert(one.version).second) continue;
    found.push_back(&one);
  }
  if (found.size() == 1 && found[0]->tombstone) found.clear();
  return found;
}

Result<ListedVersion> listed(std::string key, const Sibling& one, bool latest) {
  ListedVersion version;
  version.object.key = std::move(key);
  version.version = one.version;
  version.latest = latest;
  version.deletion = one.tombstone;
  version.object.modified = {one.stamp.wall_ms};
  if (one.tombstone) return version;
  rows::HeadRow head;
  if (!head.ParseFromString(one.row)) return fail(ErrorCode::kCorrupt, "a head does not decode");
  version.object.size = head.size();
  version.object.etag = head.etag();
  version.object.modified = {head.modified_ms()};
  version.object.owner = head.owner();
  version.object.storage_class = head.storage_class();
  version.object.checksum = from_row(head.checksum());
  return version;
}

// One index shard of the bucket, row by row.
struct Shard {
  RegisterKey begin;
  std::string end;
  std::vector<std::pair<std::string, AvailableRow>> rows;
  size_t at = 0;
  bool more = true;
  bool empty() const { return at == rows.size(); }
  std::string_view key() const {
    return std::string_view(rows[at].first).substr(kShardPrefixBytes);
  }
};

}  // namespace

Task<Status> Store::find_version(HeadAt& head, std::string version, TimePoint deadline) {
  auto id = VersionId::from_hex(version);
  RegisterKey key = head_key(head.at.space, head.key);
  CO_TRY(AvailableRow row, co_await available_.rows->look_up(std::move(key), step(deadline)));
  for (const Sibling& one : row.siblings) {
    if (!id || one.version != *id || one.tombstone) continue;
    if (!head.row.ParseFromString(one.row))
      co_return fail(ErrorCode::kCorrupt, "a head row does not decode");
    if (!head.row.inline_body()) co_return Status();
    CO_TRY(head.inline_body, co_await available_.rows->read_attachment(
                                 head.partition, *id, std::string(kInlineSuffix), step(deadline)));
    co_return Status();
  }
  co_return fail(ErrorCode::kNoSuchVersion, "no such version");
}

Task<Result<ListVersionsResult>> Store::list_versions(ListVersionsRequest request,
                                                      TimePoint deadline) {
  ListVersionsResult result;
  CO_TRY(BucketAt at, co_await find_bucket(request.bucket, deadline));
  if (!at.space.available)
    co_return fail(ErrorCode::kInvalid, "the bucket has no versions of its own");
  if (request.limit == 0) co_return result;
  std::vector<Shard> shards(at.space.shards);
  std::string end = prefix_end(request.prefix);
  // After a common prefix everything that it stands for is skipped.
  std::string folded;
  if (!request.delimiter.empty() && request.key_marker.starts_with(request.prefix) &&
      request.key_marker.size() > request.prefix.size() &&
      request.key_marker.ends_with(request.delimiter))
    folded = request.key_marker;
  for (uint32_t shard = 0; shard < shards.size(); ++shard) {
    std::string prefix = shard_prefix(at.bucket.id, shard);
    PartitionId partition = shard_partition(at.bucket.id, shard, at.space.partitions);
    std::string first = std::max(request.prefix, request.key_marker);
    shards[shard].begin = {at.space.heads(), partition, prefix + first};
    shards[shard].end = end.empty() ? prefix_end(prefix) : prefix + end;
  }
  while (true) {
    Shard* least = nullptr;
    for (Shard& shard : shards) {
      while (shard.empty() && shard.more) {
        CO_TRY(AvailableRows::Rows page, co_await available_.rows->rows(
                                             shard.begin, shard.end, kRowsPerPage, step(deadline)));
        shard.rows = std::move(page.rows);
        shard.at = 0;
        shard.more = page.truncated;
        shard.begin.key = std::move(page.next);
      }
      if (!shard.empty() && (!least || shard.key() < least->key())) least = &shard;
    }
    if (!least) co_return result;
    const std::string key(least->key());
    const AvailableRow row = std::move(least->rows[least->at++].second);
    if (!folded.empty() && key.starts_with(folded)) continue;
    if (key == request.key_marker && request.version_marker.empty()) continue;
    std::vector<const Sibling*> versions = shown(row);
    if (versions.empty()) continue;
    size_t cut = request.delimiter.empty() ? std::string::npos
                                           : key.find(request.delimiter, request.prefix.size());
    if (cut != std::string::npos) {
      if (result.versions.size() + result.common_prefixes.size() == request.limit) {
        result.truncated = true;
        co_return result;
      }
      folded = key.substr(0, cut + request.delimiter.size());
      result.common_prefixes.push_back(folded);
      result.next_key = folded, result.next_version.clear();
      continue;
    }
    size_t from = 0;
    if (key == request.key_marker) {  // all of them, if the marker's version is gone
      for (size_t i = 0; i < versions.size(); ++i)
        if (versions[i]->version.hex() == request.version_marker) from = i + 1;
    }
    for (size_t i = from; i < versions.size(); ++i) {
      if (result.versions.size() + result.common_prefixes.size() == request.limit) {
        result.truncated = true;
        co_return result;
      }
      CO_TRY(ListedVersion one, listed(key, *versions[i], i == 0));
      result.next_key = key, result.next_version = one.version.hex();
      result.versions.push_back(std::move(one));
    }
  }
}

}  // namespace covey
