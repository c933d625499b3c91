// The grammar of the command line. CLI11 throws; nothing it throws leaves this file.
#include "node/cli/cli.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "node/admin/admin.h"
#include "node/cli/commands.h"
#include "proto/protocol.h"

namespace covey {
namespace {

using Run = int (*)(const CliOptions&);

class Grammar {
 public:
  Grammar(CliOptions& options, int& code) : options_(options), code_(code) {
    app.require_subcommand(1);
    app.add_option("--config", options.config,
                   "settings (default: $COVEY_CONFIG, ./covey.toml, /etc/covey/covey.toml)");
    app.footer(
        "Examples:\n  covey init && covey serve\n  covey key create --name backup\n"
        "  covey status --watch\n\nExit codes: 0 done, 1 refused or not healthy, 2 wrong usage or "
        "settings, 3 no node answers.");
    setup();
    status();
    keys();
    buckets();
  }
  CLI::App app{"Covey: S3 storage on a few small machines, without a master.", "covey"};
  CLI::App* serve = nullptr;
  CLI::App* rebuild = nullptr;

 private:
  CLI::App* add(CLI::App& parent, const char* name, const char* help, Run run,
                const char* example = nullptr) {
    CLI::App* command = parent.add_subcommand(name, help);
    command->fallthrough();  // --config may stand anywhere
    if (example) command->footer(std::string("Example:\n  ") + example);
    if (run) command->callback([this, run] { code_ = run(options_); });
    return command;
  }
  CLI::App* with_json(CLI::App* command) {
    command->add_flag("--json", options_.json, "for scripts");
    return command;
  }
  CLI::App& group(const char* name, const char* help) {
    CLI::App* command = app.add_subcommand(name, help);
    command->require_subcommand(1);
    command->fallthrough();
    return *command;
  }
  void place_options(CLI::App* command) {
    command->add_option("--dir", options_.dir, "keep settings, secret and data in this folder");
    command->add_option("--name", options_.name, "this box's name (default: the host's)");
    command->add_option("--zone", options_.zone, "where it stands; copies are spread over zones");
    command->add_option("--advertise", options_.advertise,
                        "the address at which other nodes reach it");
  }

  void setup() {
    CLI::App* init = add(app, "init", "write a commented covey.toml and a cluster secret", run_init,
                         "covey init --name node1 --zone attic");
    place_options(init);
    init->add_option("--seed", options_.seeds, "gossip address of another node (repeatable)");
    serve = add(app, "serve", "run the node in the foreground; logs go to standard error", nullptr);
    CLI::App* join = add(app, "join", "set this box up as a node of an existing cluster", run_join,
                         "covey join covey1-... --zone cellar && covey serve");
    place_options(join);
    join->add_option("token", options_.token, "what `covey invite` printed")->required();
    CLI::App* invite = with_json(add(app, "invite", "print what the next boxes need to join",
                                     run_invite, "covey invite --expires 10m"));
    invite->add_option("--expires", options_.expires, "how long it is good for (default: 1h)");
    add(app, "version", "the version, and the number of the language between nodes",
        [](const CliOptions&) {
          fmt::print("covey {}, protocol {}\n", kCoveyVersion, kPeerProtocol);
          return static_cast<int>(kExitOk);
        });
  }

  void status() {
    CLI::App* status = with_json(
        add(app, "status", "the cluster's health, its nodes, and what to do next; 0 when healthy",
            run_status, "covey status --watch"));
    status->add_flag("--watch", options_.watch, "show it again every two seconds");
    CLI::App& node = group("node", "the nodes of the cluster");
    with_json(add(node, "list", "every node that gossip knows", run_nodes));
    CLI::App* remove =
        add(node, "remove", "take nodes out, dead or alive: their data moves to the others first",
            run_node_remove, "covey node remove node4 node5");
    CLI::App* drain = add(node, "drain", "the same, for nodes that are up", run_node_remove,
                          "covey node drain node4");
    for (CLI::App* command : {remove, drain})
      command->add_option("node", options_.remove, "names or ids")->required();
    CLI::App* back = add(node, "add", "take nodes in again that were taken out", run_node_add);
    back->add_option("node", options_.add, "names or ids")->required();
    for (CLI::App* command : {remove, drain, back})
      command->add_flag("--no-wait", options_.no_wait, "return when the change has begun");
    CLI::App* check = with_json(
        add(node, "check", "is it safe to unplug this box? 0 when it is", run_node_check));
    check->add_option("node", options_.node, "its name or id")->required();
    repair();
    meta();
    layout();
    secret();
  }

