// Disks that fill up, fail and lie.
#include <string>

#include "store/meta/journal_format.h"
#include "tests/unit/meta/helpers.h"

using namespace covey;

TEST_CASE("a failed write or sync is fatal, is not acknowledged and is never tried again") {
  for (bool write_fails : {true, false}) {
    SimKv t(1);
    REQUIRE(t.start().has_value());
    REQUIRE(t.loop.run(t.kv->write(one_put("a", "1"))).has_value());
    (write_fails ? t.host.disk.faults.fail_writes : t.host.disk.faults.fail_syncs) = 1;
    EXPECT(t.loop.run(t.kv->write(one_put("b", "2"))).is(ErrorCode::kIo));
    EXPECT(t.fatal_calls == 1);
    uint64_t writes = t.host.disk.writes_started();
    EXPECT(t.loop.run(t.kv->write(one_put("c", "3"))).is(ErrorCode::kIo));
    EXPECT(t.host.disk.writes_started() == writes);
    EXPECT(t.fatal_calls == 1);
    EXPECT(value_of(*t.kv, "a") == "1");
    EXPECT_FALSE(value_of(*t.kv, "c").has_value());
    t.host.disk.crash_dropping_all();
    t.stop();
    REQUIRE(t.start().has_value());
    EXPECT(value_of(*t.kv, "a") == "1");
  }
}

TEST_CASE("a store that was closed takes nothing: no commit would follow") {
  SimKv t(6);
  REQUIRE(t.start().has_value());
  REQUIRE(t.loop.run(t.kv->write(one_put("a", "1"))).has_value());
  t.loop.run(t.kv->close());
  EXPECT(t.loop.run(t.kv->write(one_put("b", "2"))).is(ErrorCode::kUnavailable));
  EXPECT_FALSE(value_of(*t.kv, "b").has_value());
  t.stop();
  REQUIRE(t.start().has_value());
  EXPECT(value_of(*t.kv, "a") == "1");
  EXPECT_FALSE(value_of(*t.kv, "b").has_value());
}

TEST_CASE("a full disk refuses puts with nothing visible, serves reads and takes deletes") {
  SimKv t(2);
  REQUIRE(t.start().has_value());
  t.host.disk.faults.capacity_bytes = t.host.disk.used_bytes();
  t.rows.full = true;
  Status refused;
  uint64_t written = 0;
  for (uint64_t n = 0; n < 5000 && refused; ++n) {
    refused = t.loop.run(t.kv->write(one_put("k" + std::to_string(n), std::string(500, 'v'))));
    written += refused.has_value();
  }
  EXPECT(refused.is(ErrorCode::kNoSpace));
  EXPECT(written > 100);
  EXPECT_FALSE(value_of(*t.kv, "k" + std::to_string(written)).has_value());
  EXPECT(value_of(*t.kv, "k0") == std::string(500, 'v'));
  WriteBatch erase;
  erase.erase("k0");
  EXPECT(t.loop.run(t.kv->write(std::move(erase))).has_value());
  EXPECT_FALSE(value_of(*t.kv, "k0").has_value());
  // Space again: a fold, then puts go on.
  t.rows.full = false;
  t.host.disk.faults.capacity_bytes = UINT64_MAX;
  REQUIRE(t.loop.run(t.kv->fold()).has_value());
  EXPECT(t.loop.run(t.kv->write(one_put("again", "1"))).has_value());
  EXPECT(t.fatal_calls == 0);
  t.stop();
  REQUIRE(t.start().has_value());
  EXPECT_FALSE(value_of(*t.kv, "k0").has_value());
  EXPECT(value_of(*t.kv, "again") == "1");
}

TEST_CASE("on a nearly full disk a repair may go further than a put, and a delete further still") {
  SimKv node(1);
  REQUIRE(node.start().has_value());
  auto write = [&node](void (*mark)(WriteBatch&)) {
    WriteBatch batch = one_put("k", "v");
    mark(batch);
    return node.loop.run(node.kv->write(std::move(batch)));
  };
  auto put = [](WriteBatch&) {};
  auto repair = [](WriteBatch& batch) { batch.use_repair_share(); };
  auto tombstone = [](WriteBatch& batch) { batch.use_reserve(), batch.use_repair_share(); };
  EXPECT(write(put).has_value());
  node.rows.roomy = false;
  EXPECT(write(put).is(ErrorCode::kNoSpace));
  EXPECT(write(repair).has_value());
  node.rows.room_for_repair = false;
  EXPECT(write(repair).is(ErrorCode::kNoSpace));
  EXPECT(write(tombstone).has_value());
}

TEST_CASE("when no further journal file can be had those that are full are folded") {
  for (size_t files : {2, 3, 4}) {
    for (bool repair : {true, false}) {
      if (files == 2 && !repair) continue;  // the one spare is not for puts
      CAPTURE(files);
      CAPTURE(repair);
      KvOptions options = small_options();
      options.journal_files_max = files;
      options.fold_bytes = 200 * kKiB;  // never reached: the journal pads what is small
      SimKv node(1, options);
      REQUIRE(node.start().has_value());
      for (int i = 0; i < 600; ++i) {
        Status done = fail(ErrorCode::kOverloaded);
        for (int n = 0; n < 20 && !done; ++n) {  // it may have to wait for a fold, but not for ever
          WriteBatch batch = one_put("k" + std::to_string(i), "v");
          if (repair || i % 3 == 0) batch.use_repair_share();
          done = node.loop.run(node.kv->write(std::move(batch)));
          if (!done) node.loop.run_for(std::chrono::milliseconds(100));
        }
        REQUIRE(done.has_value());
      }
    }
  }
}

