// The check of all metadata while a node runs: when it is made, how fast, and what it finds.
#include "store/meta/verifier.h"

#include <fstream>
#include <iterator>

#include "base/core/codec.h"
#include "store/meta/lmdb_target.h"
#include "tests/unit/meta/helpers.h"
#include "tests/unit/meta/temp_dir.h"

using namespace covey;
using namespace std::chrono_literals;

namespace {

constexpr size_t kPageBytes = 4096;

// Rows in memory, and a check that takes some steps and finds what the test says.
struct CheckedTarget : MemoryTarget {
  using MemoryTarget::MemoryTarget;
  struct Check : FoldCheck {
    explicit Check(CheckedTarget& the_target) : target(the_target) {}
    Result<bool> step(uint64_t bytes) override {
      read += bytes;
      if (read < target.bytes) return false;
      if (target.bad) return fail(ErrorCode::kCorrupt, "page 7");
      return true;
    }
    CheckedTarget& target;
    uint64_t read = 0;
  };
  Result<std::unique_ptr<FoldCheck>> check() override {
    ++checks;
    std::unique_ptr<FoldCheck> begun = std::make_unique<Check>(*this);
    return begun;
  }
  bool wants_cursors_back() const override { return in_the_way; }

  uint64_t bytes = 16 * kMiB;
  bool bad = false, in_the_way = false;
  int checks = 0;
};

struct Fixture {
  explicit Fixture(VerifierSettings settings = {})
      : rng(3), host(loop, rng, "node"), target(loop, rows) {
    set_log_level("off");
    KvOptions options = small_options();
    options.damaged = [this](const Error&) { ++told; };
    auto opened = loop.run(open_kv(std::move(options), host.runtime(), target));
    REQUIRE(opened.has_value());
    kv = std::move(*opened);
    verifier = std::make_unique<Verifier>(host.runtime(), *kv, std::move(settings));
  }
  ~Fixture() {
    scope.request_stop();
    loop.run(kv->close());
    loop.run(scope.join());
    loop.run_until_idle();
  }
  void run() { scope.spawn(verifier->run(scope)); }

  SimLoop loop;
  SimRng rng;
  SimHost host;
  MemoryRows rows;
  CheckedTarget target;
  std::unique_ptr<Kv> kv;
  std::unique_ptr<Verifier> verifier;
  Scope scope;
  int told = 0;
};

}  // namespace

TEST_CASE("everything is checked once in each interval, at a low pace") {
  Fixture t;
  EXPECT(t.verifier->progress().verified.ms == 0);
  t.run();
  t.loop.run_for(59min);
  EXPECT(t.target.checks == 0);
  t.loop.run_for(5h);
  EXPECT(t.target.checks == 5);
  Verifier::Progress progress = t.verifier->progress();
  EXPECT(progress.passes == 5);
  EXPECT(progress.trouble.empty());
  // 16 MiB at 8 MiB/s; the time that counts is that of its beginning.
  EXPECT(progress.took >= 1900ms);
  EXPECT(progress.took < 3s);
  int64_t age_ms = t.host.clock.wall_now().ms - progress.verified.ms;
  EXPECT(age_ms > 58 * 60'000);
  EXPECT(age_ms < 60 * 60'000);
}

TEST_CASE("what rots is found within an interval, and told") {
  Fixture t;
  t.run();
  t.loop.run_for(70min);
  WallTime before = t.verifier->progress().verified;
  t.target.bad = true;
  t.loop.run_for(61min);
  EXPECT(t.told == 1);
  EXPECT(t.verifier->progress().verified.ms == before.ms);
  EXPECT(t.verifier->progress().trouble.find("page 7") != std::string::npos);
}

TEST_CASE("a pass that is interrupted is tried again soon") {
  Fixture t;
  t.target.in_the_way = true;  // the map has to grow
  t.run();
  t.loop.run_for(62min);
  EXPECT(t.target.checks >= 2);
  EXPECT(t.verifier->progress().passes == 0);
  t.target.in_the_way = false;
  t.loop.run_for(2min);
  EXPECT(t.verifier->progress().passes == 1);
}

TEST_CASE("who asks for a pass joins the one under way") {
  Fixture t;
  Scope two;
  int good = 0;
  auto one = [](Verifier& verifier, int& count) -> Task<void> {
    Status done = co_await verifier.pass();
    count += done.has_value();
  };
  two.spawn(one(*t.verifier, good));
  t.loop.run_for(500ms);
  two.spawn(one(*t.verifier, good));
  t.loop.run(two.join());
  EXPECT(good == 2);
  EXPECT(t.target.checks == 1);
}

TEST_CASE("a pass that would take too long is faster") {
  VerifierSettings settings;
  settings.interval = 10s;
  settings.file = "/meta.mdb";
  Fixture t(settings);
  t.target.bytes = 128 * kMiB;
  auto file = t.loop.run(t.host.disk.open("/meta.mdb", Disk::Open::kCreate));
  REQUIRE(file.has_value());
  REQUIRE(t.loop.run((*file)->allocate(128 * kMiB)).has_value());
  t.run();
  t.loop.run_for(18s);
  EXPECT(t.verifier->progress().passes == 1);
  EXPECT(t.verifier->progress().took >= 4s);
  EXPECT(t.verifier->progress().took <= 6s);
}

TEST_CASE("one that is asked for comes at once, as fast as may be") {
  Fixture t;
  t.run();
  t.verifier->ask();
  EXPECT(t.verifier->progress().running);
  t.loop.run_for(2s);
  EXPECT(t.verifier->progress().passes == 1);
  EXPECT(t.verifier->progress().took < 1s);
}

TEST_CASE("leaves that forget a row are found while LMDB is in use") {
  TempDir dir;
  SimLoop loop;
  SimRng rng(5);
  SimHost host(loop, rng, "node");
  std::string file = dir.path() + "/meta.mdb";
  auto lmdb = Lmdb::open(file, LmdbOptions{}, host.pool);
  REQUIRE(lmdb.has_value());
  int told = 0;
  KvOptions options = small_options();
  options.damaged = [&told](const Error&) { ++told; };
  auto kv = loop.run(open_kv(std::move(options), host.runtime(), **lmdb));
  REQUIRE(kv.has_value());
  for (int n = 0; n < 500; ++n)
    REQUIRE(loop.run((*kv)->write(one_put("key-" + std::to_string(1000 + n), "v"))).has_value());
  REQUIRE(loop.run((*kv)->fold()).has_value());
  Verifier verifier(host.runtime(), **kv, {});
  REQUIRE(loop.run(verifier.pass()).has_value());

  std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(f)), {});
  f.clear();
  int hidden = 0;
  for (size_t at = 2 * kPageBytes; at + kPageBytes <= bytes.size(); at += kPageBytes) {
    Reader page(std::string_view(bytes).substr(at, 16));
    uint64_t number = page.u64();
    (void)page.u16();
    uint16_t flags = page.u16(), lower = page.u16();
    if (number != at / kPageBytes || flags != 2 || lower <= 16 + 2 * 4) continue;
    std::string less;
    Writer(less).u16(static_cast<uint16_t>(lower - 2));
    f.seekp(static_cast<std::streamoff>(at + 12));
    f.write(less.data(), 2);
    ++hidden;
  }
  f.close();
  REQUIRE(hidden > 0);
  EXPECT(loop.run(verifier.pass()).is(ErrorCode::kCorrupt));
  loop.run_for(1s);
  EXPECT(told == 1);
  loop.run((*kv)->close());
}