  void secret() {
    CLI::App& secret = group("secret", "the cluster's secret, which all nodes share");
    CLI::App* rotate = with_json(
        add(secret, "rotate", "a new secret for all nodes, while they serve", run_secret_rotate));
    rotate->add_flag("--force", options_.force,
                     "do not wait for members that are not up: each of them then needs a copy of "
                     "the new secret file");
    rotate->add_flag("--no-wait", options_.no_wait, "return when it has begun");
    with_json(add(secret, "status", "whether one is under way and whom it waits for; 0: none",
                  run_secret_status));
  }

  void meta() {
    CLI::App& meta = group("meta", "this node's metadata: copies of it, and rebuilding it");
    CLI::App* snapshot = with_json(
        add(meta, "snapshot", "copy it to the first data directory now, verified; 0 when done",
            run_meta_snapshot));
    snapshot->add_flag("--list", options_.list, "only show what is kept; 0 when it suffices");
    rebuild = add(meta, "rebuild", "make it again from the data directories; the node is stopped",
                  nullptr, "covey meta rebuild --node && covey serve");
    RebuildWish& wish = options_.rebuild;
    CLI::Option* node = rebuild->add_flag(
        "--node", wish.node, "the other nodes are well: take this one's place under a new id");
    CLI::Option* cluster =
        rebuild->add_flag("--cluster", wish.cluster,
                          "most nodes lost their metadata: bring this one's back as it was");
    node->excludes(cluster);
    rebuild->add_flag("--replace", wish.replace, "move metadata that is there out of the way");
    rebuild->add_flag("--accept-loss", wish.accept_loss,
                      "with --cluster: go on although something acknowledged may be missing");
  }

  void repair() {
    CLI::App& repair = group("repair", "this node's scrub: blocks verified, bad ones replaced");
    with_json(add(repair, "status", "how far it is, what it found", run_repair_status));
    with_json(add(repair, "start", "verify everything now, at full speed", run_repair_start));
    with_json(add(repair, "pause", "until resume or start; repairs go on", run_repair_pause));
    with_json(add(repair, "resume", "go on where it was", run_repair_resume));
  }

  void layout() {
    CLI::App& layout = group("layout", "which node holds what");
    with_json(add(layout, "show", "members, zones and partitions", run_layout));
    CLI::App* plan = with_json(add(layout, "plan", "what would move, before anything does",
                                   run_layout_plan, "covey layout plan --remove node4"));
    CLI::App* apply =
        add(layout, "apply", "begin what plan shows: new nodes, other zones and capacities",
            run_layout_apply);
    for (CLI::App* command : {plan, apply}) {
      command->add_option("--remove", options_.remove, "without this node (repeatable)");
      command->add_option("--add", options_.add, "with this one, though it was taken out");
    }
    apply->add_flag("--no-wait", options_.no_wait, "return when the change has begun");
    add(layout, "revert", "take the change that is under way back", run_layout_revert);
  }

  void keys() {
    CLI::App& key = group("key", "access keys of S3 users");
    CLI::App* create = with_json(add(key, "create", "make a key; its secret is shown once",
                                     run_key_create, "covey key create --name backup"));
    CLI::App* import = with_json(
        add(key, "import", "take over a key; its secret comes on standard input", run_key_import,
            "covey key import --access-key AKIA... --name old --secret-key-stdin < file"));
    import->add_option("--access-key", options_.access_key)->required();
    import->add_flag("--secret-key-stdin", options_.secret_on_stdin,
                     "read the secret from standard input without asking");
    for (CLI::App* command : {create, import}) {
      command->add_option("--name", options_.name, "whose key it is; shown as DisplayName")
          ->required();
      command->add_option("--user-id", options_.user_id,
                          "give a second key to an existing user, or fix the id");
      command->add_flag("--no-create-buckets", options_.no_buckets, "may not create buckets");
    }
    with_json(add(key, "list", "every key, without secrets", run_key_list));
    for (auto [name, help, run] : {std::tuple("show", "one key, without its secret", &run_key_show),
                                   std::tuple("delete", "take a key back", &run_key_delete)})
      with_json(add(key, name, help, run))
          ->add_option("access-key", options_.access_key)
          ->required();
  }

