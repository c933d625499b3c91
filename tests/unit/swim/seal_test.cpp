#include "gossip/swim/seal.h"

#include "tests/unit/test.h"

#include <sodium.h>

#include <vector>

using namespace covey;

namespace {

NodeId node(uint8_t n) {
  NodeId id;
  id.bytes[0] = n;
  return id;
}

}  // namespace

TEST_CASE("sealed datagrams open under the same secret only, once, untouched") {
  REQUIRE(sodium_init() >= 0);
  Sealer a("secret", node(1), 5), b("secret", node(2), 1), stranger("other", node(3), 1);
  std::string sealed = a.seal("hello");
  EXPECT(sealed.size() == 5 + kSealOverheadBytes);
  EXPECT(sealed.find("hello") == std::string::npos);
  EXPECT(stranger.open(sealed).is(ErrorCode::kDenied));
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string bad = sealed;
    bad[i] ^= 1;
    EXPECT_FALSE(b.open(bad));
    EXPECT_FALSE(b.open(sealed.substr(0, i)));
  }
  auto opened = b.open(sealed);
  REQUIRE(opened);
  EXPECT(opened->sender == node(1));
  EXPECT(opened->plain == "hello");
  EXPECT(b.open(sealed).is(ErrorCode::kStale));
}

TEST_CASE("late datagrams are taken once within the window, and never from an older boot") {
  REQUIRE(sodium_init() >= 0);
  Sealer a("secret", node(1), 5), b("secret", node(2), 1);
  std::vector<std::string> sealed;
  for (int i = 0; i < 100; ++i) sealed.push_back(a.seal("x"));
  EXPECT(b.open(sealed[50]));
  EXPECT(b.open(sealed[49]));
  EXPECT(b.open(sealed[49]).is(ErrorCode::kStale));
  EXPECT(b.open(sealed[99]));
  EXPECT(b.open(sealed[40]));
  EXPECT(b.open(sealed[10]).is(ErrorCode::kStale));  // outside the window
  Sealer a_again("secret", node(1), 6);
  EXPECT(b.open(a_again.seal("y")));
  EXPECT(b.open(sealed[98]).is(ErrorCode::kStale));
}

TEST_CASE("while secrets change either is opened, and it shows which one was used") {
  REQUIRE(sodium_init() >= 0);
  Sealer a("old", node(1), 5), b("old", node(2), 1);
  std::string captured = a.seal("under the old one"), replayed = a.seal("twice");
  b.set_secrets({"old", "new"});
  EXPECT(b.open(replayed)->secret == 0);
  a.set_secrets({"new", "old"});
  auto opened = b.open(a.seal("ahead"));
  REQUIRE(opened);
  EXPECT(opened->secret == 1);
  EXPECT(a.open(b.seal("behind"))->secret == 1);
  b.set_secrets({"new", "old"});
  EXPECT(b.open(a.seal("both"))->secret == 0);
  EXPECT(b.open(replayed).is(ErrorCode::kStale));  // the window outlives the change
  b.set_secrets({"new"});
  EXPECT(b.open(captured).is(ErrorCode::kDenied));
}
