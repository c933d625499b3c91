#include "tests/crash/recorder.h"

#include <algorithm>

#include "base/core/check.h"

namespace covey {
namespace {

// Only speed depends on them: tmpfs keeps no promise that they ask for, and the model keeps its
// own account of what is durable.
bool costs_only_time(const SysCall& call) {
  bool ahead = call.what == Sys::kAllocate && call.keep_size;
  return ahead || call.what == Sys::kSync || call.what == Sys::kSyncDir;
}
// LMDB's lock file is shared memory, made anew by the first process that opens it.
bool lock_file(const std::string& path) { return path.ends_with("-lock"); }

}  // namespace

Recorder::Recorder(std::string root, const DiskImage& start) : root_(std::move(root)) {
  for (const auto& [path, entry] : start.names)
    if (!entry.folder) names_[path] = entry.file;
  for (const auto& [id, content] : start.files) last_file_ = std::max(last_file_, id);
  set_sys_hook(this, root_);
}

std::string Recorder::relative(const std::string& path) const {
  CHECK(path.starts_with(root_));
  std::string out = path.substr(root_.size());
  out.erase(0, out.find_first_not_of('/'));
  while (out.ends_with('/')) out.pop_back();
  return out;
}

DiskOp& Recorder::add(DiskOp::Kind kind, const std::string& path) {
  auto op = std::make_shared<DiskOp>();
  op->kind = kind;
  op->path = relative(path);
  ops_.push_back(op);
  return *op;
}

std::optional<long> Recorder::before(SysCall& call) {
  if (costs_only_time(call)) return 0;
  return std::nullopt;
}

void Recorder::after(SysCall& call, long result) {
  if (result < 0 || lock_file(call.path)) return;
  using Kind = DiskOp::Kind;
  switch (call.what) {
    case Sys::kOpen: {
      if (call.created) {
        DiskOp& op = add(Kind::kCreate, call.path);
        names_[op.path] = op.file = ++last_file_;
      }
      auto known = names_.find(relative(call.path));
      call.file = known == names_.end() ? 0 : known->second;
      return;
    }
    case Sys::kWrite: {
      DiskOp& op = add(Kind::kWrite, call.path);
      op.file = call.file, op.offset = call.offset, op.synchronous = call.synchronous;
      for (const iovec& piece : call.data)
        op.bytes.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
      op.bytes.resize(static_cast<size_t>(result));
      return;
    }
    case Sys::kAllocate: {
      if (call.keep_size) return;
      DiskOp& op = add(Kind::kResize, call.path);
      op.file = call.file, op.offset = call.offset + call.size, op.grow_only = true;
      return;
    }
    case Sys::kTruncate: {
      DiskOp& op = add(Kind::kResize, call.path);
      op.file = call.file, op.offset = call.size;
      return;
    }
    case Sys::kSync: add(Kind::kSync, call.path).file = call.file; return;
    case Sys::kSyncDir: add(Kind::kSyncDir, call.path); return;
    case Sys::kRename: {
      DiskOp& op = add(Kind::kRename, call.path);
      op.to = relative(call.to);
      op.file = names_.at(op.path);
      names_.erase(op.path);
      names_[op.to] = op.file;
      return;
    }
    case Sys::kUnlink: names_.erase(add(Kind::kUnlink, call.path).path); return;
    case Sys::kMakeDir: add(Kind::kMakeDir, call.path); return;
    case Sys::kRead:
    case Sys::kMap: return;
  }
}

std::optional<long> NoSyncs::before(SysCall& call) {
  if (costs_only_time(call)) return 0;
  return std::nullopt;
}

}  // namespace covey
