// The table of settings: name, what is allowed, how it is stored. toml++ is included here only.
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#include <fmt/format.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <sstream>

#include "node/config/config.h"

namespace covey {
namespace {

struct Field {
  std::function<bool(const toml::node&, Config&)> take;  // false: not allowed
  std::function<bool(const Config&, const Config&)> same;
};
struct Setting {
  std::string_view name;  // with its table: "s3_listen"
  std::string_view allowed;
  Field field;
};

template <class T>
Field field_of(T Config::*member, std::function<std::optional<T>(const toml::node&)> parse) {
  return {[=](const toml::node& node, Config& config) {
            std::optional<T> value = parse(node);
            if (value) config.*member = std::move(*value);
            return value.has_value();
          },
          [=](const Config& a, const Config& b) { return a.*member == b.*member; }};
}

bool valid_name(std::string_view text) {
  return !text.empty() && text.size() <= 63 &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) || c == '-' || c == '_' || c == '.';
         });
}

Field text(std::string Config::*member, std::function<bool(const std::string&)> valid) {
  return field_of<std::string>(member, [=](const toml::node& node) -> std::optional<std::string> {
    auto string = node.as_string();
    if (!string || !valid(string->get())) return std::nullopt;
    return string->get();
  });
}
bool any_path(const std::string& s) { return !s.empty() && s.size() < 1024; }
bool listen_address(const std::string& s) { return parse_listen(s).has_value(); }
Field one_of(std::string Config::*member, std::vector<std::string> values) {
  return text(member, [values](const std::string& s) {
    return std::find(values.begin(), values.end(), s) != values.end();
  });
}
Field size(uint64_t Config::*member, uint64_t min) {
  return field_of<uint64_t>(member, [=](const toml::node& node) -> std::optional<uint64_t> {
    std::optional<uint64_t> value;
    if (auto number = node.as_integer(); number && number->get() >= 0)
      value = static_cast<uint64_t>(number->get());
    else if (auto string = node.as_string())
      value = parse_size(string->get());
    if (value && *value < min) return std::nullopt;
    return value;
  });
}
Field duration(std::chrono::seconds Config::*member, std::chrono::seconds min) {
  using Seconds = std::chrono::seconds;
  return field_of<Seconds>(member, [=](const toml::node& node) -> std::optional<Seconds> {
    auto string = node.as_string();
    auto value = string ? parse_duration(string->get()) : std::nullopt;
    if (value && *value < min) return std::nullopt;
    return value;
  });
}
Field boolean(bool Config::*member) {
  return field_of<bool>(member, [](const toml::node& node) -> std::optional<bool> {
    auto value = node.as_boolean();
    if (!value) return std::nullopt;
    return value->get();
  });
}
Field texts(std::vector<std::string> Config::*member, size_t min, size_t max,
            std::function<bool(const std::string&)> valid) {
  using Texts = std::vector<std::string>;
  return field_of<Texts>(member, [=](const toml::node& node) -> std::optional<Texts> {
    auto array = node.as_array();
    if (!array || array->size() < min || array->size() > max) return std::nullopt;
    Texts values;
    for (const toml::node& item : *array) {
      auto string = item.as_string();
      if (!string || !valid(string->get())) return std::nullopt;
      values.push_back(string->get());
    }
    return values;
  });
}

