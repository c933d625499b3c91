#include "tests/unit/objects/fixture.h"
#include "tests/unit/test.h"

using namespace covey;

TEST_CASE_FIXTURE(ObjectsFixture, "what is put is got, inline and in blocks") {
  for (size_t size : {0, 1, 4096, 4097, 1 << 20, (1 << 20) + 1, 3 * (1 << 20) + 17}) {
    CAPTURE(size);
    REQUIRE(put("k", sample(size)).has_value());
    EXPECT(get("k").value() == sample(size));
  }
  EXPECT(get("nothing").is(ErrorCode::kNoSuchKey));
}

TEST_CASE_FIXTURE(ObjectsFixture, "a body waits for memory, for a while; readers go on without") {
  const std::string large = sample(3'000'017), small = sample(50'000);
  REQUIRE(put("k", large).has_value());
  EXPECT(memory.bodies.used() == 0);
  std::optional<MemoryLease> bodies = memory.bodies.try_acquire(memory.bodies.limit());
  std::optional<MemoryLease> reads = memory.reads.try_acquire(memory.reads.limit());
  TimePoint began = loop.now();
  EXPECT(put("l", large).is(ErrorCode::kOverloaded));
  EXPECT(loop.now() - began == std::chrono::seconds(20));
  EXPECT(put("s", small).has_value());
  EXPECT(get("k").value() == large);
  loop.schedule(loop.after(std::chrono::seconds(10)), [&] { bodies.reset(); });
  began = loop.now();
  EXPECT(put("l", large).has_value());
  EXPECT(loop.now() - began >= std::chrono::seconds(10));
  reads.reset();
  EXPECT(get("l").value() == large);
  EXPECT(memory.bodies.used() + memory.small_bodies.used() + memory.reads.used() == 0);
}

TEST_CASE_FIXTURE(ObjectsFixture, "ranges") {
  std::string bytes = sample(2'500'000);
  REQUIRE(put("k", bytes).has_value());
  RangeSpec middle, suffix, open, beyond;
  middle.first = 1'048'570, middle.last = 1'048'590;
  suffix.suffix = 10;
  open.first = 2'499'999;
  beyond.first = 2'500'000;
  EXPECT(get("k", middle).value() == bytes.substr(1'048'570, 21));
  EXPECT(get("k", suffix).value() == bytes.substr(2'499'990));
  EXPECT(get("k", open).value() == bytes.substr(2'499'999));
  EXPECT(get("k", beyond).is(ErrorCode::kInvalidRange));
}

TEST_CASE_FIXTURE(ObjectsFixture, "conditions decide on what is there") {
  Conditions create, replace;
  create.if_none_match = {"*"};
  replace.if_match = {"first"};
  EXPECT(put("k", "x", replace).is(ErrorCode::kNoSuchKey));
  EXPECT(put("k", "1", create, "first").has_value());
  EXPECT(put("k", "2", create).is(ErrorCode::kPreconditionFailed));
  EXPECT(put("k", "3", replace, "second").has_value());
  EXPECT(put("k", "4", replace).is(ErrorCode::kPreconditionFailed));
  EXPECT(get("k").value() == "3");
}

TEST_CASE_FIXTURE(ObjectsFixture,
                  "listings are ordered over shards, fold prefixes and page exactly") {
  for (int i = 0; i < 50; ++i) {
    REQUIRE(put("a/" + std::to_string(i), "x").has_value());
    REQUIRE(put("k" + std::to_string(i), "x").has_value());
  }
  REQUIRE(put("a", "x").has_value());
  for (size_t limit : {1, 2, 7, 1000}) {
    ListRequest request;
    request.bucket = "b";
    request.delimiter = "/";
    request.limit = limit;
    std::vector<std::string> seen;
    while (true) {
      ListResult page = loop.run(store->list(request, later())).value();
      EXPECT(page.objects.size() + page.common_prefixes.size() <= limit);
      for (const auto& prefix : page.common_prefixes) seen.push_back(prefix);
      for (const auto& object : page.objects) seen.push_back(object.key);
      if (!page.truncated) break;
      REQUIRE(page.next > request.after);
      request.after = page.next;
    }
    std::sort(seen.begin(), seen.end());
    EXPECT(seen.size() == 52);
    EXPECT(seen[0] == "a");
    EXPECT(seen[1] == "a/");
    EXPECT(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
  }
}

TEST_CASE_FIXTURE(ObjectsFixture, "a copy keeps its bytes when the source is replaced") {
  std::string bytes = sample(3'000'000);
  REQUIRE(put("source", bytes).has_value());
  CopyRequest request;
  request.source_bucket = request.bucket = "b";
  request.source_key = "source";
  request.key = "copy";
  request.owner = "owner";
  REQUIRE(loop.run(store->copy(request, later())).has_value());
  REQUIRE(put("source", "new").has_value());
  EXPECT(get("copy").value() == bytes);
}

TEST_CASE_FIXTURE(ObjectsFixture, "a copy that its condition refuses keeps no claim") {
  REQUIRE(put("source", sample(3'000'000)).has_value());
  Bucket bucket = loop.run(store->bucket("b", later(), Freshness::kNow)).value();
  auto claims = [&] {
    RangeQuery query;
    query.table = TableId::kBlockRefs;
    query.partition = KeySpace{bucket.id, bucket.index_shards, 16}.partition("source");
    query.end = std::string(2 * VersionId::kSize, '\xff');
    query.limit = 10;
    return loop.run(registers.range(query, later())).value().items;
  };
  CopyRequest request;
  request.source_bucket = request.bucket = "b";
  request.source_key = "source";
  request.key = "copy";
  request.owner = "owner";
  request.conditions.if_none_match.push_back("*");
  REQUIRE(loop.run(store->copy(request, later())).has_value());
  EXPECT(claims().size() == 1);
  EXPECT(claimed_versions(claims()[0].row).size() == 1);
  EXPECT(loop.run(store->copy(request, later())).is(ErrorCode::kPreconditionFailed));
  loop.run_for(std::chrono::seconds(1));
  EXPECT(claims().size() == 1);
}

TEST_CASE_FIXTURE(ObjectsFixture, "a bucket with objects is not deleted, an empty one is gone") {
  REQUIRE(put("k", "x").has_value());
  EXPECT(loop.run(store->delete_bucket("b", later())).is(ErrorCode::kBucketNotEmpty));
  REQUIRE(put("k2", "x").has_value());
  REQUIRE(remove("k").has_value());
  REQUIRE(remove("k2").has_value());
  EXPECT(loop.run(store->delete_bucket("b", later())).has_value());
  EXPECT(put("k", "x").is(ErrorCode::kNoSuchBucket));
  EXPECT(loop.run(store->create_bucket("b", "other", "us-east-1", later(), Consistency::kStrong))
             .has_value());
  EXPECT(loop.run(store->create_bucket("b", "owner", "us-east-1", later(), Consistency::kStrong))
             .is(ErrorCode::kBucketAlreadyExists));
}
