#include "node/witness/data_owner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "base/core/codec.h"
#include "base/core/log.h"
#include "store/meta/node_rows.h"

namespace covey {
namespace {

constexpr size_t kOwnerBytesMax = 256;
constexpr std::string_view kOwnerLine = "covey node ";

std::string owner_file(const std::string& dir) { return dir + "/owner"; }

tl::unexpected<Error> failed(const std::string& what, const std::string& path) {
  ErrorCode code = errno == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kIo;
  return fail(code, fmt::format("cannot {} {}: {}", what, path, std::strerror(errno)));
}

// nullopt: nobody's.
Result<std::optional<NodeId>> read_owner(const std::string& dir) {
  std::string path = owner_file(dir);
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return std::optional<NodeId>();
  if (fd < 0) return failed("open", path);
  char text[kOwnerBytesMax];
  ssize_t n = ::read(fd, text, sizeof text);
  ::close(fd);
  if (n < 0) return failed("read", path);
  std::string_view line(text, static_cast<size_t>(n));
  line = line.substr(0, line.find('\n'));
  std::optional<NodeId> owner;
  if (line.starts_with(kOwnerLine)) owner = NodeId::from_hex(line.substr(kOwnerLine.size()));
  if (!owner)
    return fail(ErrorCode::kCorrupt,
                path + " does not name a node: if " + dir +
                    " holds this node's data, remove that file, then start again");
  return owner;
}

Status write_owner(const std::string& dir, const NodeId& node) {
  std::string path = owner_file(dir), fresh = path + ".new";
  std::string text = std::string(kOwnerLine) + node.hex() + "\n";
  int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return failed("create", fresh);
  bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                 ::fsync(fd) == 0;
  ::close(fd);
  if (!written) return failed("write", fresh);
  if (::rename(fresh.c_str(), path.c_str()) != 0) return failed("rename", fresh);
  int folder = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return failed("open", dir);
  bool synced = ::fsync(folder) == 0;
  ::close(folder);
  if (!synced) return failed("sync", dir);
  return {};
}

// Whether another file system begins there.
bool is_mount(const std::string& dir) {
  struct stat here {
  }, above{};
  if (::stat(dir.c_str(), &here) != 0 || ::stat((dir + "/..").c_str(), &above) != 0) return false;
  return here.st_dev != above.st_dev;
}

std::string row_of(const std::string& dir) {
  return node_row_key("data-dir/") + dir;
}

}  // namespace

Task<Status> own_data_dirs(const Config& config, const NodeId& self, bool fresh, Kv& kv) {
  for (const std::string& dir : config.data_dirs) {
    CO_TRY(std::optional<NodeId> owner, read_owner(dir));
    CO_TRY(auto known, kv.get(row_of(dir)));
    const bool mount = is_mount(dir);
    if (owner && *owner != self && !fresh)
      co_return fail(
          ErrorCode::kDenied,
          fmt::format("{} belongs to node {}, but the metadata in {} to node {}: were disks "
                      "swapped? Put them back. If this node is to keep that folder, remove {}, "
                      "then start again",
                      dir, short_name(*owner), config.meta_dir, short_name(self), owner_file(dir)));
    if (!owner && known && known->bytes == "mount" && !mount)
      co_return fail(ErrorCode::kDenied,
                     fmt::format("{} is empty and no mount point any more: mount its disk, then "
                                 "start again; if that disk is lost, mount a new one",
                                 dir));
    if (!owner && known)
      log_error("{} has lost what this node kept there; it is fetched again from the other nodes",
                dir);
    if (owner && *owner != self)
      log_info("{} was node {}'s: its blocks are used where they are still needed", dir,
               short_name(*owner));
    if (!owner || *owner != self) {
      CO_TRY_STATUS(write_owner(dir, self));
    }
    std::string kind = mount ? "mount" : "folder";
    if (known && known->bytes == kind) continue;
    WriteBatch batch;
    batch.put(row_of(dir), std::move(kind));
    batch.use_reserve();
    CO_TRY_STATUS(co_await kv.write(std::move(batch)));
  }
  co_return Status();
}

Status release_data_dir(const std::string& dir) {
  std::string path = owner_file(dir);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failed("remove", path);
  return {};
}

Result<std::optional<NodeId>> owner_of_data_dir(const std::string& dir) { return read_owner(dir); }

}  // namespace covey
