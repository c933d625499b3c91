#include "store/block/segment_store.h"

#include <algorithm>

#include "base/core/codec.h"
#include "base/core/log.h"
#include "base/core/seeded_bug.h"
#include "store/block/block_rows.h"
#include "store/meta/refused.h"

namespace covey {
namespace {

constexpr size_t kOpenFilesMax = 128;

}  // namespace

SegmentStore::SegmentStore(SegmentOptions options, Runtime runtime, Kv& kv)
    : options_(std::move(options)),
      runtime_(runtime),
      kv_(kv),
      ballast_(runtime.disk, options_.dirs, options_.segment_bytes) {}

SegmentStore::~SegmentStore() { CHECK(!writing_); }

Task<void> SegmentStore::close() {
  closed_ = true;
  scope_.request_stop();
  co_await scope_.join();
  open_files_.clear();
  active_file_.reset();
}

std::string SegmentStore::segment_name(uint64_t segment) {
  std::string name;
  Writer(name).u64_be(segment);
  return hex_encode(name) + ".seg";
}

std::string SegmentStore::path(uint64_t segment) const {
  return options_.dirs[segments_.at(segment).dir] + "/segments/" + segment_name(segment);
}

std::string SegmentStore::index_prefix(PartitionId home) {
  return block_row_prefix(TableId::kBlockIndex, home);
}

std::string SegmentStore::index_key(const BlockKey& block) {
  return block_row_key(TableId::kBlockIndex, block);
}

std::string SegmentStore::segment_key(uint64_t segment) {
  std::string key = table_begin(TableId::kSegments);
  Writer(key).u64_be(segment);
  return key;
}

Result<std::optional<SegmentStore::Place>> SegmentStore::find(const BlockKey& key) {
  TRY(std::optional<KvValue> value, kv_.get(index_key(key)));
  if (!value) return std::optional<Place>();
  TRY(Place place, decode_place(value->bytes));
  return std::optional<Place>(place);
}

Result<SegmentStore::Place> SegmentStore::decode_place(std::string_view bytes) {
  Reader r(bytes);
  Place place;
  place.segment = r.u64();
  place.start = r.u32();
  place.head_bytes = r.u32();
  place.payload_bytes = r.u32();
  if (!r.done()) return fail(ErrorCode::kCorrupt, "a block's place does not decode");
  return place;
}

void SegmentStore::remember(WriteBatch& batch, const BlockKey& key, const Place& place) {
  std::string value;
  Writer w(value);
  w.u64(place.segment);
  w.u32(place.start);
  w.u32(place.head_bytes);
  w.u32(place.payload_bytes);
  batch.put(index_key(key), std::move(value));
}

void SegmentStore::remember(WriteBatch& batch, uint64_t segment) {
  const Segment& s = segments_.at(segment);
  std::string value;
  Writer w(value);
  w.u64(s.end);
  w.u64(s.used);
  w.u64(s.dead);
  batch.put(segment_key(segment), std::move(value));
}

void SegmentStore::forget(WriteBatch& batch, const BlockKey& key, const Place& place) {
  batch.erase(index_key(key));
  if (segments_.contains(place.segment)) count_dead(key.home, place);
}

void SegmentStore::count_live(PartitionId home, const Place& place) {
  live_bytes_ += place.record_bytes();
  home_bytes_[home] += place.record_bytes();
}

void SegmentStore::count_dead(PartitionId home, const Place& place) {
  segments_.at(place.segment).dead += place.record_bytes();
  dead_bytes_ += place.record_bytes();
  live_bytes_ -= std::min(live_bytes_, place.record_bytes());
  uint64_t& bytes = home_bytes_[home];
  bytes -= std::min(bytes, place.record_bytes());
}

uint64_t SegmentStore::bytes_of(PartitionId home) const {
  auto it = home_bytes_.find(home);
  return it == home_bytes_.end() ? 0 : it->second;
}

Task<Result<std::shared_ptr<File>>> SegmentStore::file(uint64_t segment) {
  for (auto it = open_files_.begin(); it != open_files_.end(); ++it) {
    if (it->first != segment) continue;
    open_files_.splice(open_files_.begin(), open_files_, it);
    co_return open_files_.front().second;
  }
  if (!segments_.contains(segment)) co_return fail(ErrorCode::kNotFound, "the segment is gone");
  CO_TRY(std::unique_ptr<File> opened,
         co_await runtime_.disk.open(path(segment), Disk::Open::kReadWrite));
  open_files_.emplace_front(segment, std::shared_ptr<File>(std::move(opened)));
  if (open_files_.size() > kOpenFilesMax) open_files_.pop_back();
  co_return open_files_.front().second;
}

bool SegmentStore::has(const BlockKey& key) {
  auto place = find(key);
  return place && place->has_value() && segments_.contains((*place)->segment);
}

// A row that cannot be read says nothing of the version, only that this node cannot take it.
Status SegmentStore::may_be_named(VersionId version) {
  TRY(std::optional<KvValue> row, kv_.get(refused_store_key(version)));
  if (row) return fail(ErrorCode::kStale, "blocks of this version were reclaimed");
  return {};
}

bool SegmentStore::refused(VersionId version) {
  auto row = kv_.get(refused_store_key(version));
  return !row || row->has_value();  // an unreadable row must not let a refused version through
}

Result<bool> SegmentStore::refused_for_good(VersionId version) {
  TRY(std::optional<KvValue> row, kv_.get(refused_store_key(version)));
  return row && row->bytes.empty();
}

Result<std::vector<SegmentStore::Listed>> SegmentStore::list(PartitionId home,
                                                             std::optional<BlockId> after,
                                                             size_t limit) {
  std::vector<Listed> listed;
  std::string begin = after ? index_key({home, *after}) + '\0' : index_prefix(home);
  auto rows = kv_.scan(std::move(begin), index_prefix(home + 1));
  for (; rows->valid() && listed.size() < limit; rows->next()) {
    auto key = decode_block_row_key(rows->key());
    if (!key) return fail(ErrorCode::kCorrupt, "a key of the block index does not decode");
    TRY(Place place, decode_place(rows->value()));
    auto segment = segments_.find(place.segment);
    if (segment == segments_.end()) continue;
    listed.push_back({key->id, place.payload_bytes, segment->second.written});
  }
  TRY_STATUS(rows->status());
  return listed;
}

std::optional<BlockId> SegmentStore::first_of(PartitionId home, const VersionId& version) {
  std::string begin = index_prefix(home).append(version.view());
  std::string end = begin + std::string(4, '\xff') + '\0';
  auto rows = kv_.scan(std::move(begin), std::move(end));
  auto key = rows->valid() ? decode_block_row_key(rows->key()) : std::nullopt;
  if (!key) return std::nullopt;
  return key->id;
}

bool SegmentStore::written_since(PartitionId home, const VersionId& version, TimePoint since) {
  std::string begin = index_prefix(home).append(version.view());
  std::string end = begin + std::string(4, '\xff') + '\0';
  auto rows = kv_.scan(std::move(begin), std::move(end));
  for (; rows->valid(); rows->next()) {
    auto place = decode_place(rows->value());
    if (!place) return true;  // the careful answer
    auto segment = segments_.find(place->segment);
    if (segment != segments_.end() && segment->second.written > since) return true;
  }
  return !rows->status();
}

Task<Status> SegmentStore::drop(PartitionId home, VersionId version) {
  WriteBatch batch;
  batch.use_reserve();
  std::string begin = index_prefix(home).append(version.view());
  std::string end = begin + std::string(4, '\xff') + '\0';
  std::vector<std::pair<BlockKey, Place>> found;
  auto rows = kv_.scan(std::move(begin), std::move(end));
  for (; rows->valid(); rows->next()) {
    auto key = decode_block_row_key(rows->key());
    if (!key) co_return fail(ErrorCode::kCorrupt, "a key of the block index does not decode");
    CO_TRY(Place place, decode_place(rows->value()));
    found.emplace_back(*key, place);
  }
  CO_TRY_STATUS(rows->status());
  rows.reset();
  for (const auto& [key, place] : found) forget(batch, key, place);
  // Not the segments' rows: this batch is logged, the index rows that a segment's position speaks
  // for are not, and a position that outlives them would lose acknowledged blocks.
  if (SEEDED_BUG("block-position-logged")) {
    for (const auto& [key, place] : found) remember(batch, place.segment);
  }
  batch.put(refused_store_key(version), "");
  co_return co_await kv_.write(std::move(batch));
}

Task<Status> SegmentStore::forget(std::vector<BlockKey> keys) {
  WriteBatch batch;
  for (const BlockKey& key : keys) {
    CO_TRY(std::optional<Place> place, find(key));
    if (place) forget(batch, key, *place);
  }
  if (batch.empty()) co_return Status();
  co_return co_await kv_.write(std::move(batch));
}

}  // namespace covey
