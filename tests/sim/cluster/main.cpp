// cluster_sim: whole nodes on simulated time, network and disks. One thread, one seed, one history.
//
//   cluster_sim [--seeds N] [--seed FIRST] [--trace | --messages] [--log] [--twice] [--fault NAME]
//
//   cluster_sim_seeded --bug NAME --seeds N    looks for the first seed that catches a seeded bug
//
// --log: what the nodes say of themselves, too. --twice runs each seed two times and compares the
// histories' hashes; --fault has that fault only (knobs.cpp; "network": loss, delay and the like).
#include <sodium.h>

#include <cstdlib>
#include <string>

#include "base/core/log.h"
#include "base/core/seeded_bug.h"
#include "tests/sim/cluster/world.h"

namespace covey::sim {
namespace {

using Unsigned = unsigned long long;

struct Args {
  uint64_t seeds = 0, first = 1;
  Trace::Print print = Trace::Print::kNothing;
  bool twice = false;
  std::string fault, bug;
};

Args parse(int argc, char** argv) {
  Args args;
  bool one = false;
  for (int i = 1; i < argc; ++i) {
    std::string_view arg = argv[i];
    bool more = i + 1 < argc;
    if (arg == "--seeds" && more) {
      args.seeds = std::strtoull(argv[++i], nullptr, 10);
    } else if (arg == "--seed" && more) {
      args.first = std::strtoull(argv[++i], nullptr, 10), one = true;
    } else if (arg == "--trace") {
      args.print = Trace::Print::kLines;
    } else if (arg == "--messages") {
      args.print = Trace::Print::kMessages;
    } else if (arg == "--log") {
      set_log_level("debug");
    } else if (arg == "--twice") {
      args.twice = true;
    } else if (arg == "--bug" && more) {
      args.bug = argv[++i];
    } else if (arg == "--fault" && more) {
      args.fault = argv[++i];
    } else {
      std::fprintf(stderr,
                   "usage: %s [--seeds N] [--seed FIRST] [--trace | --messages] [--log] [--twice] "
                   "[--fault NAME]\n",
                   argv[0]);
      std::exit(2);
    }
  }
  if (args.seeds == 0) args.seeds = one ? 1 : 100;
  return args;
}

struct Totals {
  uint64_t bad = 0, hash = 0;
  Counts counts;
};

void run_seed(uint64_t seed, const Args& args, Totals& totals) {
  World world(seed, args.fault, args.print);
  bool good = world.run();
  if (args.twice) {
    World again(seed, args.fault, args.print);
    (void)again.run();
    if (again.trace.hash() != world.trace.hash()) {
      std::printf("seed %llu: two runs differ\n", static_cast<Unsigned>(seed));
      good = false;
    }
  }
  totals.hash = totals.hash * 31 + world.trace.hash();
  totals.counts.add(world.counts);
  if (good) return;
  ++totals.bad;
  std::string fault = args.fault.empty() ? "" : " --fault " + args.fault;
  std::printf("replay: tests/run sim --seed %llu%s --trace\n", static_cast<Unsigned>(seed),
              fault.c_str());
  std::fflush(stdout);
}

#ifdef COVEY_SEEDED_BUGS
int look_for(const Args& args) {
  seeded_bug = args.bug;
  for (uint64_t i = 0; i < args.seeds; ++i) {
    World world(args.first + i, args.fault, args.print);
    if (world.run()) continue;
    std::printf("%s: caught after %llu seeds\n", args.bug.c_str(), static_cast<Unsigned>(i + 1));
    return 0;
  }
  std::printf("%s: not caught in %llu seeds\n", args.bug.c_str(),
              static_cast<Unsigned>(args.seeds));
  return 1;
}
#else
int look_for(const Args&) {
  std::printf("seeded bugs are in cluster_sim_seeded\n");
  return 2;
}
#endif

int run(const Args& args) {
  if (!args.bug.empty()) return look_for(args);
  Totals totals;
  for (uint64_t i = 0; i < args.seeds; ++i) {
    run_seed(args.first + i, args, totals);
    if ((i + 1) % 100 == 0 && i + 1 < args.seeds) {
      std::printf("%llu of %llu seeds, %llu bad\n", static_cast<Unsigned>(i + 1),
                  static_cast<Unsigned>(args.seeds), static_cast<Unsigned>(totals.bad));
      std::fflush(stdout);
    }
  }
  const Counts& c = totals.counts;
  std::printf("a node held at most:");
  for (const auto& [name, used] : c.most)
    std::printf(" %s %llu", name.c_str(), static_cast<Unsigned>(used));
  std::printf("\n");
  std::printf(
      "damage: %llu bits flipped, %llu files cut, %llu writes misdirected, %llu metadata rows "
      "spoilt; %llu copies were found bad, %llu fetched for them; at the end %llu copies read, "
      "%s\n",
      static_cast<Unsigned>(c.flips), static_cast<Unsigned>(c.files_cut),
      static_cast<Unsigned>(c.misdirected), static_cast<Unsigned>(c.rows_spoilt),
      static_cast<Unsigned>(c.bad_copies), static_cast<Unsigned>(c.fetched_copies),
      static_cast<Unsigned>(c.good_copies), totals.bad == 0 ? "all good" : "see above");
  std::printf(
      "%llu seeds, %llu bad; operations: %llu ok, %llu refused, %llu missing, %llu not done, %llu "
      "unknown, %llu of these cut off; %llu power cuts, %llu kills; hash %016llx\n",
      static_cast<Unsigned>(args.seeds), static_cast<Unsigned>(totals.bad),
      static_cast<Unsigned>(c.ok), static_cast<Unsigned>(c.refused),
      static_cast<Unsigned>(c.missing), static_cast<Unsigned>(c.not_done),
      static_cast<Unsigned>(c.unknown), static_cast<Unsigned>(c.cut_off),
      static_cast<Unsigned>(c.power_cuts), static_cast<Unsigned>(c.kills),
      static_cast<Unsigned>(totals.hash));
  return totals.bad == 0 ? 0 : 1;
}

}  // namespace
}  // namespace covey::sim

int main(int argc, char** argv) {
  if (sodium_init() < 0) return 2;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a crash shows what came before it
  covey::set_log_level("off");
  return covey::sim::run(covey::sim::parse(argc, argv));
}
