// covey init and covey join: a new covey.toml, the secret beside it, the folders it names.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "node/cli/commands.h"
#include "node/identity/identity.h"

namespace covey {
namespace {

struct Places {
  std::string config, secret, meta, data;
};

// With --dir everything is in one folder; root without it gets the usual places.
Places places_for(const CliOptions& options) {
  if (options.dir.empty() && options.config.empty() && ::geteuid() == 0)
    return {"/etc/covey/covey.toml", "/etc/covey/secret", "/var/lib/covey/meta",
            "/var/lib/covey/data"};
  namespace fs = std::filesystem;
  fs::path folder = options.dir.empty() ? "." : options.dir;
  if (options.dir.empty() && !options.config.empty())
    folder = fs::path(options.config).parent_path();
  fs::path config = options.config.empty() ? folder / "covey.toml" : fs::path(options.config);
  return {config.string(), (folder / "secret").string(), "meta", "data"};
}

int failed(const std::string& message, int code = kExitFailed) {
  fmt::print(stderr, "covey: {}\n", message);
  return code;
}

Status write_new(const std::string& path, const std::string& text) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0)
    return fail(errno == EEXIST ? ErrorCode::kAlreadyExists : ErrorCode::kIo,
                fmt::format("cannot create {}: {}", path, std::strerror(errno)));
  bool ok = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
            ::fsync(fd) == 0;
  ::close(fd);
  if (!ok) return fail(ErrorCode::kIo, "cannot write " + path);
  return {};
}

int write_all(const CliOptions& options, const ClusterSecret* secret,
              const std::vector<std::string>& seeds) {
  Places places = places_for(options);
  std::error_code error;
  if (std::filesystem::exists(places.config, error))
    return failed(places.config + " exists already; edit it, or choose another folder with --dir");
  std::filesystem::path folder = std::filesystem::path(places.config).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) return failed("cannot create " + folder.string() + ": " + error.message());

  auto saved = save_secret(places.secret, secret ? *secret : ClusterSecret::random());
  if (!saved && !(saved.is(ErrorCode::kAlreadyExists) && !secret))
    return failed(saved.error().message);
  ChosenSettings chosen;
  chosen.name = options.name, chosen.zone = options.zone, chosen.advertise = options.advertise;
  chosen.seeds = seeds;
  chosen.meta_dir = places.meta, chosen.data_dir = places.data;
  chosen.secret_file = folder.empty() || places.secret.front() != '/'
                           ? std::filesystem::path(places.secret).filename().string()
                           : places.secret;
  std::string text = config_template(chosen);
  auto checked = parse_config(text, places.config);
  if (!checked) return failed(checked.error().message, kExitUsage);
  auto written = write_new(places.config, text);
  if (!written) return failed(written.error().message);
  fmt::print("wrote {} and the cluster's secret {}\n", places.config, places.secret);
  return kExitOk;
}

std::string config_argument(const CliOptions& options) {
  Places places = places_for(options);
  bool found_anyway = places.config == "/etc/covey/covey.toml" || places.config == "./covey.toml";
  return found_anyway ? "" : " --config " + places.config;
}

}  // namespace

int run_init(const CliOptions& options) {
  int code = write_all(options, nullptr, options.seeds);
  if (code == kExitOk) {
    std::string with = config_argument(options);
    fmt::print("next:\n  covey{} serve\n  covey{} key create --name me\n", with, with);
  }
  return code;
}

int run_join(const CliOptions& options) {
  auto invitation = read_token(options.token);
  if (!invitation) return failed(invitation.error().message, kExitUsage);
  ClusterSecret secret;
  std::memcpy(secret.bytes.data(), invitation->secret.data(), secret.bytes.size());
  int code = write_all(options, &secret, invitation->seeds);
  if (code == kExitOk) fmt::print("next:\n  covey{} serve\n", config_argument(options));
  return code;
}

}  // namespace covey
