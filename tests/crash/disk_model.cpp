#include "tests/crash/disk_model.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "base/core/check.h"
#include "tests/sim/sim_rng.h"

namespace covey {
namespace {

constexpr size_t kSectorBytes = 512;
constexpr size_t kPageBytes = 4096;

std::string parent_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

void resize(std::string& content, uint64_t size, bool garbage) {
  size_t old = content.size();
  content.resize(size, '\0');
  if (!garbage) return;
  for (size_t i = old; i < size; ++i) content[i] = static_cast<char>(0x5a ^ i ^ i >> 8);
}

// Which sectors of a torn write are there: any of them, all up to one, all from one on, or whole
// pages of it.
bool sector_kept(uint64_t seed, uint64_t sector, uint64_t sectors) {
  SimRng rng(seed);
  uint64_t shape = rng.below(4), cut = rng.below(sectors + 1);
  if (shape == 0) return sector < cut;
  if (shape == 1) return sector >= cut;
  if (shape == 2) sector /= kPageBytes / kSectorBytes;
  return SimRng(seed ^ (sector + 1) * 0x9e3779b97f4a7c15u).below(2) == 1;
}

void write(std::string& content, const DiskOp& op, Keep::How how, uint64_t seed, bool garbage) {
  if (how == Keep::How::kLost) return;
  uint64_t end = op.offset + op.bytes.size();
  if (how == Keep::How::kWhole) {
    if (content.size() < end) resize(content, end, false);
    std::memcpy(content.data() + op.offset, op.bytes.data(), op.bytes.size());
    return;
  }
  // The size may have grown without the bytes that belong there.
  if (content.size() < end) resize(content, end, garbage);
  uint64_t first = op.offset / kSectorBytes;
  uint64_t sectors = (end + kSectorBytes - 1) / kSectorBytes - first;
  for (uint64_t i = 0; i < sectors; ++i) {
    if (!sector_kept(seed, i, sectors)) continue;
    uint64_t from = std::max<uint64_t>(op.offset, (first + i) * kSectorBytes);
    uint64_t to = std::min<uint64_t>(end, (first + i + 1) * kSectorBytes);
    std::memcpy(content.data() + from, op.bytes.data() + (from - op.offset), to - from);
  }
}

void change(std::string& content, const DiskOp& op, Keep::How how, uint64_t seed, bool garbage) {
  if (op.kind == DiskOp::Kind::kWrite) return write(content, op, how, seed, garbage);
  if (how == Keep::How::kLost) return;
  if (!op.grow_only || content.size() < op.offset) resize(content, op.offset, false);
}

}  // namespace

std::string describe(const DiskOp& op) {
  static constexpr const char* kKinds[] = {"create", "make folder", "rename", "unlink",
                                           "write",  "resize",      "sync",   "sync folder"};
  std::string out = fmt::format("{} {}", kKinds[static_cast<size_t>(op.kind)], op.path);
  if (op.kind == DiskOp::Kind::kRename) out += " to " + op.to;
  if (op.kind == DiskOp::Kind::kWrite)
    out += fmt::format(" [{}, {}){}", op.offset, op.offset + op.bytes.size(),
                       op.synchronous ? ", synchronous" : "");
  if (op.kind == DiskOp::Kind::kResize) out += fmt::format(" to {}", op.offset);
  return out;
}

uint64_t DiskImage::hash() const {
  uint64_t sum = 0;
  for (const auto& [path, entry] : names) {
    uint64_t bytes = 1;
    if (!entry.folder) {
      const std::string& content = files.at(entry.file);
      bytes = XXH3_64bits(content.data(), content.size());
    }
    sum += XXH3_64bits_withSeed(path.data(), path.size(), bytes);
  }
  return sum;
}

void DiskImage::write_to(const std::string& dir) const {
  for (const auto& [path, entry] : names) {
    std::string full = dir + "/" + path;
    if (entry.folder) {
      CHECK(mkdir(full.c_str(), 0700) == 0);
      continue;
    }
    const std::string& content = files.at(entry.file);
    int fd = open(full.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, static_cast<off_t>(content.size())) == 0);
    static const std::string zeros(kPageBytes, '\0');
    size_t from = 0;  // runs of pages that are not all zeros
    for (size_t at = 0; at <= content.size(); at += kPageBytes) {
      size_t size = std::min(kPageBytes, content.size() - at);
      if (size > 0 && std::memcmp(content.data() + at, zeros.data(), size) != 0) continue;
      if (from < at)
        CHECK(pwrite(fd, content.data() + from, at - from, static_cast<off_t>(from)) ==
              static_cast<ssize_t>(at - from));
      from = at + size;
    }
    if (from < content.size())
      CHECK(pwrite(fd, content.data() + from, content.size() - from, static_cast<off_t>(from)) ==
            static_cast<ssize_t>(content.size() - from));
    close(fd);
  }
}

