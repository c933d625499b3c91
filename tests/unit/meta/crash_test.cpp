// Power loss at every point. Writer n of a run puts its number under its own key, under a shared
// key, and erases what writer n-1 added: after a restart the store must be exactly the state after
// some prefix of the writers that includes every acknowledged one.
#include <string>
#include <vector>

#include "tests/unit/meta/helpers.h"

using namespace covey;

namespace {

std::string number_key(uint64_t n) { return "writer-" + std::to_string(1000000 + n); }

WriteBatch batch_of(uint64_t n) {
  WriteBatch batch;
  batch.put(number_key(n), std::to_string(n) + std::string(n * 37 % 1500, 'v'));
  batch.put("latest", std::to_string(n));
  batch.put("extra-" + std::to_string(n), "x");
  if (n > 1) batch.erase("extra-" + std::to_string(n - 1));
  return batch;
}

struct Run {
  uint64_t next = 1;          // the next writer
  uint64_t acknowledged = 0;  // the highest
};

Task<void> write_one(Kv& kv, Run& run, uint64_t n) {
  Status done = co_await kv.write(batch_of(n));
  if (done.is(ErrorCode::kOverloaded)) run.next = n;  // refused at once: the number is free
  if (!done) co_return;
  CHECK(n == run.acknowledged + 1);  // acknowledged in order
  run.acknowledged = n;
}

// Which writer was the last one whose batch is there; every earlier one must be there whole.
uint64_t last_present(Kv& kv) {
  auto latest = value_of(kv, "latest");
  uint64_t last = latest ? std::stoull(*latest) : 0;
  uint64_t count = 0;
  for (auto it = kv.scan("writer-", "writer."); it->valid(); it->next()) {
    ++count;
    REQUIRE(it->key() == number_key(count));
    REQUIRE(it->value() == *batch_of(count).ops()[0].value);
  }
  REQUIRE(count == last);
  uint64_t extras = 0;
  for (auto it = kv.scan("extra-", "extra."); it->valid(); it->next()) {
    ++extras;
    REQUIRE(it->key() == "extra-" + std::to_string(last));
  }
  REQUIRE(extras == (last ? 1 : 0));
  return last;
}

void crash_and_check(SimKv& t, Run& run, Scope& scope) {
  t.loop.run(scope.join());
  t.stop();
  Status started = t.start();
  INFO((started ? "" : to_string(started.error())));
  REQUIRE(started.has_value());
  uint64_t last = last_present(*t.kv);
  REQUIRE(last >= run.acknowledged);
  REQUIRE(last < run.next);
  REQUIRE(t.kv->durable_sequence() == last);
  run.acknowledged = last;
  run.next = last + 1;
}

void one_seed(uint64_t seed, int crashes) {
  SimKv t(seed);
  t.host.disk.faults.latency_max = std::chrono::microseconds(50);
  t.host.disk.faults.sync_latency = std::chrono::microseconds(300);
  REQUIRE(t.start().has_value());
  Run run;
  for (int crash = 0; crash < crashes; ++crash) {
    Scope scope;
    uint64_t before = t.host.disk.crashes();
    t.host.disk.crash_after(t.rng.below(60));
    for (int burst = 0; burst < 200 && t.host.disk.crashes() == before; ++burst) {
      for (uint64_t n = t.rng.below(6); n > 0; --n) scope.spawn(write_one(*t.kv, run, run.next++));
      t.loop.run_for(std::chrono::microseconds(t.rng.below(900)));
    }
    if (t.host.disk.crashes() == before) t.host.disk.crash();
    crash_and_check(t, run, scope);
  }
}

}  // namespace

TEST_CASE("a crash loses nothing acknowledged, keeps batches whole and in order") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    one_seed(seed, 25);
  }
}

TEST_CASE("a crash while it starts again loses nothing either") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    SimKv t(seed);
    REQUIRE(t.start().has_value());
    Run run;
    for (int round = 0; round < 6; ++round) {
      for (int i = 0; i < 20; ++i) t.loop.run(write_one(*t.kv, run, run.next++));
      t.host.disk.crash();
      t.stop();
      for (int attempt = 0; attempt < 3; ++attempt) {
        t.host.disk.crash_after(t.rng.below(5));
        if (t.start()) t.host.disk.crash();
        t.stop();
      }
      t.host.disk.crash_after(UINT64_MAX);
      Status started = t.start();
      INFO((started ? "" : to_string(started.error())));
      REQUIRE(started.has_value());
      REQUIRE(last_present(*t.kv) == run.acknowledged);
    }
  }
}
