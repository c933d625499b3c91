#include "store/block/segment_store.h"

#include <algorithm>

#include "base/core/codec.h"
#include "base/core/log.h"
#include "store/meta/keyspace.h"

namespace covey {
namespace {

constexpr size_t kOpenFilesMax = 128;

std::string refused_key(const VersionId& version) {
  return std::string(1, static_cast<char>(TableId::kRefused)).append(version.view());
}

}  // namespace

SegmentStore::SegmentStore(SegmentOptions options, Runtime runtime, Kv& kv)
    : options_(std::move(options)),
      runtime_(runtime),
      kv_(kv),
      ballast_(runtime.disk, options_.dirs, options_.segment_bytes) {}

SegmentStore::~SegmentStore() { CHECK(!writing_); }

Task<void> SegmentStore::close() {
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

std::string SegmentStore::index_key(const BlockId& id) {
  std::string key(1, static_cast<char>(TableId::kBlockIndex));
  key.append(id.version.view());
  Writer(key).u32_be(id.index);
  return key;
}

std::string SegmentStore::segment_key(uint64_t segment) {
  std::string key(1, static_cast<char>(TableId::kSegments));
  Writer(key).u64_be(segment);
  return key;
}

Result<std::optional<SegmentStore::Place>> SegmentStore::find(const BlockId& id) {
  TRY(std::optional<KvValue> value, kv_.get(index_key(id)));
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

void SegmentStore::remember(WriteBatch& batch, const BlockId& id, const Place& place) {
  std::string value;
  Writer w(value);
  w.u64(place.segment);
  w.u32(place.start);
  w.u32(place.head_bytes);
  w.u32(place.payload_bytes);
  batch.put(index_key(id), std::move(value));
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

void SegmentStore::forget(WriteBatch& batch, const BlockId& id, const Place& place) {
  batch.erase(index_key(id));
  auto it = segments_.find(place.segment);
  if (it == segments_.end()) return;
  it->second.dead += place.record_bytes();
  live_bytes_ -= std::min(live_bytes_, place.record_bytes());
  dead_bytes_ += place.record_bytes();
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

bool SegmentStore::has(BlockId id) {
  auto place = find(id);
  return place && place->has_value() && segments_.contains((*place)->segment);
}

bool SegmentStore::refused(VersionId version) {
  auto row = kv_.get(refused_key(version));
  return !row || row->has_value();  // an unreadable row must not let a refused version through
}

Task<Status> SegmentStore::drop(VersionId version) {
  WriteBatch batch;
  batch.use_reserve();
  std::string begin(1, static_cast<char>(TableId::kBlockIndex)), end;
  begin.append(version.view());
  end = begin + std::string(4, '\xff') + '\0';
  std::vector<BlockId> ids;
  auto rows = kv_.scan(begin, end);
  for (; rows->valid(); rows->next()) {
    Reader r(rows->key().substr(1 + VersionId::kSize));
    ids.push_back({version, r.u32_be()});
  }
  CO_TRY_STATUS(rows->status());
  rows.reset();
  for (const BlockId& id : ids) {
    CO_TRY(std::optional<Place> place, find(id));
    if (!place) continue;
    forget(batch, id, *place);
  }
  // Not the segments' rows: this batch is logged, the index rows that a segment's position speaks
  // for are not, and a position that outlives them would lose acknowledged blocks.
  batch.put(refused_key(version), "");
  co_return co_await kv_.write(std::move(batch));
}

}  // namespace covey
