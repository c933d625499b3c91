#include "store/sync/sync_messages.h"

#include "base/core/codec.h"
#include "store/register/messages.h"

namespace covey {

namespace {

constexpr size_t kSyncNumbersMax = 64;

void write_marks(Writer& w, const std::vector<RowMark>& marks) {
  w.varint(marks.size());
  for (const RowMark& mark : marks) {
    w.bytes(mark.place);
    write_rank(w, mark.rank);
    w.u8(static_cast<uint8_t>((mark.committed ? 1 : 0) | (mark.tombstone ? 2 : 0)));
  }
}

bool read_marks(Reader& r, std::vector<RowMark>& marks) {
  uint64_t count = r.varint();
  if (count > kSyncMarksMax) return false;
  for (uint64_t i = 0; i < count && r.ok(); ++i) {
    RowMark mark;
    mark.place = std::string(r.bytes());
    mark.rank = read_rank(r);
    uint8_t flags = r.u8();
    mark.committed = flags & 1;
    mark.tombstone = flags & 2;
    if (mark.place.empty() || flags > 3) return false;
    marks.push_back(std::move(mark));
  }
  return r.ok();
}

void write_rows(Writer& w, const std::vector<PulledRow>& rows) {
  w.varint(rows.size());
  for (const PulledRow& row : rows) {
    w.bytes(row.place);
    w.bytes(encode_entry(row.entry));
    w.varint(row.attachments.size());
    for (const Attachment& one : row.attachments)
      w.raw(one.owner.view()), w.bytes(one.suffix), w.bytes(one.value);
  }
}

bool read_rows(Reader& r, std::vector<PulledRow>& rows) {
  uint64_t count = r.varint();
  if (count > kSyncPlacesMax) return false;
  for (uint64_t i = 0; i < count && r.ok(); ++i) {
    PulledRow row;
    row.place = std::string(r.bytes());
    auto entry = decode_entry(r.bytes());
    uint64_t attachments = r.varint();
    if (!r.ok() || row.place.empty() || !entry || attachments > kMessageAttachmentsMax)
      return false;
    row.entry = std::move(*entry);
    for (uint64_t k = 0; k < attachments; ++k) {
      auto owner = VersionId::from_bytes(r.raw(VersionId::kSize));
      Attachment one;
      one.suffix = std::string(r.bytes());
      one.value = std::string(r.bytes());
      if (!owner || !r.ok()) return false;
      one.owner = *owner;
      row.attachments.push_back(std::move(one));
    }
    rows.push_back(std::move(row));
  }
  return r.ok();
}

bool read_ranges(Reader& r, std::vector<RangeDigest>& ranges) {
  uint64_t count = r.varint();
  if (count > kSyncRangesMax) return false;
  for (uint64_t i = 0; i < count && r.ok(); ++i) {
    RangeDigest range;
    range.end = std::string(r.bytes());
    range.rows = r.u32();
    range.digest = r.u64();
    // Ends rise, and only the last is open.
    if (!ranges.empty() &&
        (ranges.back().end.empty() || (!range.end.empty() && range.end <= ranges.back().end)))
      return false;
    ranges.push_back(std::move(range));
  }
  return r.ok();
}

bool read_places(Reader& r, std::vector<std::string>& places) {
  uint64_t count = r.varint();
  if (count > kSyncPlacesMax) return false;
  for (uint64_t i = 0; i < count && r.ok(); ++i) {
    places.emplace_back(r.bytes());
    if (places.back().empty()) return false;
  }
  return r.ok();
}

template <class T, class Read>
bool read_numbers(Reader& r, size_t max, std::vector<T>& out, Read read) {
  uint64_t count = r.varint();
  if (count > max) return false;
  for (uint64_t i = 0; i < count && r.ok(); ++i) out.push_back(static_cast<T>(read()));
  return r.ok();
}

}  // namespace

std::string encode_sync(const SyncRequest& q) {
  std::string out;
  Writer w(out);
  w.u8(static_cast<uint8_t>(q.verb));
  w.u32(q.epoch);
  w.u16(static_cast<uint16_t>(q.partition));
  w.varint(q.partitions.size());
  for (PartitionId p : q.partitions) w.u16(static_cast<uint16_t>(p));
  w.bytes(q.behind);
  w.bytes(q.to);
  w.varint(q.ranges.size());
  for (const RangeDigest& range : q.ranges)
    w.bytes(range.end), w.u32(range.rows), w.u64(range.digest);
  w.varint(q.places.size());
  for (const std::string& place : q.places) w.bytes(place);
  w.u32(q.budget_ms);
  return out;
}

Result<SyncRequest> decode_sync_request(std::string_view bytes) {
  Reader r(bytes);
  SyncRequest q;
  uint8_t verb = r.u8();
  q.verb = static_cast<SyncVerb>(verb);
  q.epoch = r.u32();
  q.partition = r.u16();
  bool good = verb >= static_cast<uint8_t>(SyncVerb::kRoots) &&
              verb <= static_cast<uint8_t>(SyncVerb::kSettle) &&
              read_numbers(r, kRootsMax, q.partitions, [&r] { return r.u16(); });
  q.behind = std::string(r.bytes());
  q.to = std::string(r.bytes());
  good = good && read_ranges(r, q.ranges) && read_places(r, q.places);
  q.budget_ms = r.u32();
  if (!good || !r.done())
    return fail(ErrorCode::kInvalid, "a malformed sync message: do the nodes run one version?");
  return q;
}

std::string encode_sync(const SyncReply& reply) {
  std::string out;
  Writer w(out);
  w.u8(reply.epoch_differs ? 1 : 0);
  w.u32(reply.epoch);
  w.varint(reply.roots.size());
  for (uint64_t root : reply.roots) w.u64(root);
  w.varint(reply.same.size());
  for (bool same : reply.same) w.u8(same ? 1 : 0);
  write_marks(w, reply.marks);
  w.u8(reply.cut ? 1 : 0);
  w.u32(reply.looked_at);
  write_rows(w, reply.rows);
  write_rank(w, reply.floor);
  w.varint(reply.numbers.size());
  for (uint64_t number : reply.numbers) w.varint(number);
  return out;
}

Result<SyncReply> decode_sync_reply(std::string_view bytes) {
  Reader r(bytes);
  SyncReply reply;
  reply.epoch_differs = r.u8() != 0;
  reply.epoch = r.u32();
  bool good = read_numbers(r, kRootsMax, reply.roots, [&r] { return r.u64(); }) &&
              read_numbers(r, kSyncRangesMax, reply.same, [&r] { return r.u8() != 0; }) &&
              read_marks(r, reply.marks);
  reply.cut = r.u8() != 0;
  reply.looked_at = r.u32();
  good = good && read_rows(r, reply.rows);
  reply.floor = read_rank(r);
  good = good && read_numbers(r, kSyncNumbersMax, reply.numbers, [&r] { return r.varint(); });
  if (!good || !r.done())
    return fail(ErrorCode::kInvalid, "a malformed sync reply: do the nodes run one version?");
  return reply;
}

}  // namespace covey
