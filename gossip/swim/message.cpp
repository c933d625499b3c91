#include "gossip/swim/message.h"

#include "base/core/check.h"
#include "base/core/codec.h"

namespace covey {
namespace {

constexpr size_t kTextBytesMax = 96;  // name, zone, version, host

void write_address(Writer& w, const Address& address) {
  w.bytes(address.host);
  w.u16(address.port);
}

bool read_text(Reader& r, std::string& out) {
  std::string_view text = r.bytes();
  if (text.size() > kTextBytesMax) return false;
  out = text;
  return r.ok();
}

bool read_address(Reader& r, Address& out) {
  if (!read_text(r, out.host)) return false;
  out.port = r.u16();
  return r.ok();
}

template <class Id>
bool read_id(Reader& r, Id& out) {
  auto id = Id::from_bytes(r.raw(Id::kSize));
  if (!id) return false;
  out = Id{*id};
  return true;
}

bool read_update(Reader& r, MemberUpdate& u) {
  if (!read_id(r, u.id)) return false;
  u.incarnation = r.u64();
  uint8_t state = r.u8();
  if (state > 3) return false;
  u.state = static_cast<MemberState>(state);
  if (u.state == MemberState::kSuspect && !read_id(r, u.accuser)) return false;
  MemberMeta& m = u.meta;
  if (!read_text(r, m.name) || !read_text(r, m.zone) || !read_text(r, m.version)) return false;
  if (!read_address(r, m.gossip) || !read_address(r, m.rpc) || !read_address(r, m.s3)) return false;
  m.capacity_bytes = r.u64();
  m.free_bytes = r.u64();
  if (!read_id(r, m.cluster)) return false;
  m.layout_epoch = r.u32();
  m.layout_digest = r.u64();
  return r.ok();
}

}  // namespace

std::string encode_update(const MemberUpdate& u) {
  std::string out;
  Writer w(out);
  w.raw(u.id.view());
  w.u64(u.incarnation);
  w.u8(static_cast<uint8_t>(u.state));
  if (u.state == MemberState::kSuspect) w.raw(u.accuser.view());
  const MemberMeta& m = u.meta;
  for (const std::string* text : {&m.name, &m.zone, &m.version})
    w.bytes(std::string_view(*text).substr(0, kTextBytesMax));
  write_address(w, m.gossip), write_address(w, m.rpc), write_address(w, m.s3);
  w.u64(m.capacity_bytes);
  w.u64(m.free_bytes);
  w.raw(m.cluster.view());
  w.u32(m.layout_epoch);
  w.u64(m.layout_digest);
  return out;
}

std::string encode_gossip(const GossipMessage& head, const std::vector<std::string>& updates) {
  CHECK(updates.size() <= 255);
  std::string out;
  Writer w(out);
  w.u8(static_cast<uint8_t>(head.kind));
  w.u32(head.sequence);
  w.raw(head.target.view());
  write_address(w, head.address);
  w.u8(static_cast<uint8_t>(updates.size()));
  for (const std::string& update : updates) w.raw(update);
  return out;
}

Result<GossipMessage> decode_gossip(std::string_view bytes) {
  Reader r(bytes);
  GossipMessage m;
  uint8_t kind = r.u8();
  m.sequence = r.u32();
  bool good = kind >= 1 && kind <= 7 && read_id(r, m.target) && read_address(r, m.address);
  m.kind = static_cast<GossipKind>(kind);
  size_t count = r.u8();
  for (size_t i = 0; good && i < count; ++i) {
    MemberUpdate update;
    good = read_update(r, update);
    m.updates.push_back(std::move(update));
  }
  if (!good || !r.done()) return fail(ErrorCode::kInvalid, "malformed gossip message");
  return m;
}

}  // namespace covey
