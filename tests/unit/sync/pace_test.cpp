#include "store/sync/pace.h"

#include "tests/unit/test.h"

using namespace covey;
using std::chrono::milliseconds;

TEST_CASE("pace: opens while transfers are quick, closes while they are slow, recovers") {
  Pace pace(4);
  EXPECT(pace.window() == 1);
  for (int i = 0; i < 20; ++i) pace.finished(milliseconds(30));
  EXPECT(pace.window() == 4);
  EXPECT(pace.pause() == Duration::zero());
  for (int i = 0; i < 20; ++i) pace.finished(milliseconds(600));
  EXPECT(pace.window() == 1);
  EXPECT(pace.pause() > milliseconds(100));
  for (int i = 0; i < 60; ++i) pace.finished(milliseconds(30));
  EXPECT(pace.window() == 4);
  // A link that is slow for good is the new normal.
  for (int i = 0; i < 1000; ++i) pace.finished(milliseconds(600));
  EXPECT(pace.window() == 4);
  EXPECT(pace.pause() == Duration::zero());
}

TEST_CASE("pace: transfers that timed out do not hold the next ones up for as long") {
  Pace pace(4);
  pace.finished(milliseconds(30));
  for (int i = 0; i < 8; ++i) pace.finished(std::chrono::seconds(20));
  EXPECT(pace.pause() > Duration::zero());
  EXPECT(pace.pause() <= std::chrono::seconds(1));
}
