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
