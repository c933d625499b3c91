// node remove, drain, add and check; layout plan, apply and revert.
#include <fmt/format.h>
#include <unistd.h>

#include "node/cli/commands.h"

namespace covey {
namespace {

constexpr int kPollMs = 500;

Json wish_of(const CliOptions& options) {
  Json wish;
  wish["remove"] = options.remove;
  wish["add"] = options.add;
  return wish;
}

std::string progress_of(const Json& change) {
  uint64_t left = number_of(change, "left_ms");
  return fmt::format(
      "{} of {} partition copies moved, {} of {}, {} of {} partitions settled{}{}",
      number_of(change, "partition_copies_moved"), number_of(change, "partition_copies_to_move"),
      human_size(number_of(change, "bytes_moved")), human_size(number_of(change, "bytes_to_move")),
      number_of(change, "partitions_settled"), number_of(change, "partitions_to_settle"),
      left > 0 ? fmt::format(", about {} s left", left / 1000 + 1) : "",
      text_of(change, "waits").empty() ? "" : "; " + text_of(change, "waits"));
}

// Shows how the change goes on until it is over. The layout's epoch tells a change that was taken
// back from one that is done.
int watch_change(const CliOptions& options) {
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  std::string last;
  for (;;) {
    int code = kExitOk;
    Json layout = request(options, "GET", "/v1/layout", {}, code);
    if (code != kExitOk) return code;
    if (!layout.contains("next")) break;
    std::string line = layout.contains("change") ? progress_of(layout["change"]) : "";
    if (line != last && terminal) fmt::print(stderr, "\r\033[K{}", line);
    if (line != last && !terminal) fmt::print(stderr, "{}\n", line);
    std::fflush(stderr);
    last = line;
    ::usleep(kPollMs * 1000);
  }
  if (terminal && !last.empty()) fmt::print(stderr, "\n");
  return kExitOk;
}

// Begins a change; one that is under way is waited for first.
int begin_change(const CliOptions& options) {
  int code = watch_change(options);
  if (code != kExitOk) return code;
  (void)request(options, "POST", "/v1/layout/apply", wish_of(options), code);
  if (code != kExitOk || options.no_wait) return code;
  return watch_change(options);
}

bool has_member(const Json& layout, const std::string& name) {
  for (const Json& member : layout["current"]["members"])
    if (text_of(member, "name") == name ||
        (name.size() >= 4 && text_of(member, "id").starts_with(name)))
      return true;
  return false;
}

// What came out: each of `names` is a member as wanted.
int confirm(const CliOptions& options, const std::vector<std::string>& names, bool wanted) {
  int code = kExitOk;
  Json layout = request(options, "GET", "/v1/layout", {}, code);
  if (code != kExitOk) return code;
  for (const std::string& name : names) {
    if (has_member(layout, name) == wanted) {
      fmt::print("{} {}\n", name, wanted ? "is a member again" : "was removed");
      continue;
    }
    fmt::print(stderr, "covey: {}: the change was taken back; see covey status\n", name);
    code = kExitFailed;
  }
  return code;
}

}  // namespace

int run_node_remove(const CliOptions& options) {
  int code = begin_change(options);
  if (code != kExitOk || options.no_wait) return code;
  code = confirm(options, options.remove, false);
  if (code == kExitOk)
    fmt::print(
        "its data is on the others; before you switch it off, let covey status show that it "
        "hands over nothing any more\n");
  return code;
}

int run_node_add(const CliOptions& options) {
  int code = begin_change(options);
  if (code != kExitOk || options.no_wait) return code;
  return confirm(options, options.add, true);
}

int run_layout_apply(const CliOptions& options) { return begin_change(options); }

int run_layout_revert(const CliOptions& options) {
  int code = kExitOk;
  (void)request(options, "POST", "/v1/layout/revert", Json::object(), code);
  if (code == kExitOk) fmt::print("the change is taken back\n");
  return code;
}

int run_layout_plan(const CliOptions& options) {
  int code = kExitOk;
  Json plan = request(options, "POST", "/v1/layout/plan", wish_of(options), code);
  if (code != kExitOk) return code;
  if (options.json) {
    fmt::print("{}\n", plan.dump(2, ' ', false, Json::error_handler_t::replace));
    return code;
  }
  for (const Json& line : plan["what"]) fmt::print("{}\n", line.get<std::string>());
  fmt::print("{} copies of partitions move, about {}\n\n",
             number_of(plan, "partition_copies_to_move"),
             human_size(number_of(plan, "bytes_to_move")));
  TextTable table({"NODE", "PARTITIONS IN", "OUT", "BYTES IN", "OUT"});
  for (const Json& node : plan["nodes"])
    table.add({text_of(node, "name"), std::to_string(number_of(node, "partitions_in")),
               std::to_string(number_of(node, "partitions_out")),
               human_size(number_of(node, "bytes_in")), human_size(number_of(node, "bytes_out"))});
  fmt::print("{}", table.str());
  for (const Json& line : plan["problems"]) fmt::print("! {}\n", line.get<std::string>());
  return plan["problems"].empty() ? kExitOk : kExitFailed;
}

int run_node_check(const CliOptions& options) {
  int code = kExitOk;
  Json check = request(options, "GET", "/v1/nodes/" + options.node + "/check", {}, code);
  if (code != kExitOk) return code;
  bool safe = flag_of(check, "safe");
  if (options.json) {
    fmt::print("{}\n", check.dump(2, ' ', false, Json::error_handler_t::replace));
    return safe ? kExitOk : kExitFailed;
  }
  fmt::print("{}: {}\n", options.node, safe ? "may be unplugged" : "DO NOT unplug it now");
  for (const Json& reason : check["reasons"])
    if (reason.is_string()) fmt::print("  {}\n", reason.get<std::string>());
  uint64_t held = number_of(check, "partitions"), unverified = number_of(check, "unverified");
  if (held > 0)
    fmt::print(
        "without it {} partitions are one copy short, and {} of them could not bear a further "
        "failure\n",
        held, number_of(check, "no_further_failure"));
  if (held > unverified)
    fmt::print("the other copies of {} partitions were compared within the last {} s\n",
               held - unverified, number_of(check, "verified_within_s"));
  if (unverified > 0)
    fmt::print("{} partitions have a copy elsewhere that was not compared since its node started\n",
               unverified);
  return safe ? kExitOk : kExitFailed;
}

}  // namespace covey
