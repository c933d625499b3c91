// crash_faults: each file operation of a load fails in turn; see README.md.
#include <errno.h>
#include <fmt/core.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "base/core/check.h"
#include "base/core/log.h"
#include "tests/crash/check.h"
#include "tests/crash/load.h"
#include "tests/crash/recorder.h"

using namespace covey;

namespace {

enum class Fault { kNone, kIo, kNoSpace, kFull, kShort };
constexpr const char* kFaultNames[] = {"none", "EIO", "ENOSPC", "ENOSPC from then on", "short"};

// "pwritev meta/journal/journal-*": what is done to which kind of file.
std::string site_of(const SysCall& call, size_t root_bytes) {
  std::string path = call.path.size() > root_bytes ? call.path.substr(root_bytes + 1) : ".";
  std::string out;
  for (char c : path) {
    bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f' && path.find(".seg") != path.npos &&
                                          out.find("segments/") != out.npos);
    if (!hex) out += c;
    if (hex && (out.empty() || out.back() != '*')) out += '*';
  }
  return fmt::format("{} {}{}", call.function, out, call.synchronous ? " (O_DSYNC)" : "");
}

// Records, and makes one call fail.
class FaultRecorder final : public Recorder {
 public:
  FaultRecorder(std::string root, const DiskImage& start, Fault fault, size_t fail_at)
      : Recorder(root, start), fault_(fault), fail_at_(fail_at), root_bytes_(root.size()) {}

  std::optional<long> before(SysCall& call) override {
    if (over_) return Recorder::before(call);
    bool lock = call.path.ends_with("-lock");
    if (!lock) ++calls_;
    if (!lock && sites_.size() < calls_) sites_.push_back(site_of(call, root_bytes_));
    bool sync = call.what == Sys::kSync || call.what == Sys::kSyncDir;
    if (sync && failed_syncs_.contains(call.path)) synced_again_ = call.path;
    if (!lock && calls_ == fail_at_ && fits(call)) {
      struck_ = true;
      site_ = site_of(call, root_bytes_);
      if (sync) failed_syncs_.insert(call.path);
      if (fault_ == Fault::kIo) return -EIO;
      if (fault_ == Fault::kNoSpace || fault_ == Fault::kFull) return -ENOSPC;
      call.size /= 2;
    } else if (fault_ == Fault::kFull && struck_ && takes_space(call)) {
      return -ENOSPC;
    }
    return Recorder::before(call);
  }

  void end_fault() { over_ = true; }
  bool struck() const { return struck_; }
  const std::string& site() const { return site_; }
  const std::vector<std::string>& sites() const { return sites_; }
  // A file whose failed sync was tried again.
  const std::string& synced_again() const { return synced_again_; }

 private:
  static bool takes_space(const SysCall& call) {
    return call.what == Sys::kAllocate || call.what == Sys::kMakeDir || call.what == Sys::kWrite;
  }
  bool fits(const SysCall& call) const {
    switch (fault_) {
      case Fault::kNone: return false;
      case Fault::kIo: return true;
      case Fault::kNoSpace:
        return takes_space(call) || call.created || call.what == Sys::kSync ||
               call.what == Sys::kRename || (call.what == Sys::kOpen && call.writable);
      case Fault::kFull: return takes_space(call);
      case Fault::kShort: return call.what == Sys::kWrite && call.size > 1;
    }
    return false;
  }

  Fault fault_;
  size_t fail_at_, root_bytes_, calls_ = 0;
  bool struck_ = false, over_ = false;
  std::string site_, synced_again_;
  std::set<std::string> failed_syncs_;
  std::vector<std::string> sites_;
};

struct Tally {
  size_t runs = 0, stopped = 0, refused_open = 0, went_on = 0;
  std::map<std::string, size_t> sites;
};

void empty_dir(const std::string& dir) {
  std::error_code ignored;
  std::filesystem::remove_all(dir, ignored);
  CHECK(std::filesystem::create_directories(dir, ignored));
}

// What a restarted node finds: everything acknowledged, nothing half.
std::string reopen(const std::string& dir, const DiskImage& image, const Expected& expected,
                   At at) {
  empty_dir(dir);
  image.write_to(dir);
  NoSyncs no_syncs(dir);
  LocalStore store(dir, 99);
  Status opened = store.open();
  if (!opened) return "does not open: " + to_string(opened.error());
  Seen seen;
  return check_store(store, expected, at, seen);
}

class Trial {
 public:
  Trial(std::string dir, const DiskModel& start, const Expected& before, uint64_t seed)
      : dir_(std::move(dir)), start_(start), expected_(before), seed_(seed) {}

  // Empty, or what is wrong. `sites`: of the calls up to the end of the load.
  std::string run(Fault fault, size_t fail_at, Tally& tally, std::vector<std::string>* sites) {
    std::string live_dir = dir_ + "/live";
    empty_dir(live_dir);
    DiskImage live = start_.live();
    live.write_to(live_dir);
    FaultRecorder recorder(live_dir, live, fault, fail_at);
    std::string trouble = use(recorder, live_dir, fault, tally);
    recorder.stop();
    if (sites) *sites = recorder.sites();
    if (!recorder.struck() && fault != Fault::kNone) return trouble;
    ++tally.sites[recorder.site()];
    ++tally.runs;
    if (trouble.empty() && !recorder.synced_again().empty())
      trouble = "a failed sync was tried again: " + recorder.synced_again();
    if (!trouble.empty()) return trouble;
    DiskModel model = start_;
    for (const DiskOpRef& op : recorder.ops()) model.apply(op);
    Keep lost;
    lost.units.assign(model.volatile_units(nullptr), Keep::How::kLost);
    At end = recorder.now();
    trouble = reopen(dir_ + "/state", model.image(lost, nullptr), expected_, end);
    if (!trouble.empty()) return "after a power cut: " + trouble;
    trouble = reopen(dir_ + "/state", model.live(), expected_, end);
    return trouble.empty() ? "" : "after a restart: " + trouble;
  }

