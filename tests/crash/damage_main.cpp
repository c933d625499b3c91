// crash_damage: bits flip and files end early below a stopped store; see README.md. What the check
// before the opening lets through must be harmless or be caught when it is read: no row may vanish,
// and LMDB may not end the process. Each trial opens the store in a process of its own.
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "base/core/check.h"
#include "base/core/log.h"
#include "store/meta/lmdb_check.h"
#include "tests/crash/check.h"
#include "tests/crash/load.h"
#include "tests/crash/recorder.h"

using namespace covey;

namespace {

enum Outcome : int {
  kHarmless,       // free space, or what recovery puts right
  kFound,          // the check before the store is opened finds it
  kRefused,        // the store does not open
  kCaught,         // a look-up or a scan says kCorrupt; a block is missing or bad
  kForgot,         // the newest records of the journal are gone: peers remember the sequence
  kAbsent,         // a row reads as absent; a check of the whole tree finds it
  kAbsentForGood,  // ... and that does not either
  kWrong,          // other bytes than were written
  kDied,           // by a signal
  kHung,
  kOutcomes,
};
constexpr const char* kNames[] = {"harmless",
                                  "found before it is opened",
                                  "refused to open",
                                  "caught when read",
                                  "forgot its tail",
                                  "ABSENT, found by verify",
                                  "ABSENT, not found",
                                  "WRONG",
                                  "died",
                                  "HUNG"};
constexpr unsigned kHangsAfterS = 120;

bool is_error(const Error& error) {
  return error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kIo;
}

// Looks at everything, as clients and votes would.
Outcome look(const std::string& dir, const Expected& expected) {
  NoSyncs no_syncs(dir);
  auto sound = check_lmdb_file(dir + "/meta/meta.mdb");  // as a node does
  if (!sound) return kFound;
  LocalStore store(dir, 7);
  if (!store.open() || store.fatal()) return kRefused;
  for (const auto& [at, sequence] : expected.sequences)
    if (store.kv().durable_sequence() < sequence) return kForgot;
  bool caught = false, absent = false;
  std::map<std::string, std::string> rows;
  for (const auto& [name, writes] : expected.rows)
    if (writes.back().stamp) rows[row_key(name)] = row_value(name, writes.back());
  for (const auto& [key, value] : rows) {
    auto got = store.kv().get(key);
    if (!got && is_error(got.error()))
      caught = true;
    else if (!got || !*got)
      absent = true;
    else if ((*got)->bytes != value)
      return kWrong;
  }
  std::string end = row_key("");
  ++end.back();
  size_t seen = 0;
  auto it = store.kv().scan(row_key(""), end);
  for (; it->valid(); it->next(), ++seen) {
    auto known = rows.find(std::string(it->key()));
    if (known == rows.end() || known->second != it->value()) return kWrong;
  }
  if (!it->status())
    caught = true;
  else if (seen != rows.size())
    absent = true;
  it.reset();
  for (const auto& [key, life] : expected.blocks) {
    if (life.put_acknowledged == kNever || life.drop_begun != kNever) continue;
    auto got = store.loop().run(store.segments().get(key, 0, life.size));
    if (!got)
      caught = true;  // asked of the peers: the row names it
    else if (got->bytes.view() != block_bytes(key, life.size))
      return kWrong;
  }
  if (absent) return store.lmdb().verify() ? kAbsentForGood : kAbsent;
  return caught ? kCaught : kHarmless;
}

Outcome in_child(const std::string& dir, const Expected& expected) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(kHangsAfterS);
    _exit(look(dir, expected));
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  if (WIFEXITED(status)) return static_cast<Outcome>(WEXITSTATUS(status));
  return WTERMSIG(status) == SIGALRM ? kHung : kDied;
}

// What is written in one file of the kind; "" if none is.
std::string damage(DiskImage& image, const std::string& kind, SimRng& rng) {
  std::vector<std::string> paths;
  for (const auto& [path, entry] : image.names)
    if (!entry.folder && path.starts_with(kind)) paths.push_back(path);
  if (paths.empty()) return "";
  const std::string& path = paths[rng.below(paths.size())];
  std::string& content = image.files[image.names[path].file];
  size_t used = content.find_last_not_of('\0') + 1;
  if (used == 0) return "";
  if (rng.below(20) == 0) {
    size_t size = rng.below(used);
    content.resize(size);
    return fmt::format("{} cut to {}", path, size);
  }
  size_t at = rng.below(used);
  uint8_t bit = static_cast<uint8_t>(1u << rng.below(8));
  content[at] = static_cast<char>(content[at] ^ bit);
  return fmt::format("{} byte {} of {}, bit {:#x}", path, at, used, bit);
}

void empty_dir(const std::string& dir) {
  std::error_code ignored;
  std::filesystem::remove_all(dir, ignored);
  CHECK(std::filesystem::create_directories(dir, ignored));
}

// A store that was used and stopped.
DiskImage prepare(const std::string& dir, uint64_t seed, Expected& expected) {
  empty_dir(dir);
  Recorder recorder(dir, DiskImage());
  LocalStore store(dir, seed);
  CHECK(store.open());
  Load load{store, expected, [&recorder] { return recorder.now(); }};
  load.run = seed, load.names = 12, load.rounds = 30;
  run_load(load);
  CHECK(!load.trouble);
  store.close();
  recorder.stop();
  DiskModel model;
  for (const DiskOpRef& op : recorder.ops()) model.apply(op);
  return model.live();
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t trials = 1000, seed = 1;
  bool verbose = false;
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    verbose = verbose || name == "--verbose";
    if (name == "--trials" && i + 1 < argc) trials = std::strtoull(argv[++i], nullptr, 10);
    if (name == "--seed" && i + 1 < argc) seed = std::strtoull(argv[++i], nullptr, 10);
  }
  set_log_level("off");
  std::string dir =
      fmt::format("{}/crash-damage-{}",
                  std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp", getpid());
  std::map<std::string, std::map<int, uint64_t>> outcomes;
  SimRng rng(seed);
  Expected expected;
  DiskImage image;
  for (uint64_t trial = 0; trial < trials; ++trial) {
    if (trial % 500 == 0) {
      expected = Expected();
      image = prepare(dir + "/made", seed + trial, expected);
    }
    static const std::string kKinds[] = {"meta/meta.mdb", "meta/journal/", "data/segments/"};
    const std::string& kind = kKinds[trial % std::size(kKinds)];
    DiskImage bad = image;
    std::string how = damage(bad, kind, rng);
    if (how.empty()) continue;
    empty_dir(dir + "/bad");
    bad.write_to(dir + "/bad");
    Outcome outcome = in_child(dir + "/bad", expected);
    ++outcomes[kind][outcome];
    bool failed = outcome == kAbsent || outcome == kAbsentForGood || outcome == kWrong ||
                  outcome == kDied || outcome == kHung;
    if (verbose || failed) fmt::print("{}: {}\n", kNames[outcome], how);
  }
  uint64_t wrong = 0;
  for (const auto& [kind, counts] : outcomes) {
    fmt::print("{}", kind);
    for (const auto& [outcome, count] : counts) fmt::print(", {} {}", count, kNames[outcome]);
    fmt::print("\n");
    for (int bad : {int(kAbsent), int(kAbsentForGood), int(kWrong), int(kDied), int(kHung)})
      if (counts.contains(bad)) wrong += counts.at(bad);
  }
  std::filesystem::remove_all(dir);
  return wrong == 0 ? 0 : 1;
}
