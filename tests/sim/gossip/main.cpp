// swim_sim: how often gossip takes a living node for dead, and how soon everybody knows of a real
// death, in simulated time.
//
//   swim_sim [--profile edge|lan|wan] [--nodes N] [--loss PERCENT] [--hours H] [--deaths N]
//            [--seed S] [--within SECONDS]
//
// Prints the false deaths in H hours, then the times until all others know of each of N deaths. It
// fails when there is a false death, or when the p99 of those times is above --within.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/sim/gossip/gossip_net.h"

using namespace covey;
using namespace std::chrono_literals;

namespace {

constexpr Duration kFormedWithin = 60s;
constexpr Duration kLook = 50ms;
constexpr Duration kGivenUpAfter = 600s;

struct Options {
  std::string profile = "edge";
  SwimConfig config;
  int nodes = 5;
  double loss = 0;
  int hours = 0, deaths = 0, within = 0;
  uint64_t seed = 1;
};

[[noreturn]] void usage(const char* why) {
  fmt::print(stderr,
             "swim_sim: {}\nusage: swim_sim [--profile edge|lan|wan] [--nodes N] [--loss PERCENT] "
             "[--hours H] [--deaths N] [--seed S] [--within SECONDS]\n",
             why);
  std::exit(2);
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc) usage("an option without a value");
    const std::string value = argv[i + 1];
    const int number = std::atoi(value.c_str());
    if (name == "--profile")
      o.profile = value;
    else if (name == "--nodes")
      o.nodes = number;
    else if (name == "--loss")
      o.loss = number / 100.0;
    else if (name == "--hours")
      o.hours = number;
    else if (name == "--deaths")
      o.deaths = number;
    else if (name == "--seed")
      o.seed = static_cast<uint64_t>(number);
    else if (name == "--within")
      o.within = number;
    else
      usage("no such option");
  }
  auto config = SwimConfig::profile(o.profile);
  if (!config) usage("no such profile");
  if (o.hours <= 0 && o.deaths <= 0) usage("a number of hours or of deaths is needed");
  if (o.nodes < 3 || o.nodes > 200) usage("3 to 200 nodes");
  o.config = *config;
  return o;
}

GossipNet formed(const Options& o) {
  GossipNet net(o.seed);
  for (int n = 0; n < o.nodes; ++n) net.start(n, 1, o.config);
  net.run(kFormedWithin);
  if (!net.converged(static_cast<size_t>(o.nodes))) {
    fmt::print("the nodes did not find each other\n");
    std::exit(1);
  }
  net.loss = o.loss;
  return net;
}

bool no_false_deaths(const Options& o) {
  GossipNet net = formed(o);
  net.run(o.hours * 3600s);
  fmt::print("{} h simulated, {} nodes, {:.0f} % loss, profile {}: {} false deaths\n", o.hours,
             o.nodes, o.loss * 100, o.profile, net.deaths);
  return net.deaths == 0;
}

// One node after the other dies at some moment, and comes back when all others know.
bool known_in_time(const Options& o) {
  GossipNet net = formed(o);
  SeededRng rng(o.seed + 1);
  std::vector<Duration> times;
  uint64_t incarnation = 1;
  for (int i = 0; i < o.deaths; ++i) {
    const int victim = i % o.nodes;
    net.run(Duration(static_cast<int64_t>(rng.below(10'000'000'000))));
    auto known = [&] {
      for (int n = 0; n < o.nodes; ++n)
        if (n != victim && net.state(n, victim) != MemberState::kDead) return false;
      return true;
    };
    net.stop(victim);
    const TimePoint died = net.now();
    while (!known() && net.now() - died < kGivenUpAfter) net.run(kLook);
    times.push_back(net.now() - died);
    net.start(victim, ++incarnation, o.config);
    const TimePoint back = net.now();
    while (!net.converged(static_cast<size_t>(o.nodes)) && net.now() - back < kGivenUpAfter)
      net.run(1s);
  }
  std::sort(times.begin(), times.end());
  auto seconds = [&](size_t at) { return std::chrono::duration<double>(times[at]).count(); };
  const double p99 = seconds(times.size() * 99 / 100);
  fmt::print(
      "{} deaths, {} nodes, {:.0f} % loss, profile {}: known to all after {:.1f} s (p50), {:.1f} s "
      "(p99), {:.1f} s at most\n",
      o.deaths, o.nodes, o.loss * 100, o.profile, seconds(times.size() / 2), p99,
      seconds(times.size() - 1));
  return o.within == 0 || p99 <= o.within;
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  bool good = true;
  if (o.hours > 0) good = no_false_deaths(o) && good;
  if (o.deaths > 0) good = known_in_time(o) && good;
  return good ? 0 : 1;
}
