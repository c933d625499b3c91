// crash_states: see README.md.
#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "base/core/log.h"
#include "base/core/seeded_bug.h"
#include "tests/crash/explore.h"

using namespace covey;

namespace {

void usage() {
  fmt::print(
      "crash_states [--states N] [--seed FIRST] [--seeds N] [--dir DIR] [--draws N] [--step N] "
      "[--nested N] [--log LEVEL]\n"
      "  --states N   stop after so many crash states (default: no limit)\n"
      "  --seed S     the first load; --seeds N how many (default 1)\n"
      "  --dir DIR    a folder to work in (default: in /dev/shm)\n"
      "  --replay NAME  one state only, by the name that a failure prints\n"
      "  --bug NAME   with a seeded bug (crash_states_seeded only)\n");
}

// Says what was looked at when the code under test died of it.
void died(int number) {
  fmt::print("FAILED: signal {} while looking at {}\n", number, Explorer::now_looking_at);
  std::fflush(stdout);
  signal(number, SIG_DFL);
  raise(number);
}

}  // namespace

int main(int argc, char** argv) {
  ExploreOptions options;
  uint64_t seed = 1, seeds = UINT64_MAX;
  std::string log = "off";
  for (int i = 1; i < argc; i += 2) {
    std::string name = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (value.empty()) return usage(), 2;
    uint64_t number = std::strtoull(value.c_str(), nullptr, 10);
    if (name == "--states")
      options.states_max = number;
    else if (name == "--seed")
      seed = number;
    else if (name == "--seeds")
      seeds = number;
    else if (name == "--dir")
      options.dir = value;
    else if (name == "--draws")
      options.draws = number;
    else if (name == "--step")
      options.step = number;
    else if (name == "--nested")
      options.nested_every = number;
    else if (name == "--replay")
      options.replay = value, seed = number, seeds = 1;
    else if (name == "--log")
      log = value;
#ifdef COVEY_SEEDED_BUGS
    else if (name == "--bug")
      seeded_bug = argv[i + 1];
#endif
    else
      return usage(), 2;
  }
  if (seeds == UINT64_MAX && options.states_max == UINT64_MAX) seeds = 1;
  set_log_level(log);
  bool own_dir = options.dir.empty();
  if (own_dir) {
    std::string base = std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    options.dir = fmt::format("{}/crash-{}", base, getpid());
  }
  for (int number : {SIGSEGV, SIGBUS, SIGABRT, SIGILL}) signal(number, died);
  Explorer explorer(options);
  auto start = std::chrono::steady_clock::now();
  bool good = true;
  uint64_t done = 0;
  for (; good && done < seeds && explorer.states() < options.states_max; ++done)
    good = explorer.run_seed(seed + done);
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  fmt::print(
      "{} crash states of {} loads, {} points, {} recoveries cut in turn: {}; {:.0f} s, {:.0f} "
      "states/s\n",
      explorer.states(), done, explorer.points(), explorer.nested(),
      good ? "all recovered" : "FAILED", took.count(),
      static_cast<double>(explorer.states()) / took.count());
  if (own_dir && good) std::filesystem::remove_all(options.dir);
  return good ? 0 : 1;
}
