// libc's names, both those of 32-bit offsets and those of 64-bit ones: they are the same functions
// here, and which one a caller's object file names depends on how it was compiled.
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tests/crash/syscalls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <mutex>

namespace covey {
namespace {

struct OpenFile {
  std::string path;
  uint64_t file = 0;
  bool synchronous = false;
  bool folder = false;
};

constexpr int kDescriptorsMax = 1 << 16;
std::array<std::atomic<OpenFile*>, kDescriptorsMax> open_files;
std::recursive_mutex mutex;  // one call at a time, so that the order seen is the order done
std::atomic<SysHook*> the_hook;
std::string the_root;
thread_local int inside;  // the hook's own calls are nobody's business

template <class F>
F real(const char* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}
#define REAL(name) static const auto next = real<decltype(&::name)>(#name)

bool watched(const char* path) {
  return the_hook.load() && inside == 0 && path &&
         std::string_view(path).substr(0, the_root.size()) == the_root;
}
OpenFile* watched(int fd) {
  if (!the_hook.load() || inside != 0 || fd < 0 || fd >= kDescriptorsMax) return nullptr;
  return open_files[static_cast<size_t>(fd)].load();
}

// Asks the hook, makes the call unless it was answered, tells the hook.
template <class F>
long pass(SysCall& call, F make) {
  std::lock_guard lock(mutex);
  SysHook* hook = the_hook.load();
  ++inside;
  std::optional<long> result;
  if (hook) result = hook->before(call);
  if (!result) {
    long done = make();
    result = done < 0 ? -errno : done;
  }
  if (hook) hook->after(call, *result);
  --inside;
  if (*result >= 0) return *result;
  errno = static_cast<int>(-*result);
  return -1;
}

SysCall call_on(Sys what, const char* function, const OpenFile& open, const void* caller) {
  SysCall call;
  call.what = what;
  call.function = function;
  call.path = open.path;
  call.file = open.file;
  call.synchronous = open.synchronous;
  call.caller = caller;
  return call;
}
SysCall call_on(Sys what, const char* function, const char* path, const void* caller) {
  SysCall call;
  call.what = what;
  call.function = function;
  call.path = path;
  call.caller = caller;
  return call;
}

// Also of a file that is opened again by its descriptor.
std::string real_path(const char* path) {
  char target[PATH_MAX];
  bool descriptor = path && std::string_view(path).starts_with("/proc/self/fd/");
  ssize_t n = descriptor ? readlink(path, target, sizeof target) : -1;
  return n > 0 ? std::string(target, static_cast<size_t>(n)) : path ? path : "";
}

int open_watched(const char* path, int flags, mode_t mode, const void* caller) {
  REAL(open64);
  SysCall call = call_on(Sys::kOpen, "open", path, caller);
  call.writable = (flags & O_ACCMODE) != O_RDONLY;
  int fd = static_cast<int>(pass(call, [&]() -> long {
    struct stat info;
    call.created = (flags & O_CREAT) && ::stat(path, &info) != 0;
    return next(path, flags, mode);
  }));
  if (fd < 0 || fd >= kDescriptorsMax) return fd;
  auto* open =
      new OpenFile{path, call.file, (flags & O_DSYNC) == O_DSYNC, (flags & O_DIRECTORY) != 0};
  open_files[static_cast<size_t>(fd)].store(open);
  return fd;
}

// What is left of `data` when only `size` bytes may be written.
std::vector<iovec> shortened(const std::vector<iovec>& data, uint64_t size) {
  std::vector<iovec> out;
  for (const iovec& piece : data) {
    if (size == 0) break;
    size_t part = piece.iov_len < size ? piece.iov_len : static_cast<size_t>(size);
    out.push_back({piece.iov_base, part});
    size -= part;
  }
  return out;
}

ssize_t write_watched(const OpenFile& open, const char* function, int fd, const iovec* data,
                      int pieces, uint64_t offset, const void* caller) {
  REAL(pwritev);
  SysCall call = call_on(Sys::kWrite, function, open, caller);
  call.offset = offset;
  call.data.assign(data, data + pieces);
  for (const iovec& piece : call.data) call.size += piece.iov_len;
  return pass(call, [&]() -> long {
    std::vector<iovec> parts = shortened(call.data, call.size);
    return next(fd, parts.data(), static_cast<int>(parts.size()), static_cast<off_t>(offset));
  });
}

int sync_watched(const OpenFile& open, const char* function, int fd, const void* caller) {
  REAL(fsync);
  SysCall call = call_on(open.folder ? Sys::kSyncDir : Sys::kSync, function, open, caller);
  return static_cast<int>(pass(call, [&]() -> long { return next(fd); }));
}

}  // namespace

const char* sys_name(Sys what) {
  static constexpr const char* kNames[] = {"open",     "read",     "map",        "write",
                                           "allocate", "truncate", "sync",       "sync folder",
                                           "rename",   "unlink",   "make folder"};
  return kNames[static_cast<size_t>(what)];
}

void set_sys_hook(SysHook* hook, std::string root) {
  std::lock_guard lock(mutex);
  the_hook.store(nullptr);
  the_root = std::move(root);
  the_hook.store(hook);
}

}  // namespace covey

