// invite, secret.
#include <fmt/format.h>
#include <unistd.h>

#include "node/cli/commands.h"
#include "node/config/config.h"

namespace covey {
namespace {

constexpr int kPollMicros = 200'000;

std::string joined(const Json& names) {
  std::string text;
  for (const Json& name : names)
    if (name.is_string()) text += (text.empty() ? "" : ", ") + name.get<std::string>();
  return text;
}

std::string line_of(const Json& state) {
  if (!flag_of(state, "rotating"))
    return fmt::format("no rotation is under way; the secret in use is {}",
                       text_of(state, "secret_id"));
  std::string waits = joined(state["waits"]);
  return fmt::format("secret rotation: {}{}",
                     text_of(state, "phase") == "staged"
                         ? "the next secret is being handed out, the old one is used"
                         : "the new secret is used, the old one still accepted",
                     waits.empty() ? "" : "; waiting for " + waits);
}

int print_state(const CliOptions& options, const Json& state) {
  if (options.json)
    fmt::print("{}\n", dump(state));
  else
    fmt::print("{}\n", line_of(state));
  return flag_of(state, "rotating") ? kExitFailed : kExitOk;
}

}  // namespace

int run_invite(const CliOptions& options) {
  auto valid = parse_duration(options.expires);
  if (!valid) {
    fmt::print(stderr, "covey: --expires takes a time such as 10m, 1h or 7d\n");
    return kExitUsage;
  }
  int code = kExitOk;
  Json body;
  body["expires_s"] = valid->count();
  Json reply = request(options, "POST", "/v1/invite", body, code);
  if (code != kExitOk) return code;
  if (options.json)
    fmt::print("{}\n", dump(reply));
  else
    fmt::print(
        "on each further box, within {} (whoever has this token may join, keep it to yourself):\n"
        "  covey join {}\n  covey serve\n",
        options.expires, text_of(reply, "token"));
  return code;
}

int run_secret_status(const CliOptions& options) {
  int code = kExitOk;
  Json state = request(options, "GET", "/v1/secret", {}, code);
  return code == kExitOk ? print_state(options, state) : code;
}

int run_secret_rotate(const CliOptions& options) {
  int code = kExitOk;
  Json body;
  body["force"] = options.force;
  Json state = request(options, "POST", "/v1/secret", body, code);
  if (code != kExitOk) return code;
  std::string others = joined(state["not_members"]), said;
  if (!others.empty())
    fmt::print(stderr, "not members, so they are not told and have to be invited again: {}\n",
               others);
  // Until it is done, or waits for somebody who is not up.
  while (!options.no_wait && flag_of(state, "rotating") && !flag_of(state, "away")) {
    if (std::string line = line_of(state); !options.json && line != said)
      fmt::print("{}\n", said = line);
    std::fflush(stdout);
    ::usleep(kPollMicros);
    state = request(options, "GET", "/v1/secret", {}, code);
    if (code != kExitOk) return code;
  }
  if (flag_of(state, "rotating") || options.json) {
    code = print_state(options, state);
    if (flag_of(state, "away"))
      fmt::print(stderr,
                 "it goes on by itself when they are up; to finish without them: covey secret "
                 "rotate --force\n");
    return options.no_wait ? kExitOk : code;
  }
  fmt::print("done: the old secret is no longer accepted; the one in use is {}\n",
             text_of(state, "secret_id"));
  return kExitOk;
}

}  // namespace covey
