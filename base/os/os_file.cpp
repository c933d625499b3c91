#include "base/os/os_file.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "base/core/check.h"
#include "base/core/round.h"

namespace covey {

namespace {

// What of it is in the page cache. No part of the coroutine below: under the sanitizers GCC 12
// thinks that an iovec in a coroutine's frame is too small for the call.
size_t read_cached(int fd, char* into, size_t size_bytes, uint64_t offset) {
  iovec part{into, size_bytes};
  ssize_t n = preadv2(fd, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  return n > 0 ? static_cast<size_t>(n) : 0;
}

constexpr size_t kPiecesPerCall = IOV_MAX;
constexpr size_t kDirectBytesPerCall = 1024 * 1024;
// Copying more at once would keep a loop from its other work for too long.
constexpr size_t kReadInlineBytesMax = 512 * 1024;

// The next call's part of `pieces`, beginning `skip` bytes into pieces[first].
std::vector<iovec> gather(const std::vector<Blob>& pieces, size_t first, size_t skip) {
  std::vector<iovec> out;
  out.reserve(std::min(pieces.size() - first, kPiecesPerCall));
  for (size_t i = first; i < pieces.size() && out.size() < kPiecesPerCall; ++i) {
    std::string_view bytes = pieces[i].view().substr(i == first ? skip : 0);
    out.push_back({const_cast<char*>(bytes.data()), bytes.size()});
  }
  return out;
}

// Memory as O_DIRECT wants it.
std::shared_ptr<char> aligned_buffer(size_t size_bytes) {
  void* memory = aligned_alloc(kDirectAlign, size_bytes);
  CHECK(memory != nullptr);
  return {static_cast<char*>(memory), free};
}

// Hands out the bytes of pieces one after the other.
class PieceReader {
 public:
  explicit PieceReader(const std::vector<Blob>& pieces) : pieces_(pieces) {}
  void copy(char* into, size_t size_bytes) {
    while (size_bytes > 0) {
      size_t part = std::min(size_bytes, pieces_[piece_].size() - at_);
      memcpy(into, pieces_[piece_].data() + at_, part);
      into += part, size_bytes -= part, at_ += part;
      if (at_ == pieces_[piece_].size()) ++piece_, at_ = 0;
    }
  }

 private:
  const std::vector<Blob>& pieces_;
  size_t piece_ = 0, at_ = 0;
};

}  // namespace

Error disk_error(const char* verb, const std::string& path, int error_number) {
  ErrorCode code = ErrorCode::kIo;
  if (error_number == ENOSPC || error_number == EDQUOT) code = ErrorCode::kNoSpace;
  if (error_number == ENOENT) code = ErrorCode::kNotFound;
  if (error_number == EEXIST) code = ErrorCode::kAlreadyExists;
  char text[128];
  return {code,
          fmt::format("cannot {} {}: {}", verb, path, strerror_r(error_number, text, sizeof text)),
          {}};
}

Result<std::unique_ptr<File>> OsFile::open(Pool& io, std::string path, Disk::Open mode,
                                           size_t direct_from_bytes) {
  int flags = O_CLOEXEC | (mode == Disk::Open::kRead ? O_RDONLY : O_RDWR);
  if (mode == Disk::Open::kCreate) flags |= O_CREAT | O_EXCL;
  int fd;
  do {
    fd = ::open(path.c_str(), flags, 0600);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return tl::unexpected(disk_error("open", path, errno));
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    int error_number = S_ISREG(info.st_mode) ? errno : EISDIR;
    close(fd);
    return tl::unexpected(disk_error("open", path, error_number));
  }
  return std::unique_ptr<File>(
      new OsFile(io, std::move(path), fd, static_cast<uint64_t>(info.st_size), direct_from_bytes));
}

OsFile::~OsFile() {
  close(fd_);
  if (direct_fd_ >= 0) close(direct_fd_);
}

int OsFile::direct() {
  // By descriptor: the file may have been renamed since.
  std::call_once(direct_opened_, [this] {
    int access = fcntl(fd_, F_GETFL) & O_ACCMODE;
    direct_fd_ =
        ::open(fmt::format("/proc/self/fd/{}", fd_).c_str(), access | O_DIRECT | O_CLOEXEC);
  });
  return direct_refused_.load() ? -1 : direct_fd_;
}

size_t OsFile::available(uint64_t offset, size_t size_bytes) const {
  uint64_t end = size();
  return offset >= end ? 0 : static_cast<size_t>(std::min<uint64_t>(size_bytes, end - offset));
}

Result<Blob> OsFile::read_now(uint64_t offset, size_t size_bytes) {
  size_bytes = available(offset, size_bytes);
  return read_rest(std::make_shared_for_overwrite<char[]>(size_bytes), 0, offset, size_bytes);
}

Result<Blob> OsFile::read_rest(Buffer buffer, size_t got, uint64_t offset, size_t size_bytes) {
  while (got < size_bytes) {
    ssize_t n = pread(fd_, buffer.get() + got, size_bytes - got, static_cast<off_t>(offset + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected(disk_error("read", path_, errno));
    if (n == 0) break;
    got += static_cast<size_t>(n);
  }
  const char* bytes = buffer.get();
  return Blob(std::move(buffer), std::string_view(bytes, got));
}

Task<Result<Blob>> OsFile::read(uint64_t offset, size_t size_bytes) {
  size_bytes = available(offset, size_bytes);
  Buffer buffer = std::make_shared_for_overwrite<char[]>(size_bytes);
  size_t got = 0;
  if (size_bytes <= kReadInlineBytesMax) {
    // What is in the page cache comes at once; whatever goes wrong here, the pool meets again.
    got = read_cached(fd_, buffer.get(), size_bytes, offset);
  }
  if (got == size_bytes) {
    const char* bytes = buffer.get();
    co_return Blob(std::move(buffer), std::string_view(bytes, got));
  }
  auto rest = [this, buffer, got, offset, size_bytes] {
    return read_rest(buffer, got, offset, size_bytes);
  };
  co_return co_await io_.run(std::move(rest));
}

Task<Result<Blob>> OsFile::read_once(uint64_t offset, size_t size_bytes) {
  size_bytes = available(offset, size_bytes);
  auto all = [this, offset, size_bytes] { return read_direct(offset, size_bytes); };
  co_return co_await io_.run(std::move(all));
}

Result<Blob> OsFile::read_direct(uint64_t offset, size_t size_bytes) {
  int fd = direct();
  if (fd < 0 || size_bytes == 0) return read_now(offset, size_bytes);
  uint64_t begin = round_down(offset, kDirectAlign);
  size_t whole = static_cast<size_t>(round_up(offset + size_bytes, kDirectAlign) - begin);
  size_t wanted = static_cast<size_t>(offset + size_bytes - begin), got = 0;
  std::shared_ptr<char> buffer = aligned_buffer(whole);
  while (got < wanted) {
    ssize_t n = pread(fd, buffer.get() + got, whole - got, static_cast<off_t>(begin + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EINVAL) return tl::unexpected(disk_error("read", path_, errno));
    if (n < 0) direct_refused_.store(true);
    if (n <= 0) break;
    got += static_cast<size_t>(n);
    if (got % kDirectAlign != 0) break;  // the file's end, or a call cut short
  }
  if (got < wanted) return read_now(offset, size_bytes);
  const char* bytes = buffer.get() + (offset - begin);
  return Blob(std::move(buffer), std::string_view(bytes, size_bytes));
}

Task<Status> OsFile::write(uint64_t offset, std::vector<Blob> pieces) {
  co_return co_await io_.run([this, offset, &pieces] { return write_blocking(offset, pieces); });
}

Task<Status> OsFile::sync() {
  co_return co_await io_.run([this] { return sync_blocking(); });
}

Task<Status> OsFile::write_sync(uint64_t offset, std::vector<Blob> pieces) {
  co_return co_await io_.run([this, offset, &pieces]() -> Status {
    TRY_STATUS(write_blocking(offset, pieces));
    return sync_blocking();
  });
}

Task<Status> OsFile::allocate(uint64_t size_bytes) {
  co_return co_await io_.run([this, size_bytes] { return allocate_blocking(size_bytes); });
}

Task<Status> OsFile::truncate(uint64_t size_bytes) {
  co_return co_await io_.run([this, size_bytes] { return truncate_blocking(size_bytes); });
}

Status OsFile::write_blocking(uint64_t offset, const std::vector<Blob>& pieces) {
  size_t total = 0;
  for (const Blob& piece : pieces) total += piece.size();
  bool aligned = offset % kDirectAlign == 0 && total % kDirectAlign == 0;
  if (aligned && total >= direct_from_bytes_) {
    auto written = write_direct(offset, pieces, total);
    if (written) return std::move(*written);
  }
  return write_cached(offset, pieces);
}

std::optional<Status> OsFile::write_direct(uint64_t offset, const std::vector<Blob>& pieces,
                                           size_t left) {
  int fd = direct();
  if (fd < 0) return std::nullopt;
  std::shared_ptr<char> buffer = aligned_buffer(std::min(left, kDirectBytesPerCall));
  PieceReader source(pieces);
  while (left > 0) {
    size_t part = std::min(left, kDirectBytesPerCall);
    source.copy(buffer.get(), part);
    for (size_t done = 0; done < part;) {
      ssize_t n = pwrite(fd, buffer.get() + done, part - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EINVAL) {
        direct_refused_.store(true);
        return std::nullopt;
      }
      if (n < 0) return tl::unexpected(disk_error("write", path_, errno));
      // After a call cut short the rest begins where it may; some bytes are written twice.
      size_t end = done + static_cast<size_t>(n);
      if (end < part) end = static_cast<size_t>(round_down(end, kDirectAlign));
      if (end == done) return std::nullopt;
      done = end;
    }
    offset += part, left -= part;
  }
  grow_to(offset);
  return Status();
}

Status OsFile::write_cached(uint64_t offset, const std::vector<Blob>& pieces) {
  size_t first = 0, skip = 0;
  while (first < pieces.size()) {
    if (skip == pieces[first].size()) {
      ++first, skip = 0;
      continue;
    }
    std::vector<iovec> parts = gather(pieces, first, skip);
    ssize_t n =
        pwritev(fd_, parts.data(), static_cast<int>(parts.size()), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tl::unexpected(disk_error("write", path_, errno));
    offset += static_cast<uint64_t>(n);
    for (size_t left = static_cast<size_t>(n); left > 0;) {
      size_t step = std::min(left, pieces[first].size() - skip);
      skip += step, left -= step;
      if (skip == pieces[first].size()) ++first, skip = 0;
    }
  }
  grow_to(offset);
  return {};
}

Status OsFile::sync_blocking() {
  // Never again after a failure: the kernel may have dropped the dirty pages.
  if (fdatasync(fd_) != 0) {
    Error error = disk_error("sync", path_, errno);
    error.code = ErrorCode::kIo;
    return tl::unexpected(std::move(error));
  }
  return {};
}

Status OsFile::allocate_blocking(uint64_t size_bytes) {
  int error_number;
  do {
    error_number = posix_fallocate(fd_, 0, static_cast<off_t>(size_bytes));
  } while (error_number == EINTR);
  if (error_number != 0)
    return tl::unexpected(disk_error("reserve space for", path_, error_number));
  grow_to(size_bytes);
  return {};
}

Status OsFile::truncate_blocking(uint64_t size_bytes) {
  int rc;
  do {
    rc = ftruncate(fd_, static_cast<off_t>(size_bytes));
  } while (rc != 0 && errno == EINTR);
  if (rc != 0) return tl::unexpected(disk_error("truncate", path_, errno));
  size_bytes_.store(size_bytes);
  return {};
}

void OsFile::grow_to(uint64_t size_bytes) {
  uint64_t seen = size_bytes_.load();
  while (seen < size_bytes && !size_bytes_.compare_exchange_weak(seen, size_bytes)) {
  }
}

}  // namespace covey