using namespace covey;

#define CALLER __builtin_return_address(0)

extern "C" {

int open64(const char* path, int flags, ...) {
  mode_t mode = 0;
  if (flags & (O_CREAT | O_TMPFILE)) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  std::string full = real_path(path);
  if (watched(full.c_str())) return open_watched(full.c_str(), flags, mode, CALLER);
  REAL(open64);
  return next(path, flags, mode);
}
int open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if (flags & (O_CREAT | O_TMPFILE)) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  std::string full = real_path(path);
  if (watched(full.c_str())) return open_watched(full.c_str(), flags, mode, CALLER);
  REAL(open64);
  return next(path, flags, mode);
}

int close(int fd) {
  REAL(close);
  if (fd >= 0 && fd < kDescriptorsMax) delete open_files[static_cast<size_t>(fd)].exchange(nullptr);
  return next(fd);
}

ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) {
  iovec piece{const_cast<void*>(bytes), size};
  if (OpenFile* open = watched(fd))
    return write_watched(*open, "pwrite", fd, &piece, 1, static_cast<uint64_t>(offset), CALLER);
  REAL(pwrite64);
  return next(fd, bytes, size, offset);
}
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  iovec piece{const_cast<void*>(bytes), size};
  if (OpenFile* open = watched(fd))
    return write_watched(*open, "pwrite", fd, &piece, 1, static_cast<uint64_t>(offset), CALLER);
  REAL(pwrite64);
  return next(fd, bytes, size, offset);
}

ssize_t pwritev64(int fd, const iovec* data, int pieces, off64_t offset) {
  if (OpenFile* open = watched(fd))
    return write_watched(*open, "pwritev", fd, data, pieces, static_cast<uint64_t>(offset), CALLER);
  REAL(pwritev64);
  return next(fd, data, pieces, offset);
}
ssize_t pwritev(int fd, const iovec* data, int pieces, off_t offset) {
  if (OpenFile* open = watched(fd))
    return write_watched(*open, "pwritev", fd, data, pieces, static_cast<uint64_t>(offset), CALLER);
  REAL(pwritev64);
  return next(fd, data, pieces, offset);
}

// At the file's own position, which the hook must not disturb.
static ssize_t write_here(const OpenFile& open, const char* function, int fd, const iovec* data,
                          int pieces, const void* caller) {
  off_t at = lseek(fd, 0, SEEK_CUR);
  ssize_t n = write_watched(open, function, fd, data, pieces, static_cast<uint64_t>(at), caller);
  int error_number = errno;
  if (n > 0) lseek(fd, at + n, SEEK_SET);
  errno = error_number;
  return n;
}
ssize_t write(int fd, const void* bytes, size_t size) {
  iovec piece{const_cast<void*>(bytes), size};
  if (OpenFile* open = watched(fd)) return write_here(*open, "write", fd, &piece, 1, CALLER);
  REAL(write);
  return next(fd, bytes, size);
}
ssize_t writev(int fd, const iovec* data, int pieces) {
  if (OpenFile* open = watched(fd)) return write_here(*open, "writev", fd, data, pieces, CALLER);
  REAL(writev);
  return next(fd, data, pieces);
}

ssize_t pread64(int fd, void* bytes, size_t size, off64_t offset) {
  REAL(pread64);
  OpenFile* open = watched(fd);
  if (!open) return next(fd, bytes, size, offset);
  SysCall call = call_on(Sys::kRead, "pread", *open, CALLER);
  call.offset = static_cast<uint64_t>(offset), call.size = size;
  return pass(call, [&]() -> long { return next(fd, bytes, size, offset); });
}
ssize_t pread(int fd, void* bytes, size_t size, off_t offset) {
  REAL(pread64);
  OpenFile* open = watched(fd);
  if (!open) return next(fd, bytes, size, offset);
  SysCall call = call_on(Sys::kRead, "pread", *open, CALLER);
  call.offset = static_cast<uint64_t>(offset), call.size = size;
  return pass(call, [&]() -> long { return next(fd, bytes, size, offset); });
}

