#include "store/register/walk.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

#include "base/core/limits.h"

namespace covey {

size_t folded_prefix(std::string_view key, std::string_view delimiter, size_t from) {
  if (delimiter.empty() || key.size() <= from) return 0;
  size_t at = key.find(delimiter, from);
  return at == std::string_view::npos ? 0 : at + delimiter.size();
}

std::string behind_prefix(std::string prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(static_cast<uint8_t>(prefix.back()) + 1);
  return prefix;
}

Result<Walk> walk_range(Kv& kv, const Request& query) {
  Walk walk;
  std::string base = register_store_prefix(query.key.table, query.key.partition);
  std::string begin = base + query.key.key;
  std::string end = query.end.empty() ? behind_prefix(base) : base + query.end;
  if (begin >= end) return walk;
  const bool keep = query.range_want != RangeWant::kDigest;
  const bool rows = query.range_want == RangeWant::kRows;
  size_t visited = 0, digested = 0, row_bytes = 0;
  uint64_t digest = 0;
  if (keep) walk.visits.reserve(std::min<size_t>(query.limit, kListKeysMax + 1));
  auto it = kv.scan(std::move(begin), std::move(end));
  while (it->valid()) {
    std::string_view key = it->key().substr(base.size());
    if (!query.stop.empty() && key > query.stop) break;
    if (visited == kWalkVisitsMax || row_bytes > kWalkRowBytesMax) {
      walk.cut = true;
      break;
    }
    TRY(EntryView view, view_entry(it->value()));
    ++visited;
    // A committed tombstone is as good as a missing row, and other replicas may have collected it.
    const bool gone = view.tombstone && view.committed;
    if (!gone) {
      ++digested;
      digest = XXH3_64bits_withSeed(key.data(), key.size(), digest);
      digest = XXH3_64bits_withSeed(view.rank_bytes.data(), view.rank_bytes.size(), digest);
    }
    walk.after = std::max(walk.after, it->version());
    size_t fold = view.tombstone ? 0 : folded_prefix(key, query.delimiter, query.delimiter_from);
    if (keep && !gone) {
      Visit visit{std::string(key), view.rank, !view.tombstone, fold > 0, {}};
      if (rows && !view.tombstone && fold == 0) visit.row = std::string(view.row);
      row_bytes += visit.row.size() + visit.key.size();
      walk.visits.push_back(std::move(visit));
    }
    walk.last.assign(key);
    if (!view.tombstone && ++walk.live == query.limit) {
      walk.cut = true;
      break;
    }
    std::string behind = fold > 0 ? behind_prefix(base + walk.last.substr(0, fold)) : std::string();
    if (fold == 0) {
      it->next();
    } else {
      it->seek(behind);
    }
  }
  TRY_STATUS(it->status());
  walk.digest = digest ^ digested;
  return walk;
}

}  // namespace covey
