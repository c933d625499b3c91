// Snapshots, copies of closed journals, and what is restored from them: all that was acknowledged,
// or a plain no.
#include <map>
#include <string>

#include "store/meta/journal.h"
#include "store/meta/restore.h"
#include "store/meta/snapshot_file.h"
#include "store/meta/snapshots.h"
#include "tests/unit/meta/helpers.h"

using namespace covey;

namespace {

using Model = std::map<std::string, std::string>;
const MetaFolders kFolders("/data");
constexpr uint64_t kFast = 1 << 30;

KvOptions archived_options() {
  KvOptions options = small_options();
  options.journal_dir = kFolders.journal();
  options.archive_dir = kFolders.archive();
  options.journal_files_max = 8;
  return options;
}

// A store that keeps what a rebuild needs, and what was acknowledged.
struct Kept : SimKv {
  explicit Kept(uint64_t seed) : SimKv(seed, archived_options()) { REQUIRE(start().has_value()); }

  void write(int batches) {
    for (int n = 0; n < batches; ++n) {
      WriteBatch batch;
      std::string key = random_key(rng), value = random_value(rng);
      batch.put(key, value);
      bool erases = !model.empty() && rng.below(4) == 0;
      std::string gone = erases ? model.begin()->first : std::string();
      if (erases) batch.erase(gone);
      if (!loop.run(kv->write(std::move(batch))).has_value()) continue;
      model[key] = value;
      if (erases) model.erase(gone);
    }
  }
  std::string snapshot() {
    KvSnapshot made;
    made.generation = ++snapshots;  // a name
    std::string path = kFolders.snapshots() + "/" + snapshot_name(made);
    REQUIRE(loop.run(host.disk.make_dir(kFolders.snapshots())).has_value());
    auto done = loop.run(kv->snapshot(path, kFast));
    REQUIRE(done.has_value());
    return path;
  }
  Result<Restored> restore(bool accept_loss = false) {
    stop();
    RestoreOptions wanted;
    wanted.kv = options;
    wanted.kv.dir = "/rebuilt";
    wanted.snapshot_dir = kFolders.snapshots();
    wanted.accept_loss = accept_loss;
    std::function<Result<FoldTarget*>()> fresh = [this]() -> Result<FoldTarget*> {
      restored_rows = std::make_unique<MemoryRows>();
      restored_target = std::make_unique<MemoryTarget>(loop, *restored_rows);
      return static_cast<FoldTarget*>(restored_target.get());
    };
    return loop.run(restore_kv(std::move(wanted), host.runtime(), std::move(fresh)));
  }
  void end(Restored& restored) {
    if (restored.kv) loop.run(restored.kv->close());
    loop.run_until_idle();
    restored.kv.reset();
  }

  Model model;
  uint64_t snapshots = 0;
  std::unique_ptr<MemoryRows> restored_rows;
  std::unique_ptr<MemoryTarget> restored_target;
};

Model rows_of(Kv& kv) {
  Model rows;
  auto it = kv.scan(std::string(1, '\0'), std::string(1300, '\xff'));
  for (; it->valid(); it->next()) rows[std::string(it->key())] = it->value();
  REQUIRE(it->status().has_value());
  return rows;
}

void flip(Kept& t, const std::string& path) {
  uint64_t at = t.rng.below(t.host.disk.file_size(path));
  t.host.disk.flip_bit(path, at, static_cast<uint8_t>(t.rng.below(8)));
}

std::vector<std::string> below(Kept& t, const std::string& folder) {
  std::vector<std::string> found;
  for (const std::string& path : t.host.disk.paths())
    if (path.starts_with(folder + "/")) found.push_back(path);
  return found;
}

}  // namespace

