#include "store/register/messages.h"

namespace covey {

namespace {

void write_attachments(Writer& w, const std::vector<Attachment>& rows) {
  w.varint(rows.size());
  for (const Attachment& row : rows)
    w.raw(row.owner.view()), w.bytes(row.suffix), w.bytes(row.value);
}

bool read_attachments(Reader& r, std::vector<Attachment>& rows) {
  uint64_t count = r.varint();
  if (count > kMessageAttachmentsMax) return false;
  for (uint64_t i = 0; i < count; ++i) {
    auto owner = VersionId::from_bytes(r.raw(VersionId::kSize));
    Attachment row;
    row.suffix = std::string(r.bytes());
    row.value = std::string(r.bytes());
    if (!owner || !r.ok()) return false;
    row.owner = *owner;
    rows.push_back(std::move(row));
  }
  return true;
}

void write_fence(Writer& w, const Fence& fence) {
  w.raw(fence.bucket.view());
  w.varint(fence.generation);
}

bool read_fence(Reader& r, Fence& fence) {
  auto bucket = BucketId::from_bytes(r.raw(BucketId::kSize));
  fence.generation = r.varint();
  if (bucket) fence.bucket = *bucket;
  return bucket.has_value();
}

void write_key(Writer& w, const RegisterKey& key) {
  w.u8(static_cast<uint8_t>(key.table));
  w.u16(static_cast<uint16_t>(key.partition));
  w.bytes(key.key);
}

RegisterKey read_key(Reader& r) {
  RegisterKey key;
  key.table = static_cast<TableId>(r.u8());
  key.partition = r.u16();
  key.key = std::string(r.bytes());
  return key;
}

bool read_entry(Reader& r, Entry& entry) {
  auto decoded = decode_entry(r.bytes());
  if (!r.ok() || !decoded) return false;
  entry = std::move(*decoded);
  return true;
}

void write_range(Writer& w, const Request& q) {
  w.bytes(q.end), w.bytes(q.stop), w.varint(q.limit), w.bytes(q.delimiter);
  w.varint(q.delimiter_from), w.u8(static_cast<uint8_t>(q.range_want));
}

bool read_range(Reader& r, Request& q) {
  q.end = std::string(r.bytes());
  q.stop = std::string(r.bytes());
  q.limit = r.varint();
  q.delimiter = std::string(r.bytes());
  uint64_t from = r.varint();
  uint8_t want = r.u8();
  q.delimiter_from = static_cast<uint32_t>(from);
  q.range_want = static_cast<RangeWant>(want);
  return from <= UINT32_MAX && want <= static_cast<uint8_t>(RangeWant::kRows);
}

bool read_notices(Reader& r, std::vector<CommitNotice>& notices) {
  uint64_t count = r.varint();
  if (count > kCommitNoticesMax) return false;
  for (uint64_t i = 0; i < count && r.ok(); ++i) {
    CommitNotice notice;
    notice.key = read_key(r);
    notice.rank = read_rank(r);
    notices.push_back(std::move(notice));
  }
  return true;
}

bool read_operation(Reader& r, Request& q) {
  auto operation = OperationId::from_bytes(r.raw(OperationId::kSize));
  if (!operation) return false;
  q.operation = *operation;
  q.body = std::string(r.bytes());
  q.budget_ms = r.u32();
  return read_attachments(r, q.attachments) && read_fence(r, q.fence);
}

bool read_proposal(Reader& r, Request& q) {
  q.from_boot = r.u32();
  q.to_boot = r.u32();
  q.number = r.varint();
  return r.ok();
}

bool read_want(Reader& r, Request& q) {
  uint8_t want = r.u8();
  q.want = static_cast<Want>(want);
  return want <= static_cast<uint8_t>(Want::kAll);
}

bool read_rest(Reader& r, Request& q) {
  switch (q.verb) {
    case Verb::kPing: return true;
    case Verb::kPrepare: return q.ballot = read_ballot(r), true;
    case Verb::kLearn: return q.ballot = read_ballot(r), true;
    case Verb::kAccept:
      return read_entry(r, q.entry) && read_attachments(r, q.attachments) &&
             read_fence(r, q.fence) && (q.repair = r.u8() != 0, true);
    case Verb::kRead: return read_want(r, q) && read_fence(r, q.fence);
    case Verb::kRange: return read_range(r, q) && read_fence(r, q.fence);
    case Verb::kCommitted: return read_notices(r, q.notices);
    case Verb::kPutAttachments: return read_attachments(r, q.attachments) && read_fence(r, q.fence);
    case Verb::kReadAttachment: return read_attachments(r, q.attachments);
    case Verb::kFence: return read_fence(r, q.fence);
    case Verb::kPropose: return read_operation(r, q) && read_proposal(r, q);
    case Verb::kLookUp: return read_operation(r, q);
    case Verb::kSettle: return q.budget_ms = r.u32(), q.above = read_rank(r), true;
  }
  return false;
}

void write_state(Writer& w, const Reply& reply) {
  w.u8(static_cast<uint8_t>((reply.present ? 1 : 0) | (reply.has_entry ? 2 : 0) |
                            (reply.entry.tombstone ? 4 : 0) | (reply.entry.committed ? 8 : 0)));
  if (!reply.present) return;
  if (reply.has_entry) {
    w.bytes(encode_entry(reply.entry));
  } else {
    write_rank(w, reply.entry.rank);
  }
}

bool read_state(Reader& r, Reply& reply) {
  uint8_t flags = r.u8();
  if (flags > 15) return false;
  reply.present = flags & 1;
  reply.has_entry = flags & 2;
  if (!reply.present) return flags == 0;
  if (reply.has_entry) return read_entry(r, reply.entry);
  reply.entry.tombstone = flags & 4;
  reply.entry.committed = flags & 8;
  reply.entry.rank = read_rank(r);
  return true;
}

void write_visits(Writer& w, const Reply& reply) {
  w.u64(reply.digest);
  w.u8(reply.cut ? 1 : 0);
  w.bytes(reply.last);
  w.varint(reply.visits.size());
  for (const Visit& visit : reply.visits) {
    w.bytes(visit.key);
    write_rank(w, visit.rank);
    w.u8(static_cast<uint8_t>((visit.live ? 1 : 0) | (visit.skipped ? 2 : 0)));
    w.bytes(visit.row);
  }
}

bool read_visits(Reader& r, Reply& reply) {
  reply.digest = r.u64();
  reply.cut = r.u8() != 0;
  reply.last = std::string(r.bytes());
  uint64_t count = r.varint();
  if (count > kRangeVisitsMax) return false;
  for (uint64_t i = 0; i < count && r.ok(); ++i) {
    Visit visit;
    visit.key = std::string(r.bytes());
    visit.rank = read_rank(r);
    uint8_t flags = r.u8();
    visit.live = flags & 1;
    visit.skipped = flags & 2;
    visit.row = std::string(r.bytes());
    reply.visits.push_back(std::move(visit));
  }
  return true;
}

constexpr uint8_t kHasText = 1, kHasVisits = 2, kHasAttachments = 4, kHasState = 8, kHasFloor = 16;

}  // namespace

std::string encode_request(const Request& q) {
  std::string out;
  size_t bytes = 128 + q.key.key.size() + q.entry.row.size() + q.body.size();
  for (const Attachment& row : q.attachments) bytes += 32 + row.value.size();
  out.reserve(bytes);
  Writer w(out);
  w.u8(static_cast<uint8_t>(q.verb));
  w.u32(q.epoch);
  write_key(w, q.key);
  switch (q.verb) {
    case Verb::kPing: break;
    case Verb::kPrepare:
    case Verb::kLearn: write_ballot(w, q.ballot); break;
    case Verb::kAccept:
      w.bytes(encode_entry(q.entry)), write_attachments(w, q.attachments), write_fence(w, q.fence);
      w.u8(q.repair ? 1 : 0);
      break;
    case Verb::kRead: w.u8(static_cast<uint8_t>(q.want)), write_fence(w, q.fence); break;
    case Verb::kRange: write_range(w, q), write_fence(w, q.fence); break;
    case Verb::kCommitted:
      w.varint(q.notices.size());
      for (const CommitNotice& n : q.notices) write_key(w, n.key), write_rank(w, n.rank);
      break;
    case Verb::kPutAttachments: write_attachments(w, q.attachments), write_fence(w, q.fence); break;
    case Verb::kReadAttachment: write_attachments(w, q.attachments); break;
    case Verb::kFence: write_fence(w, q.fence); break;
    case Verb::kPropose:
    case Verb::kLookUp:
      w.raw(q.operation.view()), w.bytes(q.body), w.u32(q.budget_ms);
      write_attachments(w, q.attachments), write_fence(w, q.fence);
      if (q.verb == Verb::kPropose) w.u32(q.from_boot), w.u32(q.to_boot), w.varint(q.number);
      break;
    case Verb::kSettle: w.u32(q.budget_ms), write_rank(w, q.above); break;
  }
  return out;
}

Result<Request> decode_request(std::string_view bytes) {
  Reader r(bytes);
  Request q;
  q.verb = static_cast<Verb>(r.u8());
  q.epoch = r.u32();
  q.key = read_key(r);
  if (!r.ok() || !read_rest(r, q) || !r.done())
    return fail(ErrorCode::kInvalid, "a malformed register message: do the nodes run one version?");
  return q;
}

std::string encode_reply(const Reply& reply) {
  std::string out;
  out.reserve(64 + (reply.text ? reply.text->size() : 0) +
              (reply.has_entry ? reply.entry.row.size() + 128 : 0));
  Writer w(out);
  w.u8(static_cast<uint8_t>(reply.answer));
  switch (reply.answer) {
    case Answer::kNack: write_ballot(w, reply.promised), w.u8(reply.never ? 1 : 0); return out;
    case Answer::kFloor: write_rank(w, reply.floor); return out;
    case Answer::kStale: return out;
    case Answer::kBoot:
    case Answer::kEpoch: w.u32(reply.epoch); return out;
    case Answer::kError:
      w.u8(static_cast<uint8_t>(reply.code)), w.bytes(reply.message), w.bytes(reply.detail);
      return out;
    case Answer::kYes: break;
  }
  bool visits = !reply.last.empty() || reply.digest != 0 || reply.cut || !reply.visits.empty();
  bool floor = reply.floor != Rank{};
  w.u8(static_cast<uint8_t>((reply.text ? kHasText : 0) | (visits ? kHasVisits : 0) |
                            (reply.attachments.empty() ? 0 : kHasAttachments) |
                            (reply.present ? kHasState : 0) | (floor ? kHasFloor : 0)));
  if (floor) write_rank(w, reply.floor);
  if (reply.present) write_state(w, reply);
  if (reply.text) w.bytes(*reply.text);
  if (visits) write_visits(w, reply);
  if (!reply.attachments.empty()) write_attachments(w, reply.attachments);
  return out;
}

Result<Reply> decode_reply(std::string_view bytes) {
  Reader r(bytes);
  Reply reply;
  uint8_t answer = r.u8();
  bool good = r.ok() && answer >= 1 && answer <= static_cast<uint8_t>(Answer::kBoot);
  reply.answer = good ? static_cast<Answer>(answer) : Answer::kError;
  switch (reply.answer) {
    case Answer::kNack: reply.promised = read_ballot(r), reply.never = r.u8() == 1; break;
    case Answer::kFloor: reply.floor = read_rank(r); break;
    case Answer::kStale: break;
    case Answer::kBoot:
    case Answer::kEpoch: reply.epoch = r.u32(); break;
    case Answer::kError:
      reply.code = static_cast<ErrorCode>(r.u8());
      reply.message = std::string(r.bytes());
      reply.detail = std::string(r.bytes());
      break;
    case Answer::kYes: {
      uint8_t has = r.u8();
      if (has & kHasFloor) reply.floor = read_rank(r);
      if (has & kHasState) good = good && read_state(r, reply);
      if (has & kHasText) reply.text = std::string(r.bytes());
      if (has & kHasVisits) good = good && read_visits(r, reply);
      if (has & kHasAttachments) good = good && read_attachments(r, reply.attachments);
    }
  }
  if (!good || !r.done())
    return fail(ErrorCode::kCorrupt, "a malformed register reply: do the nodes run one version?");
  return reply;
}

}  // namespace covey
