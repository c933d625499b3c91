// meta: what the asked node keeps for a rebuild of its metadata.
#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "node/cli/commands.h"

namespace covey {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(300);

void print_kept(const Json& kept) {
  TextTable table({"SNAPSHOT", "MADE", "", "SIZE"});
  for (const Json& file : kept.value("snapshots", Json::array())) {
    table.add({text_of(file, "name"), human_time(number_of(file, "made_ms")),
               human_age(number_of(file, "age_ms")), human_size(number_of(file, "bytes"))});
  }
  fmt::print("{}closed journals kept: {}\n", table.str(),
             human_size(number_of(kept, "journal_bytes")));
  if (flag_of(kept, "covered"))
    fmt::print("the metadata of this node can be rebuilt from its data directories\n");
  else
    fmt::print("! the metadata of this node cannot be rebuilt yet: covey meta snapshot\n");
  if (std::string trouble = text_of(kept, "trouble"); !trouble.empty())
    fmt::print("! {}\n", trouble);
}

}  // namespace

int run_meta_snapshot(const CliOptions& options) {
  int code = kExitOk;
  Json kept = request(options, "GET", "/v1/snapshots", {}, code);
  if (code == kExitOk && !options.list) {
    uint64_t before = number_of(kept, "attempts");
    kept = request(options, "POST", "/v1/snapshots", {}, code);
    while (code == kExitOk && number_of(kept, "attempts") == before) {
      std::this_thread::sleep_for(kPoll);
      kept = request(options, "GET", "/v1/snapshots", {}, code);
    }
  }
  if (code != kExitOk) return code;
  if (options.json)
    fmt::print("{}\n", dump(kept));
  else
    print_kept(kept);
  bool failed = !options.list && !text_of(kept, "trouble").empty();
  return failed || !flag_of(kept, "covered") ? kExitFailed : kExitOk;
}

}  // namespace covey