TEST_CASE("snapshot and journals give exactly what was acknowledged") {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    Kept t(seed);
    for (int round = 0; round < static_cast<int>(seed % 4); ++round) {
      t.write(300);
      t.snapshot();
    }
    t.write(seed % 2 ? 900 : 3);  // many closed journals, or only the open one
    CAPTURE(seed);
    uint64_t sequence = t.kv->durable_sequence();
    t.loop.run_until_idle();
    std::vector<std::string> copies = below(t, kFolders.archive());
    auto restored = t.restore();
    REQUIRE(restored.has_value());
    EXPECT(restored->missing.empty());
    EXPECT(restored->snapshot.empty() == (seed % 4 == 0));
    EXPECT(rows_of(*restored->kv) == t.model);
    EXPECT(restored->kv->durable_sequence() == sequence);
    t.end(*restored);
    // The sources are as they were: it works again.
    auto again = t.restore();
    REQUIRE(again.has_value());
    EXPECT(rows_of(*again->kv) == t.model);
    EXPECT(below(t, kFolders.archive()) == copies);
    t.end(*again);
  }
}

TEST_CASE("a damaged snapshot is found out, and the older one with more journals serves") {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Kept t(seed);
    t.write(200);
    std::string older = t.snapshot();
    t.write(200);
    std::string newer = t.snapshot();
    t.write(200);
    flip(t, newer);
    if (seed % 3 == 0) flip(t, older);  // then the journals reach back to the start
    CAPTURE(seed);
    auto restored = t.restore();
    REQUIRE(restored.has_value());
    EXPECT(rows_of(*restored->kv) == t.model);
    EXPECT(kFolders.snapshots() + "/" + restored->snapshot != newer);
    t.end(*restored);
  }
}

TEST_CASE("every flipped bit and every cut of a snapshot is found out") {
  Kept t(5);
  t.write(150);
  std::string path = t.snapshot();
  const std::string whole = t.host.disk.content(path);
  REQUIRE(t.loop.run(read_snapshot(t.host.disk, path, {})).has_value());
  for (int n = 0; n < 400; ++n) {
    uint64_t at = t.rng.below(whole.size());
    uint8_t bit = static_cast<uint8_t>(t.rng.below(8));
    t.host.disk.flip_bit(path, at, bit);
    CAPTURE(at);
    auto found = t.loop.run(read_snapshot(t.host.disk, path, {}));
    EXPECT((found.is(ErrorCode::kCorrupt) || found.is(ErrorCode::kInvalid)));
    t.host.disk.flip_bit(path, at, bit);
  }
  auto file = t.loop.run(t.host.disk.open(path, Disk::Open::kReadWrite));
  REQUIRE(file.has_value());
  for (uint64_t size = whole.size() - 1; size > 0; size -= std::min<uint64_t>(size, 997)) {
    REQUIRE(t.loop.run((*file)->truncate(size)).has_value());
    EXPECT(t.loop.run(read_snapshot(t.host.disk, path, {})).is(ErrorCode::kCorrupt));
  }
}

TEST_CASE("what is missing is never passed over in silence") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Kept t(seed);
    t.write(200);
    t.snapshot();
    t.write(900);
    t.stop();
    std::vector<std::string> copies = below(t, kFolders.archive());
    std::vector<std::string> open = below(t, kFolders.journal());
    REQUIRE(copies.size() > 3);
    CAPTURE(seed);
    bool lose_open = seed % 3 == 0;
    if (lose_open) {
      for (const std::string& path : open)
        REQUIRE(t.loop.run(t.host.disk.remove(path)).has_value());
    } else {
      // One that is needed: the snapshot is of about the first fifth.
      std::string one = copies[copies.size() - 2];
      if (seed % 3 == 1)
        flip(t, one);
      else
        REQUIRE(t.loop.run(t.host.disk.remove(one)).has_value());
    }
    auto strict = t.restore();
    if (!strict) {
      EXPECT(strict.is(ErrorCode::kCorrupt));
      auto lossy = t.restore(true);
      REQUIRE(lossy.has_value());
      EXPECT_FALSE(lossy->missing.empty());
      EXPECT(lossy->kv->durable_sequence() > 0);
      t.end(*lossy);
    } else {
      // The bit was in the padding, or the same generation still stood in a live file.
      EXPECT_FALSE(lose_open);
      EXPECT(rows_of(*strict->kv) == t.model);
      t.end(*strict);
    }
  }
}

