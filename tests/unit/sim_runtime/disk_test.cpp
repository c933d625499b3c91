#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/sim_host.h"
#include "tests/unit/test.h"

using namespace covey;

namespace {

struct Fixture {
  explicit Fixture(uint64_t seed = 1) : rng(seed), host(loop, rng, "n") {
    REQUIRE(loop.run(host.disk.make_dir("/d")).has_value());
  }
  std::unique_ptr<File> open(std::string path, Disk::Open mode) {
    auto file = loop.run(host.disk.open(std::move(path), mode));
    REQUIRE(file.has_value());
    return std::move(*file);
  }
  Status write(File& file, uint64_t at, std::string bytes, bool sync) {
    std::vector<Blob> pieces{Blob::own(std::move(bytes))};
    return loop.run(sync ? file.write_sync(at, std::move(pieces))
                         : file.write(at, std::move(pieces)));
  }
  void sync_dir() { REQUIRE(loop.run(host.disk.sync_dir("/d")).has_value()); }

  SimLoop loop;
  SimRng rng;
  SimHost host;
};

}  // namespace

TEST_CASE("synced data survives, unsynced sectors are each kept or lost") {
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 64; ++seed) {
    Fixture t(seed);
    auto file = t.open("/d/f", Disk::Open::kCreate);
    t.sync_dir();
    REQUIRE(t.write(*file, 0, std::string(1024, 'a'), true).has_value());
    REQUIRE(t.write(*file, 0, std::string(1024, 'b'), false).has_value());
    t.host.disk.crash();
    EXPECT_FALSE(t.write(*file, 0, "x", true).has_value());  // the handle is dead
    std::string now = t.host.disk.content("/d/f");
    REQUIRE(now.size() == 1024);
    EXPECT(now.substr(0, 512) == std::string(512, now[0]));
    EXPECT(now.substr(512) == std::string(512, now[512]));
    seen.insert({now[0], now[512]});
  }
  EXPECT(seen.size() == 4);
}

TEST_CASE("directory changes are sure only after sync_dir") {
  bool kept = false, lost = false;
  for (uint64_t seed = 0; seed < 32; ++seed) {
    Fixture t(seed);
    auto old_file = t.open("/d/old", Disk::Open::kCreate);
    REQUIRE(t.write(*old_file, 0, "data", true).has_value());
    t.sync_dir();
    REQUIRE(t.loop.run(t.host.disk.rename("/d/old", "/d/new")).has_value());
    t.host.disk.crash();
    EXPECT(t.host.disk.exists("/d/old") != t.host.disk.exists("/d/new"));
    (t.host.disk.exists("/d/new") ? kept : lost) = true;
    EXPECT(t.host.disk.content(t.host.disk.exists("/d/new") ? "/d/new" : "/d/old") == "data");
  }
  EXPECT(kept);
  EXPECT(lost);
}

TEST_CASE("a sync under way when power fails covers nothing for sure") {
  Fixture t(3);
  auto file = t.open("/d/f", Disk::Open::kCreate);
  REQUIRE(t.write(*file, 0, std::string(512, 'a'), true).has_value());
  t.sync_dir();
  t.host.disk.crash_after(1);  // the write starts, the sync finds the power gone
  EXPECT_FALSE(t.write(*file, 0, std::string(512, 'b'), true).has_value());
  EXPECT(t.host.disk.crashes() == 1);
}

TEST_CASE("faults: errors, full disk, bit flips, torn and misdirected writes") {
  Fixture t(5);
  auto file = t.open("/d/f", Disk::Open::kCreate);
  t.host.disk.faults.fail_writes = 1;
  EXPECT(t.write(*file, 0, "x", false).is(ErrorCode::kIo));
  t.host.disk.faults.fail_syncs = 1;
  EXPECT(t.write(*file, 0, "x", true).is(ErrorCode::kIo));
  t.host.disk.faults.capacity_bytes = 4096;
  REQUIRE(t.loop.run(file->allocate(4096)).has_value());
  EXPECT(t.write(*file, 0, std::string(4096, 'a'), true).has_value());
  EXPECT(t.write(*file, 4096, "b", true).is(ErrorCode::kNoSpace));
  EXPECT(t.loop.run(t.host.disk.space("/d"))->free_bytes == 0);
  t.host.disk.flip_bit("/d/f", 100, 0);
  EXPECT(t.host.disk.content("/d/f")[100] == '`');
  t.host.disk.faults.tear_writes = 1;
  EXPECT(t.write(*file, 0, std::string(4096, 'c'), true).has_value());
  std::string torn = t.host.disk.content("/d/f");
  EXPECT(torn.find('a') != std::string::npos);
  EXPECT(torn.find('c') != std::string::npos);
  t.host.disk.faults.fail_reads = 1;
  EXPECT_FALSE(file->read_now(0, 1).has_value());
  EXPECT(file->read_now(4000, 500)->size() == 96);
}

TEST_CASE("names: open modes, list, remove, truncate reads as zeros when grown") {
  Fixture t;
  auto file = t.open("/d/f", Disk::Open::kCreate);
  EXPECT(t.loop.run(t.host.disk.open("/d/f", Disk::Open::kCreate)).is(ErrorCode::kAlreadyExists));
  EXPECT(t.loop.run(t.host.disk.open("/d/g", Disk::Open::kRead)).is(ErrorCode::kNotFound));
  EXPECT(t.loop.run(t.host.disk.open("/e/g", Disk::Open::kCreate)).is(ErrorCode::kNotFound));
  REQUIRE(t.loop.run(t.host.disk.make_dir("/d/sub/deep")).has_value());
  EXPECT(*t.loop.run(t.host.disk.list("/d")) == std::vector<std::string>{"f", "sub"});
  REQUIRE(t.write(*file, 0, "abcdef", true).has_value());
  REQUIRE(t.loop.run(file->truncate(2)).has_value());
  REQUIRE(t.loop.run(file->allocate(4)).has_value());
  EXPECT(t.host.disk.content("/d/f") == std::string("ab\0\0", 4));
  REQUIRE(t.loop.run(t.host.disk.remove("/d/f")).has_value());
  EXPECT(t.loop.run(t.host.disk.remove("/d/f")).is(ErrorCode::kNotFound));
}
