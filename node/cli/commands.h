// What the commands share, and the commands themselves, by family.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "node/cli/cli.h"
#include "node/cli/client.h"

namespace covey {

// Everything the command line may say; each command looks at its own part.
struct CliOptions {
  std::string config;
  bool json = false, watch = false;
  // init, join
  std::string dir, name, zone, advertise, token;
  std::vector<std::string> seeds;
  // keys
  std::string access_key, user_id;
  bool secret_on_stdin = false, no_buckets = false;
  // buckets
  std::string bucket, key, consistency;
  bool read = false, write = false, owner = false;
  // invite, secret
  std::string expires = "1h";
  bool force = false;
  // nodes, layout
  std::string node;
  std::vector<std::string> remove, add;
  bool no_wait = false;
  // meta
  bool list = false;
  RebuildWish rebuild;
};

// Text for people in columns, each as wide as its widest cell.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) { add(std::move(header)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string str() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};
std::string human_size(uint64_t bytes);
std::string human_time(uint64_t ms_since_1970);
std::string human_age(uint64_t ms);

// Asks the node of `options.config`; prints what went wrong to stderr and returns the exit code
// through `exit_code`. A null Json then.
Json request(const CliOptions& options, const std::string& method, const std::string& target,
             const Json& body, int& exit_code);

int run_init(const CliOptions& options);
int run_join(const CliOptions& options);
int run_status(const CliOptions& options);
int run_nodes(const CliOptions& options);
int run_node_remove(const CliOptions& options);
int run_node_add(const CliOptions& options);
int run_node_check(const CliOptions& options);
int run_layout(const CliOptions& options);
int run_layout_plan(const CliOptions& options);
int run_layout_apply(const CliOptions& options);
int run_layout_revert(const CliOptions& options);
int run_meta_snapshot(const CliOptions& options);
int run_repair_status(const CliOptions& options);
int run_repair_start(const CliOptions& options);
int run_repair_pause(const CliOptions& options);
int run_repair_resume(const CliOptions& options);
int run_invite(const CliOptions& options);
int run_secret_rotate(const CliOptions& options);
int run_secret_status(const CliOptions& options);
int run_key_create(const CliOptions& options);
int run_key_import(const CliOptions& options);
int run_key_list(const CliOptions& options);
int run_key_show(const CliOptions& options);
int run_key_delete(const CliOptions& options);
int run_bucket_create(const CliOptions& options);
int run_bucket_list(const CliOptions& options);
int run_bucket_show(const CliOptions& options);
int run_bucket_delete(const CliOptions& options);
int run_bucket_conflicts(const CliOptions& options);
int run_bucket_allow(const CliOptions& options);

}  // namespace covey
