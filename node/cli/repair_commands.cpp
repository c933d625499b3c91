// repair: the scrub of the node that is asked.
#include <fmt/format.h>

#include "node/cli/commands.h"

namespace covey {
namespace {

void print_metadata_check(const Json& check) {
  uint64_t verified = number_of(check, "verified_ms");
  fmt::print("metadata: every page verified {}{}\n",
             verified == 0 ? std::string("never") : human_time(verified),
             flag_of(check, "running") ? ", and being checked now" : "");
  if (std::string trouble = text_of(check, "trouble"); !trouble.empty())
    fmt::print("! the last check of the metadata did not complete: {}\n", trouble);
}

void print_repair(const Json& repair) {
  uint64_t checked = number_of(repair, "checked_bytes"), total = number_of(repair, "total_bytes");
  if (flag_of(repair, "running")) {
    fmt::print("scrub: {} of about {} verified since {}{}\n", human_size(checked),
               human_size(total), human_time(number_of(repair, "started_ms")),
               flag_of(repair, "paused") ? ", paused" : "");
  } else if (number_of(repair, "finished_ms") != 0) {
    fmt::print("scrub: last pass ended {}: {} verified{}\n",
               human_time(number_of(repair, "finished_ms")), human_size(checked),
               flag_of(repair, "paused") ? "; paused" : "");
  } else {
    fmt::print("scrub: no pass yet{}; begin one with: covey repair start\n",
               flag_of(repair, "paused") ? ", paused" : "");
  }
  fmt::print("bad blocks in that pass: {}\nto repair: {}, repaired since start: {}\n",
             number_of(repair, "bad_blocks"), number_of(repair, "to_repair"),
             number_of(repair, "repaired"));
  fmt::print("copies owed to other nodes: {}\n", number_of(repair, "copies_owed"));
  if (auto check = repair.find("metadata"); check != repair.end()) print_metadata_check(*check);
  auto catching_up = repair.find("catching_up");
  if (catching_up == repair.end()) return;
  if (number_of(*catching_up, "partitions") != 0)
    fmt::print("catching up: {} partitions, {} to fetch\n", number_of(*catching_up, "partitions"),
               human_size(number_of(*catching_up, "bytes_missing")));
  if (uint64_t lost = number_of(*catching_up, "blocks_lost"); lost != 0)
    fmt::print("! {} blocks are on no node; the log names them\n", lost);
}

int run_repair(const CliOptions& options, const std::string& method, const std::string& action) {
  int code = kExitOk;
  Json repair = request(options, method, "/v1/repair" + action, {}, code);
  if (code != kExitOk) return code;
  if (options.json)
    fmt::print("{}\n", dump(repair));
  else
    print_repair(repair);
  return code;
}

}  // namespace

int run_repair_status(const CliOptions& options) { return run_repair(options, "GET", ""); }
int run_repair_start(const CliOptions& options) { return run_repair(options, "POST", "/start"); }
int run_repair_pause(const CliOptions& options) { return run_repair(options, "POST", "/pause"); }
int run_repair_resume(const CliOptions& options) { return run_repair(options, "POST", "/resume"); }

}  // namespace covey
