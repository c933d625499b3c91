// Listing: one ordered stream per index shard, merged. Each stream asks its partition for a page at
// a time.
#include <algorithm>

#include "base/core/codec.h"
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
    bool after_prefix = false;
    if (!request.delimiter.empty() && request.after.starts_with(request.prefix)) {
      size_t cut = request.after.find(request.delimiter, request.prefix.size());
      after_prefix =
          cut != std::string::npos && cut + request.delimiter.size() == request.after.size();
    }
    first = after_prefix ? prefix_end(request.after) : request.after + '\0';
  }
  return first;
}

// The fields of a HeadRow that a listing shows, read off the wire format (field number << 3 | wire
// type): decoding whole rows is most of a listing's work.
bool read_listed(std::string_view row, ListedObject& out) {
  enum : uint64_t {
    kSize = 2 << 3,
    kEtag = 3 << 3 | 2,
    kModified = 4 << 3,
    kOwner = 5 << 3 | 2,
    kClass = 6 << 3 | 2,
    kChecksum = 10 << 3 | 2
  };
  Reader r(row);
  while (r.ok() && !r.done()) {
    uint64_t tag = r.varint();
    switch (tag) {
      case kSize: out.size = r.varint(); continue;
      case kEtag: out.etag = r.bytes(); continue;
      case kModified: out.modified = {static_cast<int64_t>(r.varint())}; continue;
      case kOwner: out.owner = r.bytes(); continue;
      case kClass: out.storage_class = r.bytes(); continue;
      case kChecksum: {
        rows::ChecksumValue checksum;
        std::string_view bytes = r.bytes();
        if (!checksum.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
        out.checksum = from_row(checksum);
        continue;
      }
      default: break;
    }
    switch (tag & 7) {
      case 0: r.varint(); break;
      case 1: r.raw(8); break;
      case 2: r.bytes(); break;
      case 5: r.raw(4); break;
      default: return false;
    }
  }
  return r.ok();
}

}  // namespace

Task<Result<ListResult>> Store::list(ListRequest request, TimePoint deadline) {
  ListResult result;
  CO_TRY(BucketAt at, co_await find_bucket(request.bucket, deadline));
  if (request.limit == 0) co_return result;
  result.objects.reserve(std::min(request.limit, kListKeysMax));
  std::string first = first_key(request), end = prefix_end(request.prefix);
  std::vector<Stream> streams(at.space.shards);
  // A page is spread evenly over the shards; a little more than its share saves most second trips.
  size_t share = std::min(request.limit + 1, request.limit / streams.size() * 5 / 4 + 24);
  for (uint32_t shard = 0; shard < streams.size(); ++shard) {
    std::string prefix = shard_prefix(at.bucket.id, shard);
    RangeQuery& query = streams[shard].query;
    query.table = at.space.heads();
    query.partition = shard_partition(at.bucket.id, shard, at.space.partitions);
    query.begin = prefix + first;
    query.end = end.empty() ? prefix_end(prefix) : prefix + end;
    query.limit = share;
    query.delimiter = request.delimiter;
    query.delimiter_from = kShardPrefixBytes + request.prefix.size();
  }
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
      ListedObject& object = result.objects.emplace_back();
      object.key = key;
      if (!read_listed(item.row, object))
        co_return fail(ErrorCode::kCorrupt, "a head row does not decode");
    }
    ++least->at;
  }
  if (!result.truncated) result.next.clear();
  co_return result;
}

}  // namespace covey
