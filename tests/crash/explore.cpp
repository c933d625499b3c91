#include "tests/crash/explore.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

#include "base/core/check.h"
#include "tests/crash/check.h"
#include "tests/crash/load.h"

namespace covey {
namespace {

constexpr size_t kReopenEvery = 4;  // states: written to, closed and opened once more
constexpr size_t kLoneMax = 6;      // changes that are lost or kept alone
constexpr Duration kDiskDelayMax = std::chrono::microseconds(200);

Keep all(size_t units, Keep::How how) {
  Keep keep;
  keep.units.assign(units, how);
  return keep;
}

}  // namespace

std::string Explorer::now_looking_at;

void Explorer::empty_dir(const std::string& dir) {
  std::error_code ignored;
  std::filesystem::remove_all(dir, ignored);
  CHECK(std::filesystem::create_directories(dir, ignored));
}

bool Explorer::run_seed(uint64_t seed) {
  Session session;
  session.name = fmt::format("{}", seed);
  if (!record_load(session, seed, 14)) return false;
  return explore(session, seed, true);
}

// The folder holds what session.start says; opens the stores and writes.
bool Explorer::record_load(Session& session, uint64_t seed, size_t rounds) {
  std::string dir = options_.dir + "/live";
  empty_dir(dir);
  DiskImage live = session.start.live();
  live.write_to(dir);
  Recorder recorder(dir, live);
  std::string trouble;
  // Twice: what a clean start finds is recorded, too.
  for (uint64_t run = 0; run < 2 && trouble.empty(); ++run) {
    LocalStore store(dir, seed * 2 + run);
    store.delay_disk(kDiskDelayMax);
    Status opened = store.open();
    Seen seen;
    if (!opened) trouble = "opening: " + to_string(opened.error());
    if (opened) trouble = check_store(store, session.expected, recorder.now(), seen);
    if (!trouble.empty()) break;
    settle(session.expected, store, seen, recorder.now());
    Load load{store, session.expected, [&recorder] { return recorder.now(); }};
    load.rounds = rounds;
    load.run = seed * 2 + run;
    run_load(load);
    if (load.trouble) trouble = "the load: " + to_string(*load.trouble);
  }
  recorder.stop();
  session.ops = recorder.ops();
  if (trouble.empty()) return true;
  fmt::print("FAILED --replay {}: {}\n", session.name, trouble);
  return false;
}

std::vector<Keep> Explorer::choices(const DiskModel& model, const DiskOpRef& next,
                                    uint64_t seed) const {
  using How = Keep::How;
  size_t units = model.volatile_units(next.get());
  std::vector<Keep> out{all(units, How::kWhole)};
  if (units == 0) return out;
  out.push_back(all(units, How::kLost));
  if (units <= options_.subsets_max) {
    for (uint64_t mask = 1; mask + 1 < uint64_t{1} << units; ++mask) {
      out.push_back(all(units, How::kLost));
      for (size_t i = 0; i < units; ++i)
        if (mask >> i & 1) out.back().units[i] = How::kWhole;
    }
  } else {
    for (size_t i = 0; i < std::min(units, kLoneMax); ++i) {
      out.push_back(all(units, How::kWhole));
      out.back().units[units - 1 - i] = How::kLost;
      out.push_back(all(units, How::kLost));
      out.back().units[units - 1 - i] = How::kWhole;
    }
  }
  SimRng rng(seed);
  for (size_t draw = 0; draw < options_.draws; ++draw) {
    Keep keep = all(units, How::kTorn);
    keep.torn_seed = rng.next();
    keep.garbage = rng.below(3) == 0;
    if (units > 1 || draw % 2 == 1)
      for (How& how : keep.units) how = static_cast<How>(rng.below(3));
    out.push_back(std::move(keep));
  }
  return out;
}

// Whether `name` leads to the state that is to be replayed, or is it, or lies behind it.
bool Explorer::wanted(const std::string& name) const {
  const std::string& goal = options_.replay;
  return goal.empty() || goal == name || goal.starts_with(name + "/") ||
         name.starts_with(goal + "/");
}

bool Explorer::explore(const Session& session, uint64_t seed, bool nest_too) {
  DiskModel model = session.start;
  for (size_t at = 0; at <= session.ops.size(); ++at) {
    if (at > 0) model.apply(session.ops[at - 1]);
    if (at % options_.step != 0) continue;
    ++points_;
    SimRng rng(seed ^ (at + 1) * 0x9e3779b97f4a7c15u);
    DiskOpRef next = at < session.ops.size() ? session.ops[at] : nullptr;
    std::vector<Keep> keeps = choices(model, next, rng.next());
    for (size_t choice = 0; choice < keeps.size(); ++choice) {
      if (states_ >= options_.states_max) return true;
      uint64_t state_seed = rng.next();
      State state{session,
                  model,
                  next,
                  at,
                  keeps[choice],
                  state_seed,
                  fmt::format("{}/{}.{}", session.name, at, choice)};
      if (wanted(state.name) && !look(state)) return false;
      bool chosen = state_seed % options_.nested_every == 0 || !options_.replay.empty();
      if (!nest_too || !chosen) continue;
      bool power_cut = !(next && next->synchronous);
      if (power_cut && !nest(state, false)) return false;
      if (!nest(state, true)) return false;
    }
  }
  return true;
}

bool Explorer::look(const State& state) {
  DiskImage image = state.model.image(state.keep, state.next);
  // The same bytes at another time are another state: more was acknowledged.
  uint64_t when = std::hash<std::string>()(state.session.name) + state.at * 0x9e3779b97f4a7c15u;
  if (!distinct_.insert(image.hash() ^ when).second) return true;
  ++states_;
  now_looking_at = state.name;
  std::string dir = options_.dir + "/state";
  empty_dir(dir);
  image.write_to(dir);
  NoSyncs no_syncs(dir);
  std::string trouble = open_and_check(state, dir);
  return trouble.empty() || report(state, trouble);
}

std::string Explorer::open_and_check(const State& state, const std::string& dir) {
  size_t opens = state.seed % kReopenEvery == 0 ? 2 : 1;
  Expected expected = state.session.expected.as_of(state.at);
  for (size_t open = 0; open < opens; ++open) {
    LocalStore store(dir, state.seed + open);
    Status opened = store.open();
    if (!opened) return "does not open: " + to_string(opened.error());
    Seen seen;
    std::string trouble = check_store(store, expected, 0, seen);
    if (!trouble.empty()) return (open == 0 ? "" : "opened again: ") + trouble;
    if (opens == 1 || open > 0) continue;
    // It takes new writes, and has them when it is opened again.
    settle(expected, store, seen, 0);
    Load load{store, expected, [] { return At(0); }};
    load.writers = 2, load.rounds = 2, load.run = state.seed;
    run_load(load);
    if (load.trouble) return "cannot write on: " + to_string(*load.trouble);
  }
  return "";
}

// What recovery itself writes, and then a little load, is recorded and cut at each point in turn.
// `killed`: only the process ended, what it wrote is still there and still not durable.
bool Explorer::nest(const State& state, bool killed) {
  Session inner;
  inner.name = state.name + (killed ? ".killed" : ".cut");
  if (!wanted(inner.name)) return true;
  ++nested_;
  inner.start = killed ? state.model : DiskModel(state.model.image(state.keep, nullptr));
  inner.expected = state.session.expected.as_of(state.at);
  uint64_t seed = state.seed + (killed ? 1 : 0);
  return record_load(inner, seed, 2) && explore(inner, seed, false);
}

bool Explorer::report(const State& state, const std::string& trouble) {
  const std::vector<DiskOpRef>& ops = state.session.ops;
  fmt::print("FAILED --replay {} (of {}): {}\n", state.name, ops.size(), trouble);
  for (size_t i = state.at > 12 ? state.at - 12 : 0; i < std::min(state.at + 3, ops.size()); ++i)
    fmt::print("  {} {}: {}\n", i < state.at ? " " : "*", i, describe(*ops[i]));
  std::vector<DiskOpRef> pending = state.model.volatile_ops();
  for (size_t i = 0; i < state.keep.units.size(); ++i) {
    static constexpr const char* kHow[] = {"lost", "kept", "torn"};
    fmt::print("  {} {}\n", kHow[static_cast<size_t>(state.keep.units[i])],
               i < pending.size() ? describe(*pending[i]) : "the write under way");
  }
  fmt::print("  the folder is in {}/state\n", options_.dir);
  return false;
}

}  // namespace covey
