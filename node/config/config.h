// covey.toml: what an operator may set, with its defaults. Every setting is listed once, in
// settings.cpp, with what is allowed for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/async/net.h"
#include "base/core/result.h"

namespace covey {

inline constexpr size_t kConfigBytesMax = 256 * 1024;
inline constexpr size_t kDataDirsMax = 16;
inline constexpr size_t kSeedsMax = 64;

inline constexpr const char* kDamageNote = "damaged";  // a file of meta_dir

struct Config {
  std::string file;  // where it was read

  std::string name;  // default: the host's name
  std::string zone = "default";
  uint64_t capacity_bytes = 0;  // 0: the size of the file systems of data_dirs
  std::string meta_dir = "meta";
  std::vector<std::string> data_dirs = {"data"};
  // "data": the journal stands in the first of data_dirs, "meta": in meta_dir.
  std::string journal = "data";
  std::string secret_file = "secret";
  std::vector<std::string> seeds;  // gossip addresses, host:port
  bool auto_layout = true;

  std::string listen_s3 = "0.0.0.0:3900";
  std::string listen_gossip = "0.0.0.0:3901";
  std::string listen_rpc = "0.0.0.0:3902";
  std::string listen_admin;  // empty: only the Unix socket
  std::string advertise;     // the address other nodes use; empty: found out

  std::string region = "us-east-1";
  std::string s3_domain;  // empty: path style only
  std::string tls_certificate, tls_key;

  uint64_t memory_cap_bytes = 256ull << 20;
  std::string log_level = "info";
  std::string gossip_profile = "edge";
  std::chrono::seconds upload_expiry = std::chrono::hours(24 * 7);
  std::chrono::seconds reclaim_delay = std::chrono::minutes(10);
  std::chrono::seconds scrub_interval = std::chrono::hours(24 * 7);
  std::chrono::seconds metadata_check_interval = std::chrono::hours(1);
  std::chrono::seconds snapshot_interval = std::chrono::hours(24);

  std::string admin_socket() const { return meta_dir + "/admin.sock"; }
  // Why this node does not start with its metadata; for `covey status`.
  std::string damage_note() const { return meta_dir + "/" + kDamageNote; }
  std::string identity_file() const { return meta_dir + "/identity.key"; }
};

// Relative paths in it are relative to the file's folder. Errors: kNotFound, kInvalid with one line
// per wrong setting ("covey.toml:7: ...") that says what is allowed.
Result<Config> load_config(const std::string& path);
Result<Config> parse_config(std::string_view text, const std::string& path);

// The names of the settings that differ.
std::vector<std::string_view> changed_settings(const Config& before, const Config& after);

// The file a command uses: `given` unless empty, else $COVEY_CONFIG, ./covey.toml,
// /etc/covey/covey.toml.
std::string find_config(const std::string& given);

// The text of a fresh covey.toml: every setting with a comment; those in `chosen` are active.
struct ChosenSettings {
  std::string name, zone, meta_dir, data_dir, secret_file;
  std::string listen_s3, listen_gossip, listen_rpc, listen_admin;
  std::string advertise;
  std::vector<std::string> seeds;
};
std::string config_template(const ChosenSettings& chosen);

// "64MiB", "1.5TB", "1024". nullopt when malformed or beyond 2^63.
std::optional<uint64_t> parse_size(std::string_view text);
// "90s", "10m", "12h", "7d".
std::optional<std::chrono::seconds> parse_duration(std::string_view text);
// "192.0.2.7:3901", "[::]:3901". Numeric hosts only.
std::optional<Address> parse_listen(std::string_view text);
// Stands for any address: tells others nothing.
bool unspecified(std::string_view host);
// The same with host names; the first address the resolver gives. Blocks. Errors: kInvalid,
// kUnavailable.
Result<Address> resolve_address(std::string_view text);

}  // namespace covey
