#include "node/witness/rebirth.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/core/log.h"
#include "node/witness/data_owner.h"
#include "store/meta/snapshots.h"

namespace covey {
namespace {

namespace fs = std::filesystem;
constexpr int kAsideMax = 1000;
constexpr time_t kDaySeconds = 24 * 3600;
constexpr size_t kPlanBytesMax = 64 * 1024;

std::string plan_file(const Config& config) { return config.meta_dir + "/rebirth"; }
std::string reborn_file(const Config& config) { return config.meta_dir + "/reborn"; }

tl::unexpected<Error> failed(const std::string& what, const std::string& path) {
  ErrorCode code = errno == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kIo;
  return fail(code, fmt::format("cannot {} {}: {}", what, path, std::strerror(errno)));
}

Status sync_folder(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return failed("open", path);
  bool synced = ::fsync(fd) == 0;
  ::close(fd);
  if (!synced) return failed("sync", path);
  return {};
}

Status write_synced(const std::string& path, const std::string& text) {
  std::string fresh = path + ".new";
  int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return failed("create", fresh);
  bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                 ::fsync(fd) == 0;
  ::close(fd);
  if (!written) return failed("write", fresh);
  if (::rename(fresh.c_str(), path.c_str()) != 0) return failed("rename", fresh);
  return {};
}

struct Plan {
  std::string why, aside;
  std::vector<Address> seeds;
};

// Lines of a word and its value.
std::string encode(const Plan& plan) {
  std::string text = "aside " + plan.aside + "\nwhy " + plan.why + "\n";
  for (const Address& seed : plan.seeds) text += "seed " + seed.str() + "\n";
  return text;
}

Result<std::optional<Plan>> read_plan(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return std::optional<Plan>();
  if (fd < 0) return failed("open", path);
  std::string text(kPlanBytesMax, '\0');
  ssize_t n = ::read(fd, text.data(), text.size());
  ::close(fd);
  if (n < 0) return failed("read", path);
  text.resize(static_cast<size_t>(n));
  Plan plan;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.starts_with("aside ")) plan.aside = line.substr(6);
    if (line.starts_with("why ")) plan.why = line.substr(4);
    if (!line.starts_with("seed ")) continue;
    if (auto seed = parse_listen(line.substr(5))) plan.seeds.push_back(*seed);
  }
  if (plan.aside.empty() || plan.aside.find('/') != std::string::npos)
    return fail(ErrorCode::kCorrupt, path + " cannot be read: remove it, then start again");
  return std::optional<Plan>(std::move(plan));
}

bool belongs_to_identity(const std::string& name) {
  return name == "identity.key" || name == "journal" || name.starts_with("meta.mdb");
}

}  // namespace

Status plan_rebirth(const Config& config, const Rebirth& rebirth) {
  Plan plan;
  plan.why = rebirth.why;
  std::replace(plan.why.begin(), plan.why.end(), '\n', ' ');
  plan.seeds = rebirth.seeds;
  int number = 1;
  while (number < kAsideMax && fs::exists(fmt::format("{}/aside/{}", config.meta_dir, number)))
    ++number;
  plan.aside = std::to_string(number);
  TRY_STATUS(write_synced(plan_file(config), encode(plan)));
  return sync_folder(config.meta_dir);
}

Status finish_rebirth(const Config& config) {
  TRY(std::optional<Plan> plan, read_plan(plan_file(config)));
  if (!plan) return {};
  std::string aside = config.meta_dir + "/aside", to = aside + "/" + plan->aside;
  std::error_code error;
  fs::create_directories(to, error);
  if (error) return fail(ErrorCode::kIo, "cannot create " + to + ": " + error.message());
  TRY_STATUS(write_synced(to + "/why", plan->why + "\n"));
  std::vector<std::string> names;
  for (auto at = fs::directory_iterator(config.meta_dir, error);
       !error && at != fs::directory_iterator(); at.increment(error))
    names.push_back(at->path().filename().string());
  if (error) return fail(ErrorCode::kIo, "cannot list " + config.meta_dir + ": " + error.message());
  for (const std::string& name : names) {
    if (!belongs_to_identity(name)) continue;
    std::string from = config.meta_dir + "/" + name;
    if (::rename(from.c_str(), (to + "/" + name).c_str()) != 0) return failed("move away", from);
  }
  for (const std::string& dir : config.data_dirs) {
    TRY_STATUS(release_data_dir(dir));
    // The journal and what a rebuild would need are the old identity's, too.
    std::string top = MetaFolders(dir).top, away = dir + "/metadata.aside." + plan->aside;
    if (!fs::exists(top, error)) continue;
    if (::rename(top.c_str(), away.c_str()) != 0) return failed("move away", top);
    TRY_STATUS(sync_folder(dir));
  }
  TRY_STATUS(sync_folder(to));
  TRY_STATUS(sync_folder(aside));
  TRY_STATUS(sync_folder(config.meta_dir));
  std::string from = plan_file(config), done = reborn_file(config);
  if (::rename(from.c_str(), done.c_str()) != 0) return failed("rename", from);
  TRY_STATUS(sync_folder(config.meta_dir));
  log_warn("this node starts under a new id, since {}; its old metadata is kept in {}", plan->why,
           to);
  return {};
}

Result<std::optional<Reborn>> last_rebirth(const Config& config) {
  TRY(std::optional<Plan> plan, read_plan(reborn_file(config)));
  if (!plan) return std::optional<Reborn>();
  Reborn reborn;
  reborn.why = std::move(plan->why);
  reborn.seeds = std::move(plan->seeds);
  std::string aside = config.meta_dir + "/aside/" + plan->aside;
  std::error_code error;
  if (fs::exists(aside, error)) reborn.aside = std::move(aside);
  return std::optional<Reborn>(std::move(reborn));
}

Result<size_t> damages_of_today(const Config& config, WallTime now) {
  size_t count = 0;
  for (int number = 1; number < kAsideMax; ++number) {
    std::string path = fmt::format("{}/aside/{}/why", config.meta_dir, number);
    struct stat about {};
    int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) continue;
    std::string text(kDamagedWhy.size(), '\0');
    bool read = fd >= 0 && ::fstat(fd, &about) == 0 && ::read(fd, text.data(), text.size()) >= 0;
    if (fd >= 0) ::close(fd);
    if (!read) return failed("read", path);
    count += text == kDamagedWhy && now.ms / 1000 - about.st_mtime < kDaySeconds;
  }
  return count;
}

}  // namespace covey
