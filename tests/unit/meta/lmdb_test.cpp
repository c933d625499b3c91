// LMDB alone: damage in its file, snapshots.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "store/meta/lmdb_check.h"
#include "store/meta/lmdb_target.h"
#include "store/meta/snapshot_file.h"
#include "tests/unit/meta/helpers.h"
#include "tests/unit/meta/temp_dir.h"

using namespace covey;

namespace {

struct LmdbFixture {
  LmdbFixture() : rng(1), host(loop, rng, "node") {}
  std::unique_ptr<Lmdb> open(const std::string& file) {
    auto lmdb = Lmdb::open(file, LmdbOptions{}, host.pool);
    REQUIRE(lmdb.has_value());
    return std::move(*lmdb);
  }
  void fold(Lmdb& lmdb, MemTable rows) {
    auto table = std::make_shared<const MemTable>(std::move(rows));
    REQUIRE(loop.run(lmdb.fold(table, FoldPosition{7, 3})).has_value());
  }
  SimLoop loop;
  SimRng rng;
  SimHost host;
  TempDir dir;
};

// Flips a bit in every copy of `text` in the file.
int damage(const std::string& file, const std::string& text, size_t at) {
  std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(f)), {});
  f.clear();
  int found = 0;
  for (size_t p = bytes.find(text); p != std::string::npos; p = bytes.find(text, p + 1), ++found) {
    f.seekp(static_cast<std::streamoff>(p + at));
    f.put(static_cast<char>(bytes[p + at] ^ 1));
  }
  return found;
}

MemTable thousand_rows() {
  MemTable rows;
  for (int n = 0; n < 1000; ++n)
    rows.set("key-" + std::to_string(10000 + n), "value-" + std::to_string(n) + "-end", 1);
  return rows;
}

}  // namespace

TEST_CASE("the position survives, erased rows go, a format of the future is refused") {
  LmdbFixture t;
  std::string file = t.dir.path() + "/meta.mdb";
  {
    auto lmdb = t.open(file);
    EXPECT_FALSE(lmdb->position()->has_value());
    t.fold(*lmdb, thousand_rows());
    MemTable erased;
    for (int n = 0; n < 1000; ++n) erased.set("key-" + std::to_string(10000 + n), std::nullopt, 2);
    t.fold(*lmdb, std::move(erased));
  }
  auto lmdb = t.open(file);
  EXPECT((*lmdb->position())->sequence == 7);
  EXPECT((*lmdb->position())->generation == 3);
  EXPECT_FALSE(lmdb->get("key-10005")->has_value());
  auto cursor = lmdb->cursor();
  cursor->seek("");
  EXPECT_FALSE(cursor->valid());
}

TEST_CASE("a damaged value is corrupt, for get and scan") {
  LmdbFixture t;
  std::string file = t.dir.path() + "/meta.mdb";
  t.fold(*t.open(file), thousand_rows());
  REQUIRE(damage(file, "value-500-end", 3) > 0);
  auto lmdb = t.open(file);
  EXPECT(lmdb->get("key-10500").is(ErrorCode::kCorrupt));
  EXPECT(lmdb->get("key-10502")->has_value());
  EXPECT(lmdb->verify().is(ErrorCode::kCorrupt));
  auto cursor = lmdb->cursor();
  size_t rows = 0;
  for (cursor->seek("key-"); cursor->valid(); cursor->next()) ++rows;
  EXPECT(rows == 500);
  EXPECT(cursor->status().is(ErrorCode::kCorrupt));
}

TEST_CASE("a damaged key is corrupt, never missing") {
  for (size_t at : {0, 3, 4, 6, 8}) {
    LmdbFixture t;
    std::string file = t.dir.path() + "/meta.mdb";
    t.fold(*t.open(file), thousand_rows());
    REQUIRE(damage(file, "key-10500", at) > 0);
    auto lmdb = t.open(file);
    CAPTURE(at);
    EXPECT(lmdb->get("key-10500").is(ErrorCode::kCorrupt));
  }
}