 private:
  std::string use(FaultRecorder& recorder, const std::string& live_dir, Fault fault, Tally& tally) {
    LocalStore store(live_dir, seed_);
    Status opened = store.open();
    if (!opened) {
      if (recorder.struck()) ++tally.refused_open;
      if (recorder.struck()) return "";
      return "does not open: " + to_string(opened.error());
    }
    Load load{store, expected_, [&recorder] { return recorder.now(); }};
    load.rounds = 8, load.run = seed_, load.may_be_full = fault != Fault::kNone;
    run_load(load);
    if (load.trouble && !load.trouble->message.empty() && !recorder.struck())
      return "the load: " + to_string(*load.trouble);
    recorder.end_fault();
    if (store.fatal()) {
      ++tally.stopped;
      if (store.fatal()->message.empty()) return "it ends without saying why";
      return "";
    }
    if (recorder.struck()) ++tally.went_on;
    // It goes on, so everything is readable, and there is space again: it takes writes.
    Seen seen;
    std::string trouble = check_store(store, expected_, recorder.now(), seen);
    if (!trouble.empty()) return "while it runs: " + trouble;
    store.loop().run_for(std::chrono::seconds(5));
    if (load.trouble) return "";
    // The first writes may be refused once more: they make it look for space.
    load.rounds = 4, load.run = seed_ + 1;
    run_load(load);
    store.loop().run_for(std::chrono::seconds(5));
    load.may_be_full = false, load.run = seed_ + 2;
    run_load(load);
    if (!load.trouble || store.fatal()) return "";
    return "it does not take writes again: " + to_string(*load.trouble);
  }

  std::string dir_;
  const DiskModel& start_;
  Expected expected_;
  uint64_t seed_;
};

// A store with a history, as a start for the trials.
bool prepare(const std::string& dir, uint64_t seed, DiskModel& model, Expected& expected) {
  empty_dir(dir + "/live");
  Recorder recorder(dir + "/live", DiskImage());
  LocalStore store(dir + "/live", seed);
  if (!store.open()) return false;
  Load load{store, expected, [&recorder] { return recorder.now(); }};
  load.run = seed * 100;
  run_load(load);
  store.close();
  recorder.stop();
  model = DiskModel();
  for (const DiskOpRef& op : recorder.ops()) model.apply(op);
  model = DiskModel(model.live());
  expected = expected.as_of(recorder.now());
  return !load.trouble;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seed = 1, step = 1;
  bool list = false;
  std::string log = "off", dir;
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    std::string value = i + 1 < argc ? argv[i + 1] : "";
    if (name == "--list") {
      list = true;
      continue;
    }
    ++i;
    uint64_t number = std::strtoull(value.c_str(), nullptr, 10);
    if (name == "--seed" && number)
      seed = number;
    else if (name == "--step" && number)
      step = number;
    else if (name == "--dir")
      dir = value;
    else if (name == "--log")
      log = value;
    else {
      fmt::print(
          "crash_faults [--seed S] [--step N: every Nth call] [--dir DIR] [--list] [--log "
          "LEVEL]\n");
      return 2;
    }
  }
  set_log_level(log);
  bool own_dir = dir.empty();
  if (own_dir)
    dir = fmt::format("{}/crash-faults-{}",
                      std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp", getpid());
  auto began = std::chrono::steady_clock::now();
  Tally tally;
  size_t bad = 0;
  // A node's first start, and one with a history.
  for (int round = 0; round < 2; ++round) {
    DiskModel start;
    Expected before;
    if (round == 1 && !prepare(dir, seed, start, before)) {
      fmt::print("FAILED: the first load\n");
      return 1;
    }
    std::vector<std::string> sites;
    std::string clean = Trial(dir, start, before, seed).run(Fault::kNone, 0, tally, &sites);
    if (!clean.empty()) {
      fmt::print("FAILED without a fault: {}\n", clean);
      return 1;
    }
    for (Fault fault : {Fault::kIo, Fault::kNoSpace, Fault::kFull, Fault::kShort}) {
      for (size_t n = 1 + seed % step; n <= sites.size(); n += step) {
        std::string trouble = Trial(dir, start, before, seed).run(fault, n, tally, nullptr);
        if (trouble.empty()) continue;
        ++bad;
        fmt::print("FAILED --seed {} round {} call {} ({}) {}: {}\n", seed, round, n, sites[n - 1],
                   kFaultNames[static_cast<size_t>(fault)], trouble);
      }
    }
  }
  if (list)
    for (const auto& [site, count] : tally.sites) fmt::print("{:>6} {}\n", count, site);
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  fmt::print(
      "{} faults at {} call sites: {} starts refused, {} stopped for good, {} went on; {} wrong; "
      "{:.0f} s\n",
      tally.runs, tally.sites.size(), tally.refused_open, tally.stopped, tally.went_on, bad,
      took.count());
  if (own_dir && bad == 0) std::filesystem::remove_all(dir);
  return bad == 0 ? 0 : 1;
}
