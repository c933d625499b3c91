#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

#include "node/config/config.h"

namespace covey {
namespace {

// "name = value", commented out when the default stands.
std::string line(std::string_view name, const std::string& value, std::string_view fallback) {
  if (value.empty()) return fmt::format("#{} = \"{}\"\n", name, fallback);
  return fmt::format("{} = \"{}\"\n", name, value);
}

std::string list(const std::vector<std::string>& values) {
  std::string out;
  for (const std::string& value : values) out += (out.empty() ? "\"" : ", \"") + value + "\"";
  return "[" + out + "]";
}

}  // namespace

std::string config_template(const ChosenSettings& c) {
  std::string out =
      "# Covey's settings. What starts with # shows a default. See docs/operations.md.\n\n";
  out +=
      "# This box: a name unique in the cluster (default: the host's name), and where it stands.\n"
      "# Copies of an object are spread over zones: give every site, or every box, its own.\n";
  out += line("name", c.name, "node1") + line("zone", c.zone, "default");
  out +=
      "# How much of the disks to use (default: all of the file systems of data_dirs).\n"
      "#capacity = \"200GB\"\n\n";
  out += "# Metadata wants the fastest, most durable disk; data can go on several.\n";
  out += line("meta_dir", c.meta_dir, "meta");
  out += c.data_dir.empty() ? "#data_dirs = [\"data\"]\n"
                            : fmt::format("data_dirs = [\"{}\"]\n", c.data_dir);
  out +=
      "# Where the journal of acknowledged writes stands: \"data\", in the first of data_dirs, so "
      "that the\n# data directories alone bring everything back; or \"meta\", when only meta_dir "
      "is fast.\n#journal = \"data\"\n";
  out += "# The secret that all nodes share. Whoever has it is a member.\n";
  out += line("secret_file", c.secret_file, "secret");
  out +=
      "\n# Gossip addresses of other nodes, any of them; none for the first node of a cluster.\n";
  out += c.seeds.empty() ? "#seeds = [\"192.168.1.7:3901\"]\n"
                         : fmt::format("seeds = {}\n", list(c.seeds));
  out += "# The address other nodes reach this one at (default: found out).\n";
  out += line("advertise", c.advertise, "192.168.1.8");
  out +=
      "# false: growth waits for an operator.\n#auto_layout = true\n"
      "# How patient the failure detector is: \"lan\", \"wan\" or \"edge\".\n"
      "#gossip_profile = \"edge\"\n#log_level = \"info\"\n";
  out += "\n# Where this node listens: S3, gossip (UDP and TCP), calls between nodes (TCP).\n";
  out += line("s3_listen", c.listen_s3, "0.0.0.0:3900") +
         line("gossip_listen", c.listen_gossip, "0.0.0.0:3901") +
         line("rpc_listen", c.listen_rpc, "0.0.0.0:3902");
  out += "# /metrics and /health; commands use a Unix socket in meta_dir instead.\n";
  out += line("admin_listen", c.listen_admin, "127.0.0.1:3903");
  out +=
      "\n#region = \"us-east-1\"\n"
      "# For virtual-host style: bucket.s3.example.net\n#s3_domain = \"s3.example.net\"\n"
      "# HTTPS, when both are set.\n#tls_certificate = \"cert.pem\"\n#tls_key = \"key.pem\"\n"
      "# Multipart uploads never finished are dropped after this time.\n"
      "#upload_expiry = \"7d\"\n"
      "# How long replaced data is kept for readers under way.\n#reclaim_delay = \"10m\"\n"
      "# Every block is read and verified once in this time.\n#scrub_interval = \"7d\"\n"
      "# All metadata is read and checked once in this time.\n#metadata_check_interval = \"1h\"\n"
      "# How often the metadata is copied to the first of data_dirs.\n"
      "#snapshot_interval = \"24h\"\n"
      "# Above this much memory new requests are told to slow down.\n"
      "#memory_cap = \"256MiB\"\n";
  return out;
}

std::string find_config(const std::string& given) {
  if (!given.empty()) return given;
  if (const char* env = std::getenv("COVEY_CONFIG"); env && *env) return env;
  if (::access("covey.toml", F_OK) == 0) return "covey.toml";
  return "/etc/covey/covey.toml";
}

}  // namespace covey
