//   register_sim --seeds N --seed FIRST [--trace] [--rollback]
//   register_sim_seeded --bug NAME --seeds N     looks for the first seed that catches a seeded bug
#include <cstdio>
#include <cstdlib>

#include "base/core/log.h"
#include "base/core/seeded_bug.h"
#include "tests/sim/register/cluster.h"

namespace {

using ull = unsigned long long;

struct Arguments {
  ull seeds = 200, first = 1;
  bool trace = false, rollback = false;
  std::string bug;
};

Arguments parse(int argc, char** argv) {
  Arguments args;
  for (int i = 1; i < argc; ++i) {
    std::string_view arg = argv[i];
    if (arg == "--seeds" && i + 1 < argc) args.seeds = std::strtoull(argv[++i], nullptr, 10);
    if (arg == "--seed" && i + 1 < argc) args.first = std::strtoull(argv[++i], nullptr, 10);
    if (arg == "--bug" && i + 1 < argc) args.bug = argv[++i];
    if (arg == "--trace") args.trace = true;
    if (arg == "--rollback") args.rollback = true;
  }
  return args;
}

int run_all(const Arguments& args, const char* program) {
  ull bad = 0;
  covey::History all;
  for (ull seed = args.first; seed < args.first + args.seeds; ++seed) {
    covey::RegisterCluster cluster({seed, args.trace, args.rollback, false});
    if (!cluster.run()) {
      ++bad;
      std::printf("replay: %s --seed %llu --seeds 1 --trace%s\n", program, seed,
                  args.rollback ? " --rollback" : "");
      std::fflush(stdout);
    }
    const covey::History& one = cluster.history();
    all.ok += one.ok, all.unknown += one.unknown, all.failed += one.failed;
    all.refused += one.refused, all.stale += one.stale, all.pages += one.pages;
    all.forgot += one.forgot, all.layouts += one.layouts, all.pulled += one.pulled,
        all.collected += one.collected;
  }
  std::printf(
      "%llu seeds, %llu bad; operations: %llu ok, %llu refused, %llu unknown, %llu failed, %llu "
      "stale; %llu pages, %llu layout changes, %llu rows pulled, %llu tombstones collected, %llu "
      "disks found to have "
      "forgotten\n",
      args.seeds, bad, (ull)all.ok, (ull)all.refused, (ull)all.unknown, (ull)all.failed,
      (ull)all.stale, (ull)all.pages, (ull)all.layouts, (ull)all.pulled, (ull)all.collected,
      (ull)all.forgot);
  return bad == 0 ? 0 : 1;
}

#ifdef COVEY_SEEDED_BUGS
int look_for(const Arguments& args) {
  covey::seeded_bug = args.bug;
  for (ull seed = args.first; seed < args.first + args.seeds; ++seed) {
    covey::RegisterCluster cluster({seed, args.trace, args.rollback, !args.trace});
    if (cluster.run()) continue;
    std::printf("%s: caught after %llu seeds (seed %llu)\n", args.bug.c_str(),
                seed - args.first + 1, seed);
    return 0;
  }
  std::printf("%s: not caught in %llu seeds\n", args.bug.c_str(), args.seeds);
  return 1;
}
#endif

}  // namespace

int main(int argc, char** argv) {
  Arguments args = parse(argc, argv);
  covey::set_log_level("off");
#ifdef COVEY_SEEDED_BUGS
  if (!args.bug.empty()) return look_for(args);
#else
  if (!args.bug.empty()) {
    std::printf("seeded bugs are in register_sim_seeded\n");
    return 2;
  }
#endif
  return run_all(args, argv[0]);
}
