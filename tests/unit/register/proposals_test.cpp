// What a holder remembers of proposals.
#include "store/register/proposals.h"

#include "tests/unit/test.h"

using namespace covey;

namespace {

NodeId sender(uint8_t n) {
  NodeId id;
  id.bytes[0] = n;
  return id;
}
Reply answer(const std::string& text) {
  Reply reply;
  reply.text = text;
  return reply;
}

}  // namespace

TEST_CASE("a copy waits for, then gets, the first one's answer") {
  ProposalBook book;
  auto first = book.meet(sender(1), 1, 7);
  REQUIRE(first.first);
  auto copy = book.meet(sender(1), 1, 7);
  EXPECT(!copy.first);
  EXPECT(copy.served == first.served);
  EXPECT(!copy.served->done.is_set());
  book.finish(sender(1), 1, 7, first.served, answer("a"));
  EXPECT(copy.served->done.is_set());
  EXPECT(copy.served->reply->text == "a");
  EXPECT(book.meet(sender(1), 1, 7).served->reply->text == "a");
  EXPECT(book.meet(sender(2), 1, 7).first);
}

TEST_CASE("what was forgotten is refused, not executed; what overtook still runs once") {
  ProposalBook book;
  auto slow = book.meet(sender(1), 1, 1);
  for (uint64_t n = 2; n < kProposalAnswersMax + 10; ++n) {
    auto met = book.meet(sender(1), 1, n);
    REQUIRE(met.first);
    book.finish(sender(1), 1, n, met.served, answer("x"));
  }
  EXPECT(!book.meet(sender(1), 1, 2).served);
  auto copy = book.meet(sender(1), 1, 1);
  EXPECT(copy.served == slow.served);
  EXPECT(!copy.first);
  book.finish(sender(1), 1, 1, slow.served, answer("slow"));
  EXPECT(book.meet(sender(1), 1, 1).served->reply->text == "slow");
}

TEST_CASE("a sender that restarted numbers anew; copies from before are refused") {
  ProposalBook book;
  auto old = book.meet(sender(1), 1, 1);
  EXPECT(book.meet(sender(1), 2, 1).first);
  EXPECT(!book.meet(sender(1), 1, 1).served);
  book.finish(sender(1), 1, 1, old.served, answer("late"));
  EXPECT(old.served->reply->text == "late");
  EXPECT(!book.meet(sender(1), 2, 1).served->reply);
}
