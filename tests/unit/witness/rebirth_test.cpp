#include "node/witness/rebirth.h"

#include <sys/stat.h>
#include <unistd.h>

#include <sys/stat.h>
#include <cstdlib>

#include <filesystem>
#include <fstream>

#include "base/core/log.h"
#include "node/identity/identity.h"
#include "node/witness/data_owner.h"
#include "store/meta/memory_target.h"
#include "store/meta/open_kv.h"
#include "tests/sim/sim_host.h"
#include "tests/unit/test.h"

using namespace covey;
namespace fs = std::filesystem;

namespace {

// The folders of a node below a temporary one.
struct Folders {
  Folders() {
    set_log_level("off");
    char name[] = "/tmp/covey-rebirth-XXXXXX";
    root = ::mkdtemp(name);
    config.meta_dir = root + "/meta";
    config.data_dirs = {root + "/data"};
    fs::create_directories(config.meta_dir + "/journal");
    fs::create_directories(config.data_dirs[0] + "/segments");
    put("meta/meta.mdb", "rows");
    put("meta/journal/journal-000001", "records");
    put("meta/lock", "");
    put("meta/cluster.secret", "an operator may keep it here");
    put("data/segments/0000000000000001.seg", "blocks");
  }
  ~Folders() { fs::remove_all(root); }
  void put(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(root + "/" + path).parent_path());
    std::ofstream(root + "/" + path) << text;
  }
  std::string get(const std::string& path) {
    std::ifstream in(root + "/" + path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  bool has(const std::string& path) { return fs::exists(root + "/" + path); }
  std::string root;
  Config config;
};

// A metadata store for what is remembered of folders.
struct MetaStore {
  MetaStore() : rng(1), host(loop, rng, "n"), target(loop, rows) {
    KvOptions options;
    options.dir = "/meta";
    options.fatal = [](const Error&) {};
    auto opened = loop.run(open_kv(std::move(options), host.runtime(), target));
    CHECK(opened.has_value());
    kv = std::move(*opened);
  }
  ~MetaStore() { loop.run(kv->close()); }
  SimLoop loop;
  SimRng rng;
  SimHost host;
  MemoryRows rows;
  MemoryTarget target;
  std::unique_ptr<Kv> kv;
};

}  // namespace

TEST_CASE("a rebirth moves the identity's metadata aside, and nothing else") {
  Folders at;
  auto first = load_or_create_identity(at.config.identity_file());
  REQUIRE(first);
  REQUIRE(finish_rebirth(at.config));  // none is planned
  EXPECT(at.has("meta/meta.mdb"));
  Rebirth rebirth{"its disk forgot", {{"10.0.0.1", 3901}, {"10.0.0.2", 3901}}};
  REQUIRE(plan_rebirth(at.config, rebirth));
  EXPECT(at.has("meta/meta.mdb"));
  REQUIRE(finish_rebirth(at.config));
  EXPECT_FALSE(at.has("meta/meta.mdb"));
  EXPECT_FALSE(at.has("meta/journal"));
  EXPECT(at.has("meta/cluster.secret"));
  EXPECT(at.get("meta/aside/1/meta.mdb") == "rows");
  EXPECT(at.get("meta/aside/1/journal/journal-000001") == "records");
  EXPECT(at.get("meta/aside/1/why") == "its disk forgot\n");
  EXPECT(at.has("data/segments/0000000000000001.seg"));
  auto second = load_or_create_identity(at.config.identity_file());
  REQUIRE(second);
  EXPECT(second->id != first->id);
  auto last = last_rebirth(at.config);
  REQUIRE(last);
  REQUIRE(last->has_value());
  EXPECT(((*last)->seeds == rebirth.seeds && (*last)->why == "its disk forgot"));
  EXPECT((*last)->aside == at.config.meta_dir + "/aside/1");
  // Once more: what was kept stays.
  at.put("meta/meta.mdb", "rows of the second");
  REQUIRE(plan_rebirth(at.config, rebirth));
  REQUIRE(finish_rebirth(at.config));
  EXPECT(at.get("meta/aside/1/meta.mdb") == "rows");
  EXPECT(at.get("meta/aside/2/meta.mdb") == "rows of the second");
}

TEST_CASE("rebirths for damage are counted for a day, others are not") {
  Folders at;
  at.put("meta/aside/1/why", kDamagedWhy + "page 7\n");
  at.put("meta/aside/3/why", kDamagedWhy + "page 9\n");
  at.put("meta/aside/4/why", "its disk forgot\n");
  struct stat about {};
  REQUIRE(::stat((at.config.meta_dir + "/aside/3/why").c_str(), &about) == 0);
  EXPECT(damages_of_today(at.config, {about.st_mtime * 1000}) == 2u);
  EXPECT(damages_of_today(at.config, {(about.st_mtime + 25 * 3600) * 1000}) == 0u);
}

TEST_CASE("a rebirth that a crash interrupted is finished at the next start") {
  Folders at;
  REQUIRE(load_or_create_identity(at.config.identity_file()));
  Rebirth rebirth{"its disk forgot", {}};
  REQUIRE(plan_rebirth(at.config, rebirth));
  fs::create_directories(at.root + "/meta/aside/1");
  fs::rename(at.root + "/meta/meta.mdb", at.root + "/meta/aside/1/meta.mdb");
  REQUIRE(finish_rebirth(at.config));
  EXPECT_FALSE(at.has("meta/identity.key"));
  EXPECT(at.has("meta/aside/1/identity.key"));
  EXPECT(at.has("meta/aside/1/meta.mdb"));
  EXPECT_FALSE(at.has("meta/rebirth"));
}

TEST_CASE("a data folder of another node is refused, that of an earlier self taken over") {
  Folders at;
  MetaStore meta, other;
  NodeId a, b;
  a.bytes[0] = 1, b.bytes[0] = 2;
  REQUIRE(meta.loop.run(own_data_dirs(at.config, a, true, *meta.kv)));
  REQUIRE(meta.loop.run(own_data_dirs(at.config, a, false, *meta.kv)));
  Status swapped = other.loop.run(own_data_dirs(at.config, b, false, *other.kv));
  EXPECT(swapped.is(ErrorCode::kDenied));
  EXPECT(swapped.error().message.find("swapped") != std::string::npos);
  REQUIRE(other.loop.run(own_data_dirs(at.config, b, true, *other.kv)));  // metadata lost: a new id
  EXPECT(meta.loop.run(own_data_dirs(at.config, a, false, *meta.kv)).is(ErrorCode::kDenied));
  REQUIRE(release_data_dir(at.config.data_dirs[0]));
  REQUIRE(meta.loop.run(own_data_dirs(at.config, a, false, *meta.kv)));
  at.put("data/owner", "nonsense");
  EXPECT(meta.loop.run(own_data_dirs(at.config, a, false, *meta.kv)).is(ErrorCode::kCorrupt));
}
