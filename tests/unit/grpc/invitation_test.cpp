#include "node/identity/invitation.h"

#include "tests/unit/test.h"

using namespace covey;

namespace {

const std::vector<std::string> kSeeds = {"192.0.2.1:3901", "[fd00::1]:3901"};
constexpr WallTime kNow{1'800'000'000'000}, kLater{1'800'003'600'000};

Invitation invite(const ClusterSecret& secret, WallTime expires = kLater) {
  auto invitation = read_invitation(make_invitation(secret, expires, kSeeds));
  REQUIRE(invitation);
  return *invitation;
}

// What becomes of it at a node with these secrets: the welcome, or why not.
Result<std::optional<Welcome>> use(const Invitation& invitation, const SecretRing& secrets,
                                   WallTime now = kNow) {
  JoinRequest request(invitation);
  return request.read(answer_invitation(secrets, request.datagram(), now, kSeeds));
}

}  // namespace

TEST_CASE("an invitation brings the secret and the seeds, and holds no secret itself") {
  ClusterSecret secret = ClusterSecret::random();
  Invitation invitation = invite(secret);
  EXPECT(invitation.seeds == kSeeds);
  EXPECT(invitation.expires_s == 1'800'003'600);
  EXPECT(invitation.key != raw_secret(secret));
  auto welcome = use(invitation, secret);
  REQUIRE((welcome && *welcome));
  EXPECT((*welcome)->secret.hex() == secret.hex());
  EXPECT((*welcome)->seeds == kSeeds);
  JoinRequest request(invitation);
  std::string answer = answer_invitation(secret, request.datagram(), kNow, kSeeds);
  EXPECT(answer.size() <= request.datagram().size());
  EXPECT(answer.find(raw_secret(secret)) == std::string::npos);
  JoinRequest eavesdropper(invitation);  // has the token and a recording
  auto heard = eavesdropper.read(answer);
  EXPECT((heard && !*heard));
}

TEST_CASE("expired, foreign, forged and untimely invitations are refused, each with its reason") {
  ClusterSecret secret = ClusterSecret::random(), next = ClusterSecret::random();
  Invitation invitation = invite(secret);
  auto expired = use(invitation, secret, kLater);
  REQUIRE(expired.is(ErrorCode::kDenied));
  EXPECT(expired.error().message.find("expired") != std::string::npos);
  SecretRing staged = SecretRing(secret).staged(next);
  auto rotating = use(invitation, staged);
  REQUIRE(rotating.is(ErrorCode::kDenied));
  EXPECT(rotating.error().message.find("being rotated") != std::string::npos);
  for (const SecretRing& ring : {staged.activated(), staged.activated().settled_down()}) {
    auto rotated = use(invitation, ring);
    REQUIRE(rotated.is(ErrorCode::kDenied));
    EXPECT(rotated.error().message.find("rotated since") != std::string::npos);
    auto fresh = use(invite(next), ring);
    EXPECT((fresh && *fresh));
  }
  Invitation longer = invite(secret, kNow);  // expired; its date is changed by hand
  longer.expires_s += 1'000'000;
  EXPECT(use(longer, secret).is(ErrorCode::kDenied));
}

TEST_CASE("whatever is changed in a token or in a datagram is noticed") {
  ClusterSecret secret = ClusterSecret::random();
  std::string token = make_invitation(secret, kLater, kSeeds);
  for (size_t i = 0; i < token.size(); ++i) {
    std::string bad = token;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(read_invitation(bad));
    EXPECT_FALSE(read_invitation(token.substr(0, i)));
  }
  JoinRequest request(*read_invitation(token));
  std::string ask = request.datagram(), answer = answer_invitation(secret, ask, kNow, kSeeds);
  for (size_t i = 0; i < ask.size(); ++i) {
    std::string bad = ask;
    bad[i] ^= 1;
    auto welcome = request.read(answer_invitation(secret, bad, kNow, kSeeds));
    EXPECT((!welcome || !*welcome));
    EXPECT(answer_invitation(secret, ask.substr(0, i), kNow, kSeeds).empty());
  }
  for (size_t i = 0; i < answer.size(); ++i) {
    std::string bad = answer;
    bad[i] ^= 1;
    auto welcome = request.read(bad);
    EXPECT((!welcome || !*welcome));
    welcome = request.read(answer.substr(0, i));
    EXPECT((!welcome || !*welcome));
  }
}