DiskModel::DiskModel(DiskImage durable) : durable_(std::move(durable)) {
  for (auto& [id, content] : durable_.files) files_[id].durable = std::move(content);
  durable_.files.clear();
}

void DiskModel::apply_name(DiskImage& image, const DiskOp& op) {
  auto parent = image.names.find(parent_of(op.kind == DiskOp::Kind::kRename ? op.to : op.path));
  bool has_parent = parent_of(op.kind == DiskOp::Kind::kRename ? op.to : op.path).empty() ||
                    parent != image.names.end();
  switch (op.kind) {
    case DiskOp::Kind::kCreate:
    case DiskOp::Kind::kMakeDir:
      if (has_parent) image.names[op.path] = {op.kind == DiskOp::Kind::kMakeDir, op.file};
      return;
    case DiskOp::Kind::kRename:  // that it happened implies that its source was there
      image.names.erase(op.path);
      if (has_parent) image.names[op.to] = {false, op.file};
      return;
    case DiskOp::Kind::kUnlink: image.names.erase(op.path); return;
    default: CHECK(false);
  }
}

void DiskModel::apply(const DiskOpRef& op) {
  using Kind = DiskOp::Kind;
  switch (op->kind) {
    case Kind::kWrite: files_[op->file].pending.push_back({op, op->synchronous}); return;
    case Kind::kResize: files_[op->file].pending.push_back({op, false}); return;
    case Kind::kSync: {
      File& file = files_[op->file];
      for (const Pending& p : file.pending)
        change(file.durable, *p.op, Keep::How::kWhole, 0, false);
      file.pending.clear();
      return;
    }
    case Kind::kSyncDir: {
      std::vector<DiskOpRef> rest;
      for (const DiskOpRef& name : names_) {
        bool here = parent_of(name->path) == op->path ||
                    (name->kind == Kind::kRename && parent_of(name->to) == op->path);
        if (here)
          apply_name(durable_, *name);
        else
          rest.push_back(name);
      }
      names_ = std::move(rest);
      return;
    }
    case Kind::kCreate:
      files_[op->file];
      names_.push_back(op);
      return;
    default: names_.push_back(op); return;
  }
}

size_t DiskModel::volatile_units(const DiskOp* next) const {
  size_t units = names_.size() + (next && next->synchronous ? 1 : 0);
  for (const auto& [id, file] : files_)
    units += static_cast<size_t>(std::count_if(file.pending.begin(), file.pending.end(),
                                               [](const Pending& p) { return !p.durable; }));
  return units;
}

std::vector<DiskOpRef> DiskModel::volatile_ops() const {
  std::vector<DiskOpRef> out = names_;
  for (const auto& [id, file] : files_)
    for (const Pending& p : file.pending)
      if (!p.durable) out.push_back(p.op);
  return out;
}

DiskImage DiskModel::image(const Keep& keep, const DiskOpRef& next) const {
  CHECK(keep.units.size() == volatile_units(next.get()));
  DiskImage out;
  out.names = durable_.names;
  size_t unit = 0;
  for (const DiskOpRef& op : names_)
    if (keep.units[unit++] != Keep::How::kLost) apply_name(out, *op);
  for (const auto& [id, file] : files_) {
    std::string content = file.durable;
    for (const Pending& p : file.pending) {
      Keep::How how = p.durable ? Keep::How::kWhole : keep.units[unit++];
      change(content, *p.op, how, keep.torn_seed + unit, keep.garbage);
    }
    if (next && next->synchronous && next->file == id)
      change(content, *next, keep.units.back(), keep.torn_seed, keep.garbage);
    out.files[id] = std::move(content);
  }
  return out;
}

DiskImage DiskModel::live() const {
  Keep all;
  all.units.assign(volatile_units(nullptr), Keep::How::kWhole);
  return image(all, nullptr);
}

}  // namespace covey
