// status, node, layout.
#include <fmt/format.h>
#include <unistd.h>

#include "node/cli/commands.h"

namespace covey {
namespace {

void print_nodes(const Json& nodes) {
  TextTable table({"NODE", "ID", "ZONE", "ADDRESS", "STATE", "SEEN", "CAPACITY", "USED", "FREE",
                   "TO REPAIR", "VERSION"});
  for (const Json& node : nodes) {
    std::string state = text_of(node, "state"), role = text_of(node, "role");
    if (uint64_t left = number_of(node, "partitions_to_hand_over"); left > 0)
      state += fmt::format(", hands over {} partitions", left);
    else if (role == "out")
      state += ", taken out, holds no data";
    else if (role == "joins" || role == "leaves")
      state += ", " + role;
    else if (!flag_of(node, "member"))
      state += ", no data yet";
    table.add({text_of(node, "name") + (flag_of(node, "self") ? " *" : ""),
               text_of(node, "id").substr(0, 8), text_of(node, "zone"), text_of(node, "address"),
               state, human_age(number_of(node, "last_seen_ms")),
               human_size(number_of(node, "capacity_bytes")),
               human_size(number_of(node, "used_bytes")), human_size(number_of(node, "free_bytes")),
               std::to_string(number_of(node, "copies_owed") + number_of(node, "to_repair")),
               text_of(node, "version")});
  }
  fmt::print("{}", table.str());
}

void print_status(const Json& status) {
  fmt::print("{}\n\n", text_of(status, "summary"));
  print_nodes(status["nodes"]);
  if (auto layout = status.find("layout"); layout != status.end())
    fmt::print("\nlayout {}: {} copies of {} partitions{}; {} copies to repair; cluster {}\n",
               number_of(*layout, "version"), number_of(*layout, "copies"),
               number_of(*layout, "partitions"),
               flag_of(*layout, "changing") ? ", a change is under way" : "",
               number_of(status, "copies_to_repair"), text_of(status, "cluster"));
  if (!status["problems"].empty()) fmt::print("\n");
  for (const Json& problem : status["problems"])
    fmt::print("! {}\n", problem.is_string() ? problem.get<std::string>() : "");
  if (!status["next"].empty()) fmt::print("\nnext:\n");
  for (const Json& step : status["next"])
    fmt::print("  {}\n", step.is_string() ? step.get<std::string>() : "");
}

int status_once(const CliOptions& options) {
  int code = kExitOk;
  Json status = request(options, "GET", "/v1/status", {}, code);
  if (code != kExitOk) return code;
  if (options.json)
    fmt::print("{}\n", status.dump(2, ' ', false, Json::error_handler_t::replace));
  else
    print_status(status);
  return flag_of(status, "healthy") ? kExitOk : kExitFailed;
}

}  // namespace

int run_status(const CliOptions& options) {
  if (!options.watch) return status_once(options);
  for (;;) {  // until Ctrl-C
    fmt::print("\033[H\033[2J");
    status_once(options);
    std::fflush(stdout);
    ::sleep(2);
  }
}

int run_nodes(const CliOptions& options) {
  int code = kExitOk;
  Json status = request(options, "GET", "/v1/status", {}, code);
  if (code != kExitOk) return code;
  if (options.json)
    fmt::print("{}\n", status["nodes"].dump(2, ' ', false, Json::error_handler_t::replace));
  else
    print_nodes(status["nodes"]);
  return kExitOk;
}

int run_layout(const CliOptions& options) {
  int code = kExitOk;
  Json layout = request(options, "GET", "/v1/layout", {}, code);
  if (code != kExitOk) return code;
  if (options.json) {
    fmt::print("{}\n", layout.dump(2, ' ', false, Json::error_handler_t::replace));
    return code;
  }
  for (const char* which : {"current", "next"}) {
    auto part = layout.find(which);
    if (part == layout.end()) continue;
    fmt::print("{} layout, version {}: {} copies of {} partitions\n", which,
               number_of(*part, "version"), number_of(*part, "copies"),
               number_of(*part, "partitions"));
    TextTable table({"NODE", "ID", "ZONE", "CAPACITY", "PARTITIONS", "FIRST IN"});
    for (const Json& m : (*part)["members"])
      table.add({text_of(m, "name"), text_of(m, "id").substr(0, 8), text_of(m, "zone"),
                 human_size(number_of(m, "capacity_bytes")),
                 std::to_string(number_of(m, "partitions")),
                 std::to_string(number_of(m, "first_in"))});
    fmt::print("{}", table.str());
  }
  return code;
}

}  // namespace covey
