// Scenarios of one replica, and the codecs.
#include "store/register/acceptor.h"
#include "store/meta/memory_target.h"
#include "store/meta/open_kv.h"
#include "tests/sim/sim_host.h"
#include "tests/unit/test.h"

using namespace covey;

namespace {

struct Replica {
  Replica() : rng(1), host(loop, rng, "n"), target(loop, rows), tables({}) {
    KvOptions options;
    options.dir = "/meta";
    auto opened = loop.run(open_kv(std::move(options), host.runtime(), target));
    CHECK(opened.has_value());
    kv = std::move(*opened);
    acceptor = std::make_unique<Acceptor>(*kv, tables);
  }
  ~Replica() { loop.run(kv->close()), loop.run_until_idle(); }

  Reply keep(Acceptor::Outcome outcome) {
    if (!outcome.batch.empty()) CHECK(loop.run(kv->write(std::move(outcome.batch))).has_value());
    return outcome.reply;
  }
  Reply prepare(Ballot b) { return keep(acceptor->prepare(0, b)); }
  Reply accept(Rank rank, std::string row) {
    Entry entry;
    entry.rank = rank;
    entry.row = std::move(row);
    return keep(acceptor->accept(key, entry, {}, Fence{}, 1));
  }

  SimLoop loop;
  SimRng rng;
  SimHost host;
  MemoryRows rows;
  MemoryTarget target;
  TableSet tables;
  std::unique_ptr<Kv> kv;
  std::unique_ptr<Acceptor> acceptor;
  RegisterKey key{TableId::kHeads, 0, "k"};
};

Ballot ballot(uint64_t counter) { return Ballot{1, counter, 7, 1}; }

}  // namespace

TEST_CASE("an entry, a partition state and messages survive coding; anything cut does not") {
  Entry entry;
  entry.rank = Rank{ballot(300), 5};
  entry.operations.resize(2);
  entry.operations[1].bytes[3] = 9;
  entry.names.push_back({VersionId{}, "b"});
  entry.row = "row";
  std::string bytes = encode_entry(entry);
  EXPECT(*decode_entry(bytes) == entry);
  mark_committed(bytes);
  EXPECT(view_entry(bytes)->committed);
  EXPECT(view_entry(bytes)->row == "row");
  for (size_t n = 0; n + entry.row.size() < bytes.size(); ++n)
    EXPECT_FALSE(decode_entry(bytes.substr(0, n)).has_value());

  Request request;
  request.verb = Verb::kAccept;
  request.key = {TableId::kHeads, 3, "key"};
  request.entry = entry;
  request.attachments.push_back({VersionId{}, "b", "body"});
  std::string head = encode_request(request);
  EXPECT(decode_request(head)->entry == entry);
  EXPECT(decode_request(head)->attachments[0].value == "body");
  for (size_t n = 0; n < head.size(); ++n)
    EXPECT_FALSE(decode_request(head.substr(0, n)).has_value());
  EXPECT_FALSE(decode_request(head + "x").has_value());
}

TEST_CASE("a promise refuses lower ballots; an accept under a higher one raises it") {
  Replica r;
  EXPECT(r.prepare(ballot(5)).answer == Answer::kYes);
  EXPECT(r.prepare(ballot(4)).answer == Answer::kNack);
  EXPECT(r.prepare(ballot(5)).answer == Answer::kYes);
  EXPECT(r.accept({ballot(4), 9}, "old").answer == Answer::kNack);
  EXPECT(r.accept({ballot(6), 1}, "new").answer == Answer::kYes);
  EXPECT(r.prepare(ballot(5)).promised == ballot(6));
}

TEST_CASE("a key is learnt only under exactly the promised ballot") {
  Replica r;
  r.prepare(ballot(5));
  EXPECT(r.keep(r.acceptor->learn(r.key, ballot(4))).answer == Answer::kNack);
  EXPECT(r.keep(r.acceptor->learn(r.key, ballot(6))).answer == Answer::kNack);
  EXPECT(r.keep(r.acceptor->learn(r.key, ballot(5))).answer == Answer::kYes);
}

TEST_CASE("a row superseded by its own holder is acked, and the later row stays") {
  Replica r;
  EXPECT(r.accept({ballot(5), 2}, "two").answer == Answer::kYes);
  EXPECT(r.accept({ballot(5), 1}, "one").answer == Answer::kYes);
  EXPECT(r.keep(r.acceptor->read(r.key, Want::kRow, Fence{})).entry.row == "two");
}

TEST_CASE("a missing key accepts nothing at or below the floor") {
  Replica r;
  WriteBatch batch;
  batch.put(partition_store_key(0),
            encode_partition_state(PartitionState{ballot(3), Rank{ballot(3), 4}}));
  REQUIRE(r.loop.run(r.kv->write(std::move(batch))).has_value());
  EXPECT(r.accept({ballot(3), 4}, "x").answer == Answer::kFloor);
  EXPECT(r.accept({ballot(3), 5}, "x").answer == Answer::kYes);
}

TEST_CASE("rows of another layout epoch are refused") {
  Replica r;
  EXPECT(r.accept({Ballot{2, 1, 7, 1}, 1}, "x").answer == Answer::kNack);
  EXPECT(r.accept({Ballot{0, 1, 7, 1}, 1}, "x").answer == Answer::kNack);
}

TEST_CASE("a fence refuses older generations") {
  Replica r;
  Fence fence;
  fence.bucket.bytes[0] = 1;
  fence.generation = 3;
  EXPECT(r.keep(r.acceptor->fence(0, fence)).answer == Answer::kYes);
  fence.generation = 2;
  EXPECT(r.keep(r.acceptor->read(r.key, Want::kRow, fence)).answer == Answer::kStale);
  fence.generation = 3;
  EXPECT(r.keep(r.acceptor->read(r.key, Want::kRow, fence)).answer == Answer::kYes);
}

TEST_CASE("only the row of that rank is marked committed") {
  Replica r;
  r.accept({ballot(5), 2}, "two");
  EXPECT(r.acceptor->committed({{r.key, Rank{ballot(5), 1}}}).empty());
  EXPECT_FALSE(r.acceptor->committed({{r.key, Rank{ballot(5), 2}}}).empty());
}
