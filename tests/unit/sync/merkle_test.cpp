// The pure core: ranges that differ are found, and what a replica lacks of them.
#include "store/sync/merkle.h"

#include <map>

#include "store/sync/sync_messages.h"
#include "tests/sim/sim_rng.h"
#include "tests/unit/test.h"

using namespace covey;

namespace {

using Rows = std::map<std::string, RowMark>;

RowMark mark(std::string place, uint64_t seq, bool committed = true) {
  RowMark made;
  made.place = std::move(place);
  made.rank.ballot = Ballot{1, 2, 3, 4};
  made.rank.seq = seq;
  made.committed = committed;
  return made;
}

uint64_t hash(const RowMark& row) { return hash_row(row.place, row.rank, row.committed); }

std::vector<RangeDigest> cut(const Rows& rows) {
  RangeCutter cutter;
  for (const auto& [place, row] : rows) cutter.add(place, hash(row));
  return cutter.finish(true);
}

std::vector<bool> compare(const Rows& rows, const std::vector<RangeDigest>& ranges) {
  RangeComparer comparer(ranges);
  auto at = rows.begin();
  while (at != rows.end() && !comparer.done()) {
    const std::string* behind = comparer.add(at->first, hash(at->second));
    if (!behind) {
      ++at;
    } else if (behind->empty()) {
      break;
    } else {
      at = rows.upper_bound(*behind);
    }
  }
  return comparer.finish();
}

std::vector<RowMark> within(const Rows& rows, const std::string& behind, const std::string& to) {
  std::vector<RowMark> list;
  for (auto at = rows.upper_bound(behind); at != rows.end(); ++at)
    if (to.empty() || at->first <= to) list.push_back(at->second);
  return list;
}

}  // namespace

TEST_CASE("equal rows have equal ranges; each kind of difference shows in its range alone") {
  Rows rows;
  for (int i = 0; i < 300; ++i) {
    std::string place = "k" + std::to_string(1000 + i);
    rows[place] = mark(place, static_cast<uint64_t>(i));
  }
  std::vector<RangeDigest> ranges = cut(rows);
  REQUIRE(ranges.size() == 5);
  EXPECT(ranges.back().end.empty());
  EXPECT(compare(rows, ranges) == std::vector<bool>(5, true));

  auto differs = [&](Rows other, size_t range) {
    std::vector<bool> expected(5, true);
    expected[range] = false;
    EXPECT(compare(other, ranges) == expected);
  };
  Rows other = rows;
  other["k1070"].rank.seq = 999;
  differs(other, 1);
  other = rows;
  other["k1070"].committed = false;
  differs(other, 1);
  other = rows;
  other.erase("k1000");
  differs(other, 0);
  other = rows;
  other["k1130x"] = mark("k1130x", 5);
  differs(other, 2);
  other = rows;
  other["z"] = mark("z", 5);
  differs(other, 4);
  EXPECT(compare(Rows{}, ranges) == std::vector<bool>(5, false));
  EXPECT(compare(Rows{}, cut(Rows{})) == std::vector<bool>{true});
  EXPECT(compare(rows, cut(Rows{})) == std::vector<bool>{false});
}

TEST_CASE("what is lacking, known to be committed elsewhere, or not settled") {
  std::vector<RowMark> mine{mark("a", 1), mark("b", 2, false), mark("c", 5), mark("e", 3, false)};
  std::vector<RowMark> theirs{mark("a", 2), mark("b", 2), mark("c", 4), mark("d", 1),
                              mark("f", 1, false)};
  RowDifferences differ = compare_rows(mine, theirs);
  REQUIRE(differ.lacking.size() == 2);
  EXPECT(differ.lacking[0] == theirs[0]);
  EXPECT(differ.lacking[1] == theirs[3]);
  REQUIRE(differ.committed.size() == 1);
  EXPECT(differ.committed[0].place == "b");
  REQUIRE(differ.unsettled.size() == 2);
  EXPECT(differ.unsettled[0].place == "e");
  EXPECT(differ.unsettled[1].place == "f");
}

