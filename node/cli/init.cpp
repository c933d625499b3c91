// covey init and covey join: a new covey.toml, the secret beside it, the folders it names.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "node/cli/commands.h"
#include "node/identity/invitation.h"

namespace covey {
namespace {

constexpr int kJoinRounds = 5, kJoinAnswerSeconds = 2;

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

int exists_already(const Places& places) {
  return failed(places.config + " exists already; edit it, or choose another folder with --dir");
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
  if (std::filesystem::exists(places.config, error)) return exists_already(places);
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

// One datagram to a node and its answer. nullopt: none came in time, or none that concerns us.
Result<std::optional<Welcome>> ask_node(const JoinRequest& request, const Address& node) {
  sockaddr_storage to{};
  socklen_t size = sizeof(sockaddr_in);
  auto* v4 = reinterpret_cast<sockaddr_in*>(&to);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&to);
  if (::inet_pton(AF_INET, node.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET, v4->sin_port = htons(node.port);
  } else if (::inet_pton(AF_INET6, node.host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6, v6->sin6_port = htons(node.port), size = sizeof(sockaddr_in6);
  } else {
    return std::optional<Welcome>();
  }
  int fd = ::socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  timeval limit{kJoinAnswerSeconds, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  char answer[2048];
  ssize_t n = -1;
  // Connected, so that a closed port is known at once.
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to), size) == 0 &&
      ::send(fd, request.datagram().data(), request.datagram().size(), MSG_NOSIGNAL) > 0)
    n = ::recv(fd, answer, sizeof answer, 0);
  ::close(fd);
  if (n <= 0) return std::optional<Welcome>();
  return request.read(std::string_view(answer, static_cast<size_t>(n)));
}

// The cluster's secret for the invitation, from the first node that gives it.
Result<Welcome> accept_invitation(const Invitation& invitation) {
  JoinRequest request(invitation);
  std::string addresses, refused;
  for (const std::string& seed : invitation.seeds)
    addresses += (addresses.empty() ? "" : ", ") + seed;
  for (int round = 0; round < kJoinRounds; ++round) {
    for (const std::string& seed : invitation.seeds) {
      auto node = resolve_address(seed);
      if (!node) continue;
      auto welcome = ask_node(request, *node);
      if (!welcome) {
        refused = welcome.error().message;
      } else if (*welcome) {
        return std::move(**welcome);
      }
    }
    if (!refused.empty()) return fail(ErrorCode::kDenied, refused);
  }
  return fail(ErrorCode::kUnavailable,
              fmt::format("no node answers at {} (UDP): does one of them run, and does a firewall "
                          "let this box reach it? (The invitation is good until {})",
                          addresses, human_time(invitation.expires_s * 1000)));
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
  auto invitation = read_invitation(options.token);
  if (!invitation) return failed(invitation.error().message, kExitUsage);
  Places places = places_for(options);
  std::error_code error;
  if (std::filesystem::exists(places.config, error)) return exists_already(places);
  auto welcome = accept_invitation(*invitation);
  if (!welcome) return failed(welcome.error().message);
  std::vector<std::string> seeds = invitation->seeds;
  for (std::string& seed : welcome->seeds)
    if (std::find(seeds.begin(), seeds.end(), seed) == seeds.end())
      seeds.push_back(std::move(seed));
  int code = write_all(options, &welcome->secret, seeds);
  if (code == kExitOk) fmt::print("next:\n  covey{} serve\n", config_argument(options));
  return code;
}

}  // namespace covey
