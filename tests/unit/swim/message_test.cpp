#include "gossip/swim/message.h"

#include "tests/unit/test.h"

#include <random>

using namespace covey;

TEST_CASE("gossip messages survive their byte form, and damaged ones are refused or harmless") {
  GossipMessage head;
  head.kind = GossipKind::kPingReq;
  head.sequence = 77;
  head.address = {"10.0.0.3", 3901};
  MemberUpdate update;
  update.id.bytes[0] = 4;
  update.incarnation = 9;
  update.state = MemberState::kSuspect;
  update.accuser.bytes[1] = 8;
  update.meta.name = "kitchen";
  update.meta.s3 = {"::1", 3900};
  update.meta.layout_epoch = 3;
  std::string bytes = encode_gossip(head, {encode_update(update), encode_update(update)});
  auto back = decode_gossip(bytes);
  REQUIRE(back);
  EXPECT(back->kind == head.kind);
  EXPECT(back->sequence == 77);
  EXPECT(back->address == head.address);
  REQUIRE(back->updates.size() == 2);
  EXPECT(back->updates[1].meta == update.meta);
  EXPECT(back->updates[0].accuser == update.accuser);
  for (size_t cut = 0; cut < bytes.size(); ++cut) EXPECT_FALSE(decode_gossip(bytes.substr(0, cut)));
  std::mt19937_64 rng(1);
  for (int i = 0; i < 20000; ++i) {
    std::string bad = bytes;
    for (int k = 0; k < 3; ++k) bad[rng() % bad.size()] = static_cast<char>(rng());
    (void)decode_gossip(bad);
  }
}
