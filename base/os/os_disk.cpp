#include "base/os/os_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/os/os_file.h"

namespace covey {

namespace {

Status remove_blocking(const std::string& path) {
  if (::remove(path.c_str()) != 0) return tl::unexpected(disk_error("remove", path, errno));
  return {};
}

Status rename_blocking(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return tl::unexpected(disk_error("rename", from + " to " + to, errno));
  return {};
}

Status sync_dir_blocking(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return tl::unexpected(disk_error("open folder", path, errno));
  int error_number = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  if (error_number != 0) {
    Error error = disk_error("sync folder", path, error_number);
    error.code = ErrorCode::kIo;
    return tl::unexpected(std::move(error));
  }
  return {};
}

// A folder whose own name is lost with the power takes with it whatever was synced in it, so each
// is synced into its parent; also one that was there: whoever made it may have died before.
Status make_dir_blocking(const std::string& path) {
  for (size_t end = 1; end <= path.size(); ++end) {
    if (end < path.size() && path[end] != '/') continue;
    std::string folder = path.substr(0, end);
    bool made = mkdir(folder.c_str(), 0700) == 0;
    if (!made && errno != EEXIST) return tl::unexpected(disk_error("create folder", folder, errno));
    if (!made && end < path.size()) continue;
    size_t slash = folder.rfind('/');
    std::string parent =
        slash == std::string::npos ? "." : folder.substr(0, std::max<size_t>(slash, 1));
    if (!made && access(parent.c_str(), R_OK) != 0) continue;  // an operator made it
    TRY_STATUS(sync_dir_blocking(parent));
  }
  struct stat info;
  if (stat(path.c_str(), &info) != 0)
    return tl::unexpected(disk_error("create folder", path, errno));
  if (!S_ISDIR(info.st_mode)) return tl::unexpected(disk_error("create folder", path, ENOTDIR));
  return {};
}

Result<std::vector<std::string>> list_blocking(const std::string& path) {
  DIR* folder = opendir(path.c_str());
  if (!folder) return tl::unexpected(disk_error("list", path, errno));
  std::vector<std::string> names;
  errno = 0;
  while (dirent* entry = readdir(folder)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
    errno = 0;
  }
  int error_number = errno;
  closedir(folder);
  if (error_number != 0) return tl::unexpected(disk_error("list", path, error_number));
  std::sort(names.begin(), names.end());
  return names;
}

Result<DiskSpace> space_blocking(const std::string& path) {
  struct statvfs info;
  if (statvfs(path.c_str(), &info) != 0)
    return tl::unexpected(disk_error("look at the space of", path, errno));
  return DiskSpace{.total_bytes = uint64_t{info.f_frsize} * info.f_blocks,
                   .free_bytes = uint64_t{info.f_frsize} * info.f_bavail};
}

}  // namespace

Task<Result<std::unique_ptr<File>>> OsDisk::open(std::string path, Open mode) {
  co_return co_await io_.run(
      [this, &path, mode] { return OsFile::open(io_, path, mode, direct_from_bytes_); });
}

Task<Status> OsDisk::rename(std::string from, std::string to) {
  co_return co_await io_.run([&from, &to] { return rename_blocking(from, to); });
}

Task<Status> OsDisk::remove(std::string path) {
  co_return co_await io_.run([&path] { return remove_blocking(path); });
}

Task<Status> OsDisk::make_dir(std::string path) {
  co_return co_await io_.run([&path] { return make_dir_blocking(path); });
}

Task<Status> OsDisk::sync_dir(std::string path) {
  co_return co_await io_.run([&path] { return sync_dir_blocking(path); });
}

Task<Result<std::vector<std::string>>> OsDisk::list(std::string path) {
  co_return co_await io_.run([&path] { return list_blocking(path); });
}

Task<Result<DiskSpace>> OsDisk::space(std::string path) {
  co_return co_await io_.run([&path] { return space_blocking(path); });
}

}  // namespace covey
