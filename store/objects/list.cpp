// Listing: one ordered stream per index shard, merged. Each stream asks its partition for a page at
// a time.
#include <algorithm>

#include "base/core/limits.h"
#include "store/objects/store.h"

namespace covey {
namespace {

struct Stream {
  RangeQuery query;
  std::vector<RangeItem> items;
  size_t at = 0;
  bool more = true;

  bool empty() const { return at == items.size(); }
  std::string_view key() const { return std::string_view(items[at].key).substr(kShardPrefixBytes); }
};

// Where a listing starts: the first key that may be shown.
std::string first_key(const ListRequest& request) {
  std::string first = request.prefix;
  if (!request.after.empty() && request.after >= request.prefix) {
    // Going on after a common prefix skips all that it stands for.
    bool after_prefix = !request.delimiter.empty() &&
                        request.after.size() > request.prefix.size() &&
                        request.after.compare(0, request.prefix.size(), request.prefix) == 0 &&
                        request.after.find(request.delimiter, request.prefix.size()) ==
                            request.after.size() - request.delimiter.size();
    first = after_prefix ? prefix_end(request.after) : request.after + '\0';
  }
  return first;
}

ObjectInfo listed(std::string_view key, const std::string& row, rows::HeadRow& scratch, bool& ok) {
  ok = scratch.ParseFromString(row);
  ObjectInfo info;
  info.key = std::string(key);
  info.size = scratch.size();
  info.etag = scratch.etag();
  info.modified = {scratch.modified_ms()};
  info.owner = scratch.owner();
  if (!scratch.storage_class().empty()) info.storage_class = scratch.storage_class();
  info.checksum = from_row(scratch.checksum());
  return info;
}

}  // namespace

Task<Result<ListResult>> Store::list(ListRequest request, TimePoint deadline) {
  ListResult result;
  CO_TRY(BucketAt at, co_await find_bucket(request.bucket, deadline));
  if (request.limit == 0) co_return result;
  std::string first = first_key(request), end = prefix_end(request.prefix);
  std::vector<Stream> streams(at.space.shards);
  // A page is spread evenly over the shards; a little more than its share saves most second trips.
  size_t share = std::min(request.limit + 1, request.limit / streams.size() * 5 / 4 + 24);
  for (uint32_t shard = 0; shard < streams.size(); ++shard) {
    std::string prefix = shard_prefix(at.bucket.id, shard);
    RangeQuery& query = streams[shard].query;
    query.table = TableId::kHeads;
    query.partition = shard_partition(at.bucket.id, shard, at.space.partitions);
    query.begin = prefix + first;
    query.end = end.empty() ? prefix_end(prefix) : prefix + end;
    query.limit = share;
    query.delimiter = request.delimiter;
    query.delimiter_from = kShardPrefixBytes + request.prefix.size();
  }
  rows::HeadRow scratch;
  std::string last_prefix;
  while (true) {
    Stream* least = nullptr;
    for (Stream& stream : streams) {
      while (stream.empty() && stream.more) {
        CO_TRY(RangePage page, co_await range(at, stream.query, deadline));
        stream.items = std::move(page.items);
        stream.at = 0;
        stream.more = page.truncated;
        stream.query.begin = std::move(page.next);
      }
      if (!stream.empty() && (!least || stream.key() < least->key())) least = &stream;
    }
    if (!least) break;
    const RangeItem& item = least->items[least->at];
    std::string_view key = least->key();
    if (item.is_prefix && key == last_prefix && !result.common_prefixes.empty()) {
      ++least->at;  // another shard showed it
      continue;
    }
    if (result.objects.size() + result.common_prefixes.size() == request.limit) {
      result.truncated = true;
      break;
    }
    result.next = std::string(key);
    if (item.is_prefix) {
      last_prefix = std::string(key);
      result.common_prefixes.push_back(last_prefix);
    } else {
      bool ok = false;
      result.objects.push_back(listed(key, item.row, scratch, ok));
      if (!ok) co_return fail(ErrorCode::kCorrupt, "a head row does not decode");
    }
    ++least->at;
  }
  if (!result.truncated) result.next.clear();
  co_return result;
}

}  // namespace covey
