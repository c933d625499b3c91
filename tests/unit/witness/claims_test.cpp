#include "node/witness/claims.h"

#include "tests/unit/test.h"

using namespace covey;

TEST_CASE("a start is judged by what is remembered of the last one") {
  const Mark mark{5, 77, 1000};
  EXPECT(judge(Mark(), Claim{1, 3, 0}) == Verdict::kFine);
  EXPECT(judge(mark, Claim{5, 77, 900}) == Verdict::kFine);   // the same start, said once more
  EXPECT(judge(mark, Claim{6, 78, 1000}) == Verdict::kFine);  // nothing forgotten
  EXPECT(judge(mark, Claim{9, 78, 5000}) == Verdict::kFine);  // it started while this one was away
  EXPECT(judge(mark, Claim{6, 78, 999}) == Verdict::kForgot);
  EXPECT(judge(mark, Claim{5, 78, 1000}) == Verdict::kCopied);  // counted already
  EXPECT(judge(mark, Claim{4, 78, 9000}) == Verdict::kCopied);
  EXPECT(judge(mark, Claim{4, 77, 9000}) == Verdict::kCopied);
  EXPECT(admitted(mark, Claim{6, 78, 1200}) == Mark{6, 78, 1200});
  EXPECT(describe(Verdict::kForgot, mark, Claim{6, 78, 999}).find("999") != std::string::npos);
}

TEST_CASE("messages survive their encoding, and nothing else decodes") {
  WitnessRequest request;
  request.ask = WitnessAsk::kHeard;
  request.claim = {300, 77, 1'000'000};
  NodeId node;
  node.bytes[3] = 9;
  request.heard.push_back({node, 5, 6});
  auto back = decode_witness_request(encode(request));
  REQUIRE(back);
  EXPECT(back->claim == request.claim);
  REQUIRE(back->heard.size() == 1);
  EXPECT((back->heard[0].node == node && back->heard[0].sequence == 6));
  WitnessReply reply{Verdict::kCopied, {1, 2, 3}, true};
  auto same = decode_witness_reply(encode(reply));
  REQUIRE(same);
  EXPECT((same->verdict == Verdict::kCopied && same->mark == reply.mark && same->cleared));
  std::string bytes = encode(request);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_witness_request(std::string_view(bytes).substr(0, size)));
  EXPECT_FALSE(decode_witness_reply(encode(reply) + "x"));
  EXPECT_FALSE(decode_claim(""));
  EXPECT(decode_mark("").is(ErrorCode::kCorrupt));
}

TEST_CASE("a seal comes off as it was put on") {
  std::string head = "head";
  put_seal(head, {7, 8});
  EXPECT(head.size() == 4 + kSealBytes);
  auto seal = take_seal(head);
  REQUIRE(seal);
  EXPECT((head == "head" && seal->session == 7 && seal->sequence == 8));
  EXPECT_FALSE(take_seal(head));
}