TEST_CASE("closed journals are copied before their files are used again, also over restarts") {
  Kept t(7);
  for (int round = 0; round < 6; ++round) {
    t.write(250);
    if (round % 2) t.host.disk.halt();  // killed while copies may be under way
    t.stop();
    REQUIRE(t.start().has_value());
  }
  t.loop.run_until_idle();
  KvJournalState state = t.kv->journal_state();
  EXPECT(state.after_skipped == 0);
  uint64_t expected = 1;
  for (const std::string& path : below(t, kFolders.archive())) {
    auto generation = archived_generation(path.substr(path.rfind('/') + 1));
    REQUIRE(generation.has_value());
    EXPECT(*generation == expected++);
  }
  EXPECT(expected > 6);
  EXPECT(expected >= state.first_unarchived);
  auto restored = t.restore();
  REQUIRE(restored.has_value());
  EXPECT(rows_of(*restored->kv) == t.model);
  t.end(*restored);
}

TEST_CASE("without space for copies the store goes on, and says what a rebuild lacks") {
  SimKv t(8, archived_options());
  bool allowed = true;
  t.options.may_archive = [&allowed] { return allowed; };
  REQUIRE(t.start().has_value());
  allowed = false;
  for (int n = 0; n < 900; ++n)
    REQUIRE(t.loop.run(t.kv->write(one_put("k" + std::to_string(n), std::string(400, 'v'))))
                .has_value());
  t.loop.run_until_idle();
  EXPECT(t.kv->journal_state().after_skipped > 1);
  EXPECT(t.fatal_calls == 0);
}

TEST_CASE("journals move to another folder with the setting, and nothing is lost") {
  KvOptions before = small_options();
  SimKv t(9, before);
  REQUIRE(t.start().has_value());
  for (int n = 0; n < 200; ++n)
    REQUIRE(t.loop.run(t.kv->write(one_put("k" + std::to_string(n), std::string(300, 'v'))))
                .has_value());
  t.stop();
  for (bool back : {false, true}) {
    t.options = archived_options();
    t.options.other_journal_dirs = {"/meta/journal"};
    if (back) std::swap(t.options.journal_dir, t.options.other_journal_dirs[0]);
    REQUIRE(t.start().has_value());
    for (int n = 0; n < 200; ++n)
      REQUIRE(value_of(*t.kv, "k" + std::to_string(n)) == std::string(300, 'v'));
    REQUIRE(t.loop.run(t.kv->write(one_put(back ? "back" : "there", "1"))).has_value());
    REQUIRE(t.loop.run(t.kv->fold()).has_value());
    t.stop();
    REQUIRE(t.start().has_value());
    EXPECT(value_of(*t.kv, "there") == "1");
    t.loop.run_until_idle();
    t.stop();
    std::string left = t.options.other_journal_dirs[0] + "/";
    for (const std::string& path : t.host.disk.paths()) EXPECT_FALSE(path.starts_with(left));
  }
}

TEST_CASE("snapshots are made when they are due, the last two stay with their journals") {
  Kept t(10);
  SnapshotSettings settings;
  settings.interval = std::chrono::hours(1);
  settings.bytes_per_second = kFast;
  Verifier verifier(t.host.runtime(), *t.kv, {});
  Snapshots snapshots(t.host.runtime(), *t.kv, verifier, kFolders, settings);
  REQUIRE(t.loop.run(snapshots.open()).has_value());
  EXPECT(snapshots.progress().covered);  // by the journals, from the first on
  Scope scope;
  scope.spawn(snapshots.run(scope));
  for (int hour = 0; hour < 5; ++hour) {
    t.write(300);
    t.loop.run_for(std::chrono::minutes(61));
    EXPECT(snapshots.progress().covered);
    EXPECT(snapshots.progress().kept.size() == std::min<size_t>(2, static_cast<size_t>(hour + 1)));
  }
  uint64_t needed = snapshots.progress().kept.front().covers.generation;
  for (const std::string& path : below(t, kFolders.archive()))
    EXPECT(*archived_generation(path.substr(path.rfind('/') + 1)) >= needed);
  t.write(50);
  scope.request_stop();
  t.loop.run(scope.join());
  auto restored = t.restore();
  REQUIRE(restored.has_value());
  EXPECT_FALSE(restored->snapshot.empty());
  EXPECT(rows_of(*restored->kv) == t.model);
  t.end(*restored);
}
