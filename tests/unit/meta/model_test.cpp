// The store against a std::map, on the in-memory target and on LMDB.
#include <filesystem>
#include <map>

#include "store/meta/lmdb_check.h"
#include "store/meta/lmdb_target.h"
#include "tests/unit/meta/helpers.h"
#include "tests/unit/meta/temp_dir.h"

using namespace covey;

namespace {

using Model = std::map<std::string, std::string>;

void expect_same(Kv& kv, const Model& model, std::string begin, std::string end) {
  auto it = kv.scan(begin, end);
  auto want = model.lower_bound(begin);
  size_t wrong = 0;
  for (; it->valid(); it->next(), ++want) {
    if (want == model.end() || want->first >= end) {
      ++wrong;
      break;
    }
    wrong += it->key() != want->first || it->value() != want->second;
  }
  EXPECT(it->status().has_value());
  EXPECT(wrong == 0);
  EXPECT((want == model.end() || want->first >= end));
}

void random_step(SimLoop& loop, SimRng& rng, Kv& kv, Model& model) {
  switch (rng.below(12)) {
    case 0: {
      std::string key = random_key(rng);
      auto row = model.find(key);
      auto got = value_of(kv, key);
      EXPECT(got.has_value() == (row != model.end()));
      if (got && row != model.end()) EXPECT(*got == row->second);
      break;
    }
    case 1: {
      std::string a = random_key(rng), b = random_key(rng);
      expect_same(kv, model, std::min(a, b), std::max(a, b));
      break;
    }
    case 2:
      if (rng.chance(0.1)) REQUIRE(loop.run(kv.fold()).has_value());
      break;
    default: {
      WriteBatch batch;
      for (uint64_t n = rng.below(5) + 1; n > 0; --n) {
        std::string key = random_key(rng);
        if (rng.chance(0.35)) {
          batch.erase(key);
          model.erase(key);
        } else {
          std::string value = random_value(rng);
          batch.put(key, value);
          model[key] = value;
        }
      }
      Status written =
          rng.chance(0.1) ? kv.write_unlogged(batch) : loop.run(kv.write(std::move(batch)));
      REQUIRE(written.has_value());
    }
  }
}

const std::string kLast(1200, '\xff');

}  // namespace

TEST_CASE("it behaves like a sorted map, on the memory target") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SimKv t(seed);
    REQUIRE(t.start().has_value());
    Model model;
    for (int i = 0; i < 1500; ++i) random_step(t.loop, t.rng, *t.kv, model);
    expect_same(*t.kv, model, "", kLast);
    REQUIRE(t.loop.run(t.kv->fold()).has_value());  // unlogged rows too
    t.stop();
    REQUIRE(t.start().has_value());
    expect_same(*t.kv, model, "", kLast);
  }
}

TEST_CASE("it behaves like a sorted map, on LMDB, over restarts and a growing map") {
  TempDir dir;
  SimLoop loop;
  SimRng rng(99);
  SimHost host(loop, rng, "node");
  Model model;
  for (int round = 0; round < 4; ++round) {
    LmdbOptions lmdb_options;
    lmdb_options.map_bytes = 256 * kKiB;
    auto lmdb = Lmdb::open(dir.path() + "/meta.mdb", lmdb_options, host.pool);
    REQUIRE(lmdb.has_value());
    auto kv = loop.run(open_kv(small_options(), host.runtime(), **lmdb));
    REQUIRE(kv.has_value());
    expect_same(**kv, model, "", kLast);
    for (int i = 0; i < 1500; ++i) random_step(loop, rng, **kv, model);
    expect_same(**kv, model, "", kLast);
    if (round % 2) {
      REQUIRE(loop.run((*kv)->fold()).has_value());
      expect_same(**kv, model, "", kLast);
      for (auto& [key, value] : model) EXPECT(value_of(**kv, key) == value);
      EXPECT((*lmdb)->verify().has_value());
      EXPECT(check_lmdb_file(dir.path() + "/meta.mdb").has_value());
      EXPECT(loop.run((*kv)->verify(kGiB)).has_value());
    } else {
      REQUIRE(loop.run((*kv)->fold()).has_value());
    }
    loop.run((*kv)->close());
  }
}

TEST_CASE("versions say what to await, limits are refused before anything is visible") {
  SimKv t(5);
  REQUIRE(t.start().has_value());
  REQUIRE(t.loop.run(t.kv->write(one_put("a", "1"))).has_value());
  EXPECT(t.kv->visible_version() == 1);
  EXPECT(t.kv->durable_sequence() == 1);
  EXPECT((*t.kv->get("a"))->version == 1);
  REQUIRE(t.loop.run(t.kv->fold()).has_value());
  EXPECT((*t.kv->get("a"))->version == 0);
  EXPECT(t.loop.run(t.kv->write(one_put(std::string(1201, 'k'), "1"))).is(ErrorCode::kTooLarge));
  EXPECT(t.loop.run(t.kv->write(one_put("", "1"))).is(ErrorCode::kTooLarge));
  EXPECT(t.loop.run(t.kv->write(one_put("b", std::string(2 << 20, 'x')))).is(ErrorCode::kTooLarge));
  EXPECT(t.kv->visible_version() == 1);
}