TEST_CASE("a miss between intact neighbours is a miss") {
  LmdbFixture t;
  auto lmdb = t.open(t.dir.path() + "/meta.mdb");
  EXPECT_FALSE(lmdb->get("a")->has_value());
  t.fold(*lmdb, thousand_rows());
  for (const char* key : {"a", "key-10000a", "key-10999a", "z"})
    EXPECT_FALSE(lmdb->get(key)->has_value());
}

TEST_CASE("a snapshot shows one moment, whatever is folded while it is written, and restores it") {
  LmdbFixture t;
  REQUIRE(t.loop.run(t.host.disk.make_dir("/s")).has_value());
  KvSnapshot covers{.sequence = 7, .generation = 3, .rows = 0, .bytes = 0, .made_ms = 5};
  {
    auto lmdb = t.open(t.dir.path() + "/meta.mdb");
    MemTable rows = thousand_rows();
    rows.set(std::string(1100, 'k'), std::string(300'000, 'v'),
             1);  // long key, longer than a piece
    t.fold(*lmdb, std::move(rows));
    bool cancelled = false;
    SnapshotSource source{*lmdb, lmdb->long_cursor(), cancelled};
    Scope scope;
    auto write = [](LmdbFixture& f, SnapshotSource from, KvSnapshot what) -> Task<void> {
      auto made =
          co_await write_snapshot(f.host.disk, f.loop, std::move(from), what, "/s/one", 64 * kKiB);
      REQUIRE(made.has_value());
      EXPECT(made->rows == 1001);
    };
    scope.spawn(write(t, std::move(source), covers));
    MemTable later;
    for (int n = 0; n < 1000; n += 2) later.set("key-" + std::to_string(10000 + n), {}, 2);
    later.set("later", "x", 2);
    t.fold(*lmdb, std::move(later));
    t.loop.run(scope.join());
    EXPECT(**lmdb->get("later") == "x");
  }
  auto lmdb = t.open(t.dir.path() + "/copy.mdb");
  auto found = t.loop.run(restore_snapshot(t.host.disk, "/s/one", *lmdb));
  REQUIRE(found.has_value());
  EXPECT(found->made_ms == 5);
  const MemTable rows = thousand_rows();
  for (auto& [key, row] : rows.rows()) EXPECT(**lmdb->get(key) == *row.value);
  EXPECT(**lmdb->get(std::string(1100, 'k')) == std::string(300'000, 'v'));
  EXPECT_FALSE(lmdb->get("later")->has_value());
  EXPECT((*lmdb->position())->sequence == 7);
  EXPECT((*lmdb->position())->generation == 3);
  EXPECT(lmdb->verify().has_value());
}

TEST_CASE("the check finds every flip that could change an answer, and nothing in a sound file") {
  LmdbFixture t;
  std::string file = t.dir.path() + "/meta.mdb";
  {
    auto lmdb = t.open(file);
    MemTable rows = thousand_rows();
    rows.set(std::string(1100, 'k'), std::string(20'000, 'v'), 1);
    t.fold(*lmdb, std::move(rows));
    MemTable later;
    for (int n = 0; n < 1000; n += 2) later.set("key-" + std::to_string(10000 + n), {}, 2);
    t.fold(*lmdb, std::move(later));
  }
  auto found = check_lmdb_file(file);
  REQUIRE(found.has_value());
  // A long key has three levels; "meta" holds three rows.
  EXPECT(found->rows == 500 + 3 + 3);
  std::ifstream in(file, std::ios::binary);
  const std::string sound((std::istreambuf_iterator<char>(in)), {});
  SimRng rng(7);
  int caught = 0;
  for (int n = 0; n < 3000; ++n) {
    std::string bytes = sound;
    size_t at = rng.below(bytes.size());
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
    if (!check_lmdb_file(file)) {
      ++caught;
      continue;
    }
    // Whatever it lets through, LMDB answers as before.
    auto lmdb = t.open(file);
    EXPECT(lmdb->verify().has_value());
    for (int k = 1; k < 1000; k += 200)
      EXPECT(lmdb->get("key-" + std::to_string(10000 + k))->has_value());
  }
  EXPECT(caught > 300);
}
