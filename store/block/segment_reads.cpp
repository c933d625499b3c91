// Reading and verifying. What compaction moves while it is read is looked for again.
#include <algorithm>

#include "base/core/codec.h"
#include "base/core/log.h"
#include "base/core/seeded_bug.h"
#include "store/block/segment_store.h"

namespace covey {
namespace {

constexpr int kMovesMax = 8;     // of a block while it is read
constexpr size_t kKeptMax = 64;  // bad records, of each data directory and of each process

}  // namespace

Task<Result<SegmentStore::Stored>> SegmentStore::get(BlockKey key, uint32_t offset, uint32_t size) {
  for (int tries = 0;; ++tries) {
    CO_TRY(std::optional<Place> place, find(key));
    if (!place) co_return fail(ErrorCode::kNotFound, "no such block here");
    if (offset + static_cast<uint64_t>(size) > place->payload_bytes)
      co_return fail(ErrorCode::kInvalid, "beyond the block's end");
    Result<Blob> bytes = co_await read_at(*place, offset, size);
    if (bytes) co_return Stored{std::move(*bytes), place->payload_bytes};
    CO_TRY_STATUS(unreadable(key, *place, tries, std::move(bytes).error()));
  }
}

// Success: it stood elsewhere meanwhile, and is looked for again; else why it is not to be had.
Status SegmentStore::unreadable(const BlockKey& key, const Place& place, int tries, Error error) {
  TRY(std::optional<Place> now, find(key));
  if (!now) return fail(ErrorCode::kNotFound, "no such block here");
  if (*now != place && tries < kMovesMax) return {};
  // It could not be read: it may well be good, and the others' copies may fail as this one did.
  if (error.code == ErrorCode::kCorrupt) {
    TRY_STATUS(set_aside(key, place, error));
  }
  return tl::unexpected(std::move(error));
}

// Never served, never asked again; a peer's copy takes its place.
Status SegmentStore::set_aside(const BlockKey& key, const Place& place, const Error& error) {
  ++quarantined_;
  log_error("block {} {} in {} is bad ({}); it will be fetched from another node",
            key.id.version.hex(), key.id.index, segment_name(place.segment), error.message);
  WriteBatch batch;
  forget(batch, key, place);
  TRY_STATUS(kv_.write_unlogged(std::move(batch)));
  if (damaged_) damaged_(key);
  if (kept_ < kKeptMax && !scope_.stop_requested() && segments_.contains(place.segment)) {
    ++kept_;
    scope_.spawn(keep_for_inspection(key, place));
  }
  return {};
}

// A copy of the bad record for people to look at; that there is none is no harm.
Task<void> SegmentStore::keep_for_inspection(BlockKey key, Place place) {
  std::string folder = options_.dirs[segments_.at(place.segment).dir] + "/quarantine";
  auto file = co_await this->file(place.segment);
  if (!file) co_return;
  auto bytes = co_await (*file)->read(place.start, static_cast<size_t>(place.record_bytes()));
  Status made = co_await runtime_.disk.make_dir(folder);
  if (!bytes || !made) co_return;
  auto names = co_await runtime_.disk.list(folder);
  if (!names || names->size() >= kKeptMax) co_return;
  std::string name = folder + "/" + key.id.version.hex() + "-" + std::to_string(key.id.index);
  auto kept = co_await runtime_.disk.open(std::move(name), Disk::Open::kCreate);
  if (!kept) co_return;
  std::vector<Blob> pieces;
  pieces.push_back(std::move(*bytes));
  (void)co_await (*kept)->write(0, std::move(pieces));
}

// Bytes [offset, offset + size) of the block at `place`, verified.
Task<Result<Blob>> SegmentStore::read_at(Place place, uint32_t offset, uint32_t size) {
  CO_TRY(std::shared_ptr<File> file, co_await this->file(place.segment));
  // The checksums end 4 bytes before the payload.
  size_t first_chunk = offset / kChunkBytes,
         end_chunk = (offset + size + kChunkBytes - 1) / kChunkBytes;
  size_t chunks = (place.payload_bytes + kChunkBytes - 1) / kChunkBytes;
  uint64_t payload = place.start + place.head_bytes;
  uint64_t crcs_at = payload - 4 - 4 * chunks;
  uint64_t from = payload + first_chunk * kChunkBytes;
  uint64_t to = payload + std::min<uint64_t>(end_chunk * kChunkBytes, place.payload_bytes);
  bool one_read = first_chunk == 0;
  uint64_t begin = one_read ? crcs_at : from;
  size_t bytes = static_cast<size_t>(to - begin);
  CO_TRY(Blob data, co_await file->read(begin, bytes));
  Blob crcs;
  if (one_read) {
    crcs = data.slice(0, 4 * chunks);
    data = data.slice(std::min(data.size(), 4 * chunks + 4));
  } else {
    CO_TRY(crcs, co_await file->read(crcs_at, 4 * chunks));
  }
  Reader r(crcs.view());
  std::vector<uint32_t> values;
  for (size_t i = 0; i < chunks; ++i) values.push_back(r.u32());
  if (!r.ok() || data.size() != to - from)
    co_return fail(ErrorCode::kCorrupt, "a block ends too early");
  if (!SEEDED_BUG("block-crc-unchecked")) {
    CO_TRY_STATUS(verify_chunks(values, first_chunk, data.view()));
  }
  co_return data.slice(offset - first_chunk * kChunkBytes, size);
}

Task<Result<RecordHead>> SegmentStore::head_of(BlockKey key) {
  CO_TRY(std::optional<Place> place, find(key));
  if (!place) co_return fail(ErrorCode::kNotFound, "no such block here");
  CO_TRY(std::shared_ptr<File> file, co_await this->file(place->segment));
  CO_TRY(Blob bytes, file->read_now(place->start, place->head_bytes));
  auto head = decode_record_head(bytes.view(), place->segment);
  if (!head) co_return fail(ErrorCode::kCorrupt, "a record's head is bad");
  co_return std::move(*head);
}

Task<Result<std::pair<RecordHead, Blob>>> SegmentStore::record_at(Place place, BlockKey key) {
  auto opened = co_await this->file(place.segment);
  if (opened.is(ErrorCode::kIo)) co_return tl::unexpected<Error>(std::move(opened).error());
  if (!opened) co_return fail(ErrorCode::kCorrupt, "its segment is gone");
  std::shared_ptr<File> file = std::move(*opened);
  size_t whole = static_cast<size_t>(place.record_bytes());
  CO_TRY(Blob bytes, co_await file->read_once(place.start, whole));
  auto head = decode_record_head(bytes.view().substr(0, place.head_bytes), place.segment);
  if (!head) co_return fail(ErrorCode::kCorrupt, "a record's head is bad");
  if (head->id != key.id || head->home != key.home)
    co_return fail(ErrorCode::kCorrupt, "another block's record");
  Blob payload = bytes.slice(place.head_bytes);
  if (bytes.size() != whole || payload.size() != head->payload_bytes)
    co_return fail(ErrorCode::kCorrupt, "a block ends too early");
  if (!SEEDED_BUG("block-crc-unchecked")) {
    CO_TRY_STATUS(verify_chunks(head->chunk_crcs, 0, payload.view()));
  }
  co_return std::pair(std::move(*head), std::move(payload));
}

Task<Result<std::pair<RecordHead, Blob>>> SegmentStore::read_record(BlockKey key) {
  for (int tries = 0;; ++tries) {
    CO_TRY(std::optional<Place> place, find(key));
    if (!place) co_return fail(ErrorCode::kNotFound, "no such block here");
    auto record = co_await record_at(*place, key);
    if (record) co_return std::move(*record);
    CO_TRY_STATUS(unreadable(key, *place, tries, std::move(record).error()));
  }
}

}  // namespace covey