const std::vector<Setting>& settings() {
  using namespace std::chrono_literals;
  static const std::vector<Setting> all = {
      {"name", "a name of up to 63 letters, digits, '-', '_', '.', unique in the cluster",
       text(&Config::name, valid_name)},
      {"zone", "a name of up to 63 letters, digits, '-', '_', '.': copies are spread over zones",
       text(&Config::zone, valid_name)},
      {"capacity", "a size of at least 100MB like \"200GB\" or \"1.5TiB\"",
       size(&Config::capacity_bytes, 100'000'000)},
      {"meta_dir", "a folder", text(&Config::meta_dir, any_path)},
      {"data_dirs", "a list of 1 to 16 folders, [\"/mnt/disk1\"]",
       texts(&Config::data_dirs, 1, kDataDirsMax, any_path)},
      {"journal", "\"data\" (in the first of data_dirs) or \"meta\" (in meta_dir)",
       one_of(&Config::journal, {"data", "meta"})},
      {"secret_file", "a file that holds the cluster secret", text(&Config::secret_file, any_path)},
      {"seeds", "a list of up to 64 gossip addresses, [\"192.168.1.7:3901\"]",
       texts(&Config::seeds, 0, kSeedsMax,
             [](const std::string& s) { return s.find(':') != std::string::npos; })},
      {"auto_layout", "true or false", boolean(&Config::auto_layout)},
      {"advertise", "the numeric address at which other nodes reach this one, \"192.168.1.7\"",
       text(&Config::advertise,
            [](const std::string& s) {
              return parse_listen(s.find(':') == s.npos ? s + ":1" : "[" + s + "]:1").has_value();
            })},
      {"s3_listen", "address:port, like \"0.0.0.0:3900\" or \"[::]:3900\"",
       text(&Config::listen_s3, listen_address)},
      {"gossip_listen", "address:port, like \"0.0.0.0:3901\"",
       text(&Config::listen_gossip, listen_address)},
      {"rpc_listen", "address:port, like \"0.0.0.0:3902\"",
       text(&Config::listen_rpc, listen_address)},
      {"admin_listen", "address:port, like \"127.0.0.1:3903\"; serves /metrics and /health",
       text(&Config::listen_admin, listen_address)},
      {"region", "a region's name, like \"us-east-1\"", text(&Config::region, valid_name)},
      {"s3_domain", "a domain, like \"s3.example.net\", for bucket.s3.example.net",
       text(&Config::s3_domain, valid_name)},
      {"tls_certificate", "a PEM file", text(&Config::tls_certificate, any_path)},
      {"tls_key", "a PEM file", text(&Config::tls_key, any_path)},
      {"upload_expiry", "a time of at least an hour, like \"7d\"",
       duration(&Config::upload_expiry, 1h)},
      {"memory_cap", "a size of at least 64MiB, like \"256MiB\"",
       size(&Config::memory_cap_bytes, 64ull << 20)},
      {"reclaim_delay", "a time of at least one second, like \"10m\"",
       duration(&Config::reclaim_delay, 1s)},
      {"scrub_interval", "a time of at least an hour, like \"7d\"",
       duration(&Config::scrub_interval, 1h)},
      {"metadata_check_interval", "a time of at least ten seconds, like \"1h\"",
       duration(&Config::metadata_check_interval, 10s)},
      {"snapshot_interval", "a time of at least a minute, like \"24h\"",
       duration(&Config::snapshot_interval, 1min)},
      {"log_level", "\"debug\", \"info\", \"warn\", \"error\" or \"off\"",
       one_of(&Config::log_level, {"debug", "info", "warn", "error", "off"})},
      {"gossip_profile", "\"lan\", \"wan\" or \"edge\"",
       one_of(&Config::gossip_profile, {"lan", "wan", "edge"})},
  };
  return all;
}

size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t best = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = std::exchange(row[j], best);
    }
  }
  return row[b.size()];
}

std::string suggestion(std::string_view name) {
  const Setting* best = nullptr;
  for (const Setting& s : settings())
    if (!best || distance(name, s.name) < distance(name, best->name)) best = &s;
  if (distance(name, best->name) <= 3) return fmt::format("did you mean `{}`?", best->name);
  std::string names;
  for (const Setting& s : settings()) names += (names.empty() ? "" : ", ") + std::string(s.name);
  return "allowed are " + names;
}

struct Errors {
  std::string file, lines;
  void add(const toml::source_region& at, std::string_view what) {
    lines += fmt::format("{}{}:{}: {}", lines.empty() ? "" : "\n", file, at.begin.line, what);
  }
};

void take_settings(const toml::table& table, Config& config, Errors& errors) {
  for (const auto& [key, node] : table) {
    std::string name(key.str());
    auto it = std::find_if(settings().begin(), settings().end(),
                           [&](const Setting& s) { return s.name == name; });
    if (it == settings().end())
      errors.add(key.source(), fmt::format("unknown setting `{}`; {}", name, suggestion(name)));
    else if (!it->field.take(node, config))
      errors.add(node.source(), fmt::format("`{}` must be {}", name, it->allowed));
  }
}

std::string host_name() {
  char name[64] = "";
  if (::gethostname(name, sizeof name - 1) != 0 || !valid_name(name)) return "node";
  return name;
}

void make_absolute(Config& config) {
  size_t slash = config.file.rfind('/');
  std::string folder = slash == std::string::npos ? "" : config.file.substr(0, slash + 1);
  auto fix = [&](std::string& path) {
    if (!path.empty() && path.front() != '/') path = folder + path;
  };
  fix(config.meta_dir), fix(config.secret_file), fix(config.tls_certificate), fix(config.tls_key);
  for (std::string& dir : config.data_dirs) fix(dir);
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::string& path) {
  toml::parse_result parsed = toml::parse(text, path);
  Errors errors{path, {}};
  if (!parsed) {
    errors.add(parsed.error().source(), parsed.error().description());
    return fail(ErrorCode::kInvalid, errors.lines);
  }
  Config config;
  config.file = path;
  config.name = host_name();
  take_settings(parsed.table(), config, errors);
  if (config.tls_certificate.empty() != config.tls_key.empty())
    errors.add(parsed.table().source(), "`tls_certificate` and `tls_key` go together");
  if (!errors.lines.empty()) return fail(ErrorCode::kInvalid, errors.lines);
  make_absolute(config);
  return config;
}

std::vector<std::string_view> changed_settings(const Config& before, const Config& after) {
  std::vector<std::string_view> names;
  for (const Setting& setting : settings())
    if (!setting.field.same(before, after)) names.push_back(setting.name);
  return names;
}

Result<Config> load_config(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in)
    return fail(
        ErrorCode::kNotFound,
        "cannot read " + path + "; run `covey init` to write one, or name another with --config");
  std::string text(kConfigBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kConfigBytesMax)
    return fail(ErrorCode::kInvalid, path + " is larger than 256 KiB");
  return parse_config(text, path);
}

}  // namespace covey