static int allocate_watched(const OpenFile& open, const char* function, int fd, int mode,
                            off_t offset, off_t size, const void* caller) {
  REAL(fallocate64);
  SysCall call = call_on(Sys::kAllocate, function, open, caller);
  call.offset = static_cast<uint64_t>(offset), call.size = static_cast<uint64_t>(size);
  call.keep_size = mode & FALLOC_FL_KEEP_SIZE;
  return static_cast<int>(pass(call, [&]() -> long { return next(fd, mode, offset, size); }));
}
int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
  if (OpenFile* open = watched(fd))
    return allocate_watched(*open, "fallocate", fd, mode, offset, size, CALLER);
  REAL(fallocate64);
  return next(fd, mode, offset, size);
}
int fallocate(int fd, int mode, off_t offset, off_t size) {
  if (OpenFile* open = watched(fd))
    return allocate_watched(*open, "fallocate", fd, mode, offset, size, CALLER);
  REAL(fallocate64);
  return next(fd, mode, offset, size);
}
// These give the error as their result.
int posix_fallocate64(int fd, off64_t offset, off64_t size) {
  if (OpenFile* open = watched(fd))
    return allocate_watched(*open, "posix_fallocate", fd, 0, offset, size, CALLER) == 0 ? 0 : errno;
  REAL(posix_fallocate64);
  return next(fd, offset, size);
}
int posix_fallocate(int fd, off_t offset, off_t size) {
  if (OpenFile* open = watched(fd))
    return allocate_watched(*open, "posix_fallocate", fd, 0, offset, size, CALLER) == 0 ? 0 : errno;
  REAL(posix_fallocate64);
  return next(fd, offset, size);
}

int ftruncate64(int fd, off64_t size) noexcept {
  REAL(ftruncate64);
  OpenFile* open = watched(fd);
  if (!open) return next(fd, size);
  SysCall call = call_on(Sys::kTruncate, "ftruncate", *open, CALLER);
  call.size = static_cast<uint64_t>(size);
  return static_cast<int>(pass(call, [&]() -> long { return next(fd, size); }));
}
int ftruncate(int fd, off_t size) noexcept {
  REAL(ftruncate64);
  OpenFile* open = watched(fd);
  if (!open) return next(fd, size);
  SysCall call = call_on(Sys::kTruncate, "ftruncate", *open, CALLER);
  call.size = static_cast<uint64_t>(size);
  return static_cast<int>(pass(call, [&]() -> long { return next(fd, size); }));
}

int fsync(int fd) {
  if (OpenFile* open = watched(fd)) return sync_watched(*open, "fsync", fd, CALLER);
  REAL(fsync);
  return next(fd);
}
int fdatasync(int fd) {
  if (OpenFile* open = watched(fd)) return sync_watched(*open, "fdatasync", fd, CALLER);
  REAL(fdatasync);
  return next(fd);
}

int rename(const char* from, const char* to) noexcept {
  REAL(rename);
  if (!watched(from)) return next(from, to);
  SysCall call = call_on(Sys::kRename, "rename", from, CALLER);
  call.to = to;
  return static_cast<int>(pass(call, [&]() -> long { return next(from, to); }));
}
int unlink(const char* path) noexcept {
  REAL(unlink);
  if (!watched(path)) return next(path);
  SysCall call = call_on(Sys::kUnlink, "unlink", path, CALLER);
  return static_cast<int>(pass(call, [&]() -> long { return next(path); }));
}
int remove(const char* path) noexcept {
  REAL(remove);
  if (!watched(path)) return next(path);
  SysCall call = call_on(Sys::kUnlink, "remove", path, CALLER);
  return static_cast<int>(pass(call, [&]() -> long { return next(path); }));
}
int mkdir(const char* path, mode_t mode) noexcept {
  REAL(mkdir);
  if (!watched(path)) return next(path, mode);
  SysCall call = call_on(Sys::kMakeDir, "mkdir", path, CALLER);
  return static_cast<int>(pass(call, [&]() -> long { return next(path, mode); }));
}

// By system call: an allocator may map memory before anything else works, dlsym included.
static void* map(void* at, size_t size, int protection, int flags, int fd, off_t offset,
                 const void* caller) {
  auto make = [&] {
    return reinterpret_cast<void*>(syscall(SYS_mmap, at, size, protection, flags, fd, offset));
  };
  OpenFile* open = watched(fd);
  if (!open) return make();
  void* mapped = MAP_FAILED;
  SysCall call = call_on(Sys::kMap, "mmap", *open, caller);
  call.offset = static_cast<uint64_t>(offset), call.size = size;
  long rc = pass(call, [&]() -> long {
    mapped = make();
    return mapped == MAP_FAILED ? -1 : 0;
  });
  return rc == 0 ? mapped : MAP_FAILED;
}
void* mmap64(void* at, size_t size, int protection, int flags, int fd, off64_t offset) noexcept {
  return map(at, size, protection, flags, fd, offset, CALLER);
}
void* mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  return map(at, size, protection, flags, fd, offset, CALLER);
}

}  // extern "C"