TEST_CASE("replicas that pull from each other in any order end up with the same rows") {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SimRng rng(seed);
    std::vector<Rows> replicas(3);
    size_t keys = 1 + rng.below(400);
    for (size_t i = 0; i < keys; ++i) {
      std::string place = "p" + std::to_string(rng.below(1000));
      uint64_t seq = 1 + rng.below(5);
      for (Rows& rows : replicas)
        if (rng.chance(0.6)) rows[place] = mark(place, seq);
    }
    std::map<std::string, Rank> highest;
    for (const Rows& rows : replicas)
      for (const auto& [place, row] : rows) highest[place] = std::max(highest[place], row.rank);
    for (int step = 0; step < 12; ++step) {
      size_t me = step < 6 ? rng.below(3) : static_cast<size_t>(step) % 3;
      for (size_t other = 0; other < 3; ++other) {
        if (other == me) continue;
        std::vector<RangeDigest> ranges = cut(replicas[me]);
        std::vector<bool> same = compare(replicas[other], ranges);
        std::string behind;
        for (size_t i = 0; i < ranges.size(); behind = ranges[i].end, ++i) {
          auto mine = within(replicas[me], behind, ranges[i].end);
          auto theirs = within(replicas[other], behind, ranges[i].end);
          if (same[i]) {
            EXPECT(mine == theirs);
            continue;
          }
          for (const RowMark& row : compare_rows(mine, theirs).lacking)
            replicas[me][row.place] = row;
        }
      }
    }
    for (const Rows& rows : replicas) {
      EXPECT(rows.size() == highest.size());
      for (const auto& [place, row] : rows) EXPECT(row.rank == highest[place]);
    }
  }
}

TEST_CASE("messages survive coding; anything cut does not") {
  SyncRequest request;
  request.verb = SyncVerb::kCompare;
  request.epoch = 7;
  request.partition = 3;
  request.partitions = {1, 2};
  request.behind = "b";
  request.to = "t";
  request.ranges = {{"e", 3, 99}, {"", 1, 5}};
  request.places = {"x", "y"};
  request.budget_ms = 17;
  std::string bytes = encode_sync(request);
  auto back = decode_sync_request(bytes);
  REQUIRE(back.has_value());
  EXPECT(back->ranges == request.ranges);
  EXPECT(back->places == request.places);
  EXPECT(encode_sync(*back) == bytes);
  for (size_t n = 0; n < bytes.size(); ++n)
    EXPECT_FALSE(decode_sync_request(std::string_view(bytes).substr(0, n)).has_value());
  request.ranges = {{"e", 3, 99}, {"d", 1, 5}};  // ends must rise
  EXPECT_FALSE(decode_sync_request(encode_sync(request)).has_value());
  request.ranges = {{"", 3, 99}, {"d", 1, 5}};
  EXPECT_FALSE(decode_sync_request(encode_sync(request)).has_value());

  SyncReply reply;
  reply.epoch = 7;
  reply.roots = {4, 5};
  reply.same = {true, false};
  reply.marks = {mark("a", 3), mark("b", 4, false)};
  reply.cut = true;
  reply.looked_at = 2;
  reply.rows.push_back({"a", Entry{}, {{VersionId{}, "b", "body"}}});
  reply.floor.seq = 12;
  reply.numbers = {1, 2, 300};
  bytes = encode_sync(reply);
  auto again = decode_sync_reply(bytes);
  REQUIRE(again.has_value());
  EXPECT(again->marks == reply.marks);
  EXPECT(again->rows[0].attachments[0].value == "body");
  EXPECT(encode_sync(*again) == bytes);
  for (size_t n = 0; n < bytes.size(); ++n)
    EXPECT_FALSE(decode_sync_reply(std::string_view(bytes).substr(0, n)).has_value());
}