TEST_CASE("more than the queue takes is refused, not queued") {
  SimKv t(3);
  t.host.disk.faults.sync_latency = std::chrono::seconds(1);
  REQUIRE(t.start().has_value());
  Scope scope;
  int overloaded = 0;
  auto put = [](Kv& kv, int n, int& count) -> Task<void> {
    std::string key = std::to_string(n);
    Status done = co_await kv.write(one_put(std::move(key), std::string(1000, 'x')));
    count += done.is(ErrorCode::kOverloaded);
  };
  for (int n = 0; n < 100; ++n) scope.spawn(put(*t.kv, n, overloaded));
  t.loop.run(scope.join());
  EXPECT(overloaded > 50);
  EXPECT(overloaded < 100);
}

TEST_CASE("who waits for relief is not refused, and nobody waits beyond the deadline") {
  SimKv t(4);
  t.host.disk.faults.sync_latency = std::chrono::milliseconds(20);
  REQUIRE(t.start().has_value());
  Scope scope;
  int refused = 0, waited = 0;
  auto put = [](SimKv& at, int n, int& failed, int& met) -> Task<void> {
    if (at.kv->busy()) {
      ++met;
      co_await at.kv->relief(at.host.runtime().clock.after(std::chrono::seconds(60)));
    }
    std::string key = std::to_string(n);
    Status done = co_await at.kv->write(one_put(std::move(key), std::string(1000, 'x')));
    failed += !done;
  };
  for (int n = 0; n < 2000; ++n) scope.spawn(put(t, n, refused, waited));
  t.loop.run(scope.join());
  EXPECT(waited > 0);
  EXPECT(refused == 0);

  t.host.disk.faults.sync_latency = std::chrono::hours(1);
  auto late = [](SimKv& at, int n) -> Task<void> {
    std::string key = "late" + std::to_string(n);
    if (!at.kv->busy())
      (void)co_await at.kv->write(one_put(std::move(key), std::string(1000, 'x')));
  };
  for (int n = 0; n < 100; ++n) scope.spawn(late(t, n));
  REQUIRE(t.kv->busy());
  TimePoint began = t.host.runtime().clock.now();
  t.loop.run(t.kv->relief(t.host.runtime().clock.after(std::chrono::seconds(1))));
  EXPECT(t.host.runtime().clock.now() - began == std::chrono::seconds(1));
  t.loop.run(scope.join());
}

namespace {

std::string newest_journal(SimKv& t) {
  std::string newest;
  uint64_t generation = 0;
  for (const std::string& path : t.host.disk.paths()) {
    std::string content = t.host.disk.content(path);
    auto header = decode_journal_header(content.substr(0, kJournalHeaderBytes));
    if (!header || !*header || (*header)->generation < generation) continue;
    generation = (*header)->generation;
    newest = path;
  }
  return newest;
}

}  // namespace

TEST_CASE("damage before the last record is corruption, a torn last record is not") {
  for (int record = 0; record < 5; ++record) {
    SimKv t(4);
    REQUIRE(t.start().has_value());
    for (int n = 0; n < 5; ++n)
      REQUIRE(t.loop.run(t.kv->write(one_put("k" + std::to_string(n), "v"))).has_value());
    t.stop();
    std::string journal = newest_journal(t);
    t.host.disk.flip_bit(journal, kJournalHeaderBytes + record * kJournalSectorBytes + 36, 3);
    Status started = t.start();
    if (record == 4) {
      REQUIRE(started.has_value());
      EXPECT(value_of(*t.kv, "k3") == "v");
    } else {
      EXPECT(started.is(ErrorCode::kCorrupt));
    }
  }
}

TEST_CASE("a disk that tears or misplaces an acknowledged record is found out") {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SimKv t(seed);
    REQUIRE(t.start().has_value());
    for (int n = 0; n < 10; ++n) {
      if (n == 5)
        (seed % 2 ? t.host.disk.faults.tear_writes : t.host.disk.faults.misdirect_writes) = 1;
      REQUIRE(t.loop.run(t.kv->write(one_put("k" + std::to_string(n), std::string(900, 'v'))))
                  .has_value());
    }
    t.stop();
    Status started = t.start();
    if (!started) {
      EXPECT(started.is(ErrorCode::kCorrupt));
      continue;
    }
    for (int n = 0; n < 10; ++n)  // by luck nothing was lost
      EXPECT(value_of(*t.kv, "k" + std::to_string(n)) == std::string(900, 'v'));
  }
}

TEST_CASE("a lost journal file or header is found out") {
  SimKv t(6);
  REQUIRE(t.start().has_value());
  REQUIRE(t.loop.run(t.kv->write(one_put("a", "1"))).has_value());
  t.stop();
  std::string journal = newest_journal(t);
  SUBCASE("header") {
    t.host.disk.flip_bit(journal, 9, 1);
    EXPECT(t.start().is(ErrorCode::kCorrupt));
  }
  SUBCASE("file") {
    REQUIRE(t.loop.run(t.host.disk.remove(journal)).has_value());
    EXPECT(t.start().is(ErrorCode::kCorrupt));
  }
}