  void buckets() {
    CLI::App& bucket = group("bucket", "buckets and who may use them");
    CLI::App* create = with_json(add(bucket, "create", "make a bucket", run_bucket_create,
                                     "covey bucket create photos --key CV..."));
    create->add_option("--key", options_.key, "access key of its owner")->required();
    create
        ->add_option("--consistency", options_.consistency,
                     "strong, or available: every site takes writes while it is cut off, "
                     "concurrent ones are merged")
        ->check(CLI::IsMember({"strong", "available"}));
    CLI::App* conflicts =
        with_json(add(bucket, "conflicts",
                      "what lost to concurrent writes in an available bucket, as this node saw it",
                      run_bucket_conflicts, "covey bucket conflicts photos"));
    with_json(add(bucket, "list", "every bucket", run_bucket_list));
    CLI::App* show = with_json(add(bucket, "show", "owner and grants", run_bucket_show));
    CLI::App* drop = with_json(add(bucket, "delete", "an empty bucket", run_bucket_delete));
    CLI::App* allow = with_json(
        add(bucket, "allow", "say what a key's user may do; without flags: nothing any more",
            run_bucket_allow, "covey bucket allow photos --key CV... --read --write"));
    allow->add_option("--key", options_.key, "an access key of the user");
    allow->add_option("--user-id", options_.user_id, "or the user's id");
    allow->add_flag("--read", options_.read);
    allow->add_flag("--write", options_.write);
    allow->add_flag("--owner", options_.owner);
    for (CLI::App* command : {create, show, drop, allow, conflicts})
      command->add_option("bucket", options_.bucket)->required();
  }

  CliOptions& options_;
  int& code_;
};

}  // namespace

Json request(const CliOptions& options, const std::string& method, const std::string& target,
             const Json& body, int& exit_code) {
  auto config = load_config(find_config(options.config));
  if (!config) {
    fmt::print(stderr, "{}\n", config.error().message);
    exit_code = kExitUsage;
    return {};
  }
  auto reply = ask_admin(config->admin_socket(), method, target, body);
  if (!reply) {
    fmt::print(stderr, "covey: {}\n", reply.error().message);
    exit_code = reply.is(ErrorCode::kUnavailable) ? kExitNoNode : kExitFailed;
    return {};
  }
  if (reply->status != 200) {
    fmt::print(stderr, "covey: {}\n",
               text_of(reply->json, "message", fmt::format("the node said {}", reply->status)));
    exit_code = kExitFailed;
    return {};
  }
  exit_code = kExitOk;
  return std::move(reply->json);
}

int run_cli(int argc, char** argv, const LocalCommands& local) {
  try {
    CliOptions options;
    int code = kExitOk;
    Grammar grammar(options, code);
    try {
      grammar.app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return grammar.app.exit(error) == 0 ? kExitOk : kExitUsage;
    }
    bool rebuild = grammar.rebuild->parsed();
    if (!grammar.serve->parsed() && !rebuild) return code;
    if (rebuild && options.rebuild.node == options.rebuild.cluster) {
      fmt::print(stderr, "say --node or --cluster; see covey meta rebuild --help\n");
      return kExitUsage;
    }
    auto config = load_config(find_config(options.config));
    if (!config) {
      fmt::print(stderr, "{}\n", config.error().message);
      return kExitUsage;
    }
    return rebuild ? local.rebuild(*config, options.rebuild) : local.serve(*config);
  } catch (const std::exception& error) {
    fmt::print(stderr, "covey: {}\n", error.what());
    return kExitFailed;
  }
}

}  // namespace covey
