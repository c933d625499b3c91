#include "tests/sim/sim_disk.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/core/check.h"
#include "tests/sim/sim_file.h"

namespace covey {
namespace {

tl::unexpected<Error> power_lost() {
  return fail(ErrorCode::kIo, "simulated disk: the machine lost power");
}
bool take(uint32_t& count) { return count > 0 && count--; }

}  // namespace

std::string SimDisk::folder_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string SimDisk::read_range(const Inode& inode, uint64_t offset, size_t size_bytes) {
  if (offset >= inode.size) return {};
  std::string out(std::min<uint64_t>(size_bytes, inode.size - offset), '\0');
  for (size_t done = 0; done < out.size();) {
    uint64_t at = offset + done;
    size_t inside = at % kSimSectorBytes;
    size_t n = std::min(kSimSectorBytes - inside, out.size() - done);
    auto sector = inode.sectors.find(at / kSimSectorBytes);
    if (sector != inode.sectors.end())
      std::memcpy(out.data() + done, sector->second.data() + inside, n);
    done += n;
  }
  return out;
}

struct SimDisk::Image {
  std::map<std::string, InodeRef> entries;
};

std::map<std::string, SimDisk::InodeRef> SimDisk::copy(
    const std::map<std::string, InodeRef>& entries) {
  std::map<std::string, InodeRef> copies;
  for (const auto& [path, inode] : entries) {
    copies[path] = std::make_shared<Inode>();
    copies[path]->size = inode->size;
    copies[path]->sectors = inode->sectors;
  }
  return copies;
}

std::shared_ptr<const SimDisk::Image> SimDisk::image() const {
  return std::make_shared<const Image>(Image{copy(entries_)});
}

void SimDisk::restore(const Image& image) {
  entries_ = copy(image.entries);
  durable_entries_ = entries_;
  unsynced_.clear();
  halt();
}

void SimDisk::write_sector(Inode& inode, uint64_t index, const Sector& bytes, uint64_t number) {
  auto [sector, fresh] = inode.sectors.try_emplace(index, Sector{});
  inode.older[index].push_back({sector->second, number});
  sector->second = bytes;
}

void SimDisk::set_size(Inode& inode, uint64_t size, uint64_t number) {
  if (size == inode.size) return;
  if (size < inode.size) {  // what is cut off reads as zeros should the file grow again
    std::vector<uint64_t> cut;
    for (auto& [index, bytes] : inode.sectors)
      if ((index + 1) * kSimSectorBytes > size) cut.push_back(index);
    for (uint64_t index : cut) {
      Sector bytes = inode.sectors[index];
      size_t keep = index * kSimSectorBytes < size ? size - index * kSimSectorBytes : 0;
      std::fill(bytes.begin() + keep, bytes.end(), '\0');
      write_sector(inode, index, bytes, number);
    }
  }
  inode.older_sizes.emplace_back(inode.size, number);
  inode.size = size;
}

void SimDisk::write_range(Inode& inode, uint64_t offset, std::string_view bytes, uint64_t number) {
  for (size_t done = 0; done < bytes.size();) {
    uint64_t at = offset + done;
    size_t inside = at % kSimSectorBytes;
    size_t n = std::min(kSimSectorBytes - inside, bytes.size() - done);
    uint64_t index = at / kSimSectorBytes;
    auto old = inode.sectors.find(index);
    Sector sector = old == inode.sectors.end() ? Sector{} : old->second;
    std::memcpy(sector.data() + inside, bytes.data() + done, n);
    write_sector(inode, index, sector, number);
    done += n;
  }
  set_size(inode, std::max(inode.size, offset + bytes.size()), number);
}

void SimDisk::make_durable(Inode& inode, uint64_t number) {
  for (auto it = inode.older.begin(); it != inode.older.end();) {
    // Up to the last write that reached the disk; those before it do not matter any more.
    auto last = std::find_if(it->second.rbegin(), it->second.rend(),
                             [&](const OldVersion& old) { return old.replaced_by <= number; });
    it->second.erase(it->second.begin(), last.base());
    it = it->second.empty() ? inode.older.erase(it) : std::next(it);
  }
  std::erase_if(inode.older_sizes, [&](auto& old) { return old.second <= number; });
}

// A sync failed: the kernel takes what it covered for clean.
void SimDisk::forsake(Inode& inode, uint64_t number) {
  for (auto& [index, versions] : inode.older)
    for (OldVersion& old : versions)
      if (old.replaced_by <= number) old.replaced_by = UINT64_MAX;
}

void SimDisk::apply(std::map<std::string, InodeRef>& entries, const DirChange& change) {
  if (!change.gone.empty()) entries.erase(change.gone);
  if (!change.made.empty()) entries[change.made] = change.inode;
}

void SimDisk::change(DirChange change) {
  apply(entries_, change);
  unsynced_.push_back(std::move(change));
}

void SimDisk::crash_inode(Inode& inode, Rng* rng) {
  for (auto& [index, versions] : inode.older) {
    size_t pick = rng ? rng->below(versions.size() + 1) : 0;
    if (pick < versions.size()) inode.sectors[index] = versions[pick].bytes;
  }
  inode.older.clear();
  if (!inode.older_sizes.empty()) {
    size_t pick = rng ? rng->below(inode.older_sizes.size() + 1) : 0;
    if (pick < inode.older_sizes.size()) inode.size = inode.older_sizes[pick].first;
  }
  inode.older_sizes.clear();
  uint64_t end = (inode.size + kSimSectorBytes - 1) / kSimSectorBytes;
  std::erase_if(inode.sectors, [&](auto& sector) { return sector.first >= end; });
  if (size_t tail = inode.size % kSimSectorBytes; tail && inode.sectors.contains(end - 1)) {
    Sector& last = inode.sectors[end - 1];
    std::fill(last.begin() + static_cast<ptrdiff_t>(tail), last.end(), '\0');
  }
}

void SimDisk::crash_with(Rng* rng) {
  crash_countdown_ = UINT64_MAX;
  ++crashes_;
  for (DirChange& change : unsynced_)
    if (rng && rng->chance(0.5)) apply(durable_entries_, change);
  unsynced_.clear();
  entries_ = durable_entries_;
  std::set<Inode*> seen;
  for (auto& [path, inode] : entries_)
    if (seen.insert(inode.get()).second) crash_inode(*inode, rng);
}

void SimDisk::crash(Rng& rng) { crash_with(&rng); }
void SimDisk::crash_dropping_all() { crash_with(nullptr); }

void SimDisk::wipe() {
  crash_with(nullptr);
  entries_.clear();
  durable_entries_.clear();
  folders_ = {"", "/", "."};
  faults = SimDiskFaults();
}

void SimDisk::count_write() {
  ++writes_started_;
  if (crash_countdown_ == UINT64_MAX || crash_countdown_-- > 0) return;
  crash_with(&rng_);
  if (on_power_loss) on_power_loss();
}

void SimDisk::flip_bit(const std::string& path, uint64_t offset, uint8_t bit) {
  CHECK(entries_.contains(path) && offset < entries_[path]->size);
  Sector& sector = entries_[path]->sectors.try_emplace(offset / kSimSectorBytes).first->second;
  sector[offset % kSimSectorBytes] ^= static_cast<char>(1u << (bit % 8));
}

void SimDisk::cut_file(const std::string& path, uint64_t size) {
  CHECK(entries_.contains(path));
  Inode& inode = *entries_[path];
  if (size >= inode.size) return;
  set_size(inode, size, 0);  // as old as can be: no crash brings it back
  make_durable(inode, 0);
  inode.older.erase(inode.older.lower_bound(size / kSimSectorBytes), inode.older.end());
  inode.older_sizes.clear();
}

uint64_t SimDisk::file_size(const std::string& path) const {
  auto it = entries_.find(path);
  return it == entries_.end() ? 0 : it->second->size;
}

uint64_t SimDisk::written_bytes(const std::string& path) const {
  uint64_t end = 0;
  auto it = entries_.find(path);
  if (it == entries_.end()) return end;
  for (auto& [index, sector] : it->second->sectors)
    end = std::max(end, (index + 1) * kSimSectorBytes);
  return std::min(end, it->second->size);
}

std::string SimDisk::content(const std::string& path) const {
  auto it = entries_.find(path);
  return it == entries_.end() ? "" : read_range(*it->second, 0, it->second->size);
}

std::vector<std::string> SimDisk::paths() const {
  std::vector<std::string> out;
  for (auto& [path, inode] : entries_) out.push_back(path);
  return out;
}

uint64_t SimDisk::used_bytes() const {
  uint64_t sum = 0;
  for (auto& [path, inode] : entries_) sum += inode->size;
  return sum;
}

Task<bool> SimDisk::delay(bool sync) {
  uint64_t epoch = crashes_;
  Duration d = faults.latency_min;
  if (faults.latency_max > faults.latency_min)
    d += Duration(rng_.below(static_cast<uint64_t>((faults.latency_max - d).count()) + 1));
  if (sync) d += faults.sync_latency;
  if (d.count() > 0)
    co_await loop_.sleep(d);
  else
    co_await loop_.yield();
  co_return alive(epoch);
}

Status SimDisk::write_inode(const std::string& path, Inode& inode, uint64_t offset,
                            const std::string& bytes) {
  uint64_t number = ++write_number_;
  if (take(faults.fail_writes)) {
    write_range(inode, offset, std::string_view(bytes).substr(0, rng_.below(bytes.size() + 1)),
                number);
    return fail(ErrorCode::kIo, "simulated disk: write failed");
  }
  uint64_t end = offset + bytes.size();
  if (end > inode.size &&
      end - inode.size > faults.capacity_bytes - std::min(faults.capacity_bytes, used_bytes()))
    return fail(ErrorCode::kNoSpace, "simulated disk: full");
  if (path.starts_with(faults.misdirect_below) && take(faults.misdirect_writes)) {
    ++misdirected_;
    uint64_t sectors = inode.size / kSimSectorBytes + 1;
    write_range(inode, rng_.below(sectors) * kSimSectorBytes, bytes, number);
    return {};
  }
  if (take(faults.tear_writes)) {
    set_size(inode, std::max(inode.size, end), number);
    for (size_t done = 0; done < bytes.size();) {
      size_t n = std::min(kSimSectorBytes - (offset + done) % kSimSectorBytes, bytes.size() - done);
      if (rng_.chance(0.5))
        write_range(inode, offset + done, std::string_view(bytes).substr(done, n), number);
      done += n;
    }
    return {};
  }
  write_range(inode, offset, bytes, number);
  return {};
}

Task<Result<std::unique_ptr<File>>> SimDisk::open(std::string path, Open mode) {
  bool up = co_await delay(false);
  if (!up) co_return power_lost();
  auto it = entries_.find(path);
  if (mode == Open::kCreate) {
    if (it != entries_.end()) co_return fail(ErrorCode::kAlreadyExists, path + " exists");
    if (!folders_.contains(folder_of(path)))
      co_return fail(ErrorCode::kNotFound, "no folder for " + path);
    change({"", path, std::make_shared<Inode>()});
    it = entries_.find(path);
  }
  if (it == entries_.end()) co_return fail(ErrorCode::kNotFound, path + " does not exist");
  std::unique_ptr<File> file =
      std::make_unique<SimFile>(*this, std::move(path), it->second, crashes_);
  co_return std::move(file);
}

Task<Status> SimDisk::rename(std::string from, std::string to) {
  bool up = co_await delay(false);
  if (!up) co_return power_lost();
  auto it = entries_.find(from);
  if (it == entries_.end()) co_return fail(ErrorCode::kNotFound, from + " does not exist");
  InodeRef inode = it->second;
  change({from, to, inode});
  co_return Status();
}

Task<Status> SimDisk::remove(std::string path) {
  bool up = co_await delay(false);
  if (!up) co_return power_lost();
  if (!entries_.contains(path)) co_return fail(ErrorCode::kNotFound, path + " does not exist");
  change({path, "", nullptr});
  co_return Status();
}

Task<Status> SimDisk::make_dir(std::string path) {
  bool up = co_await delay(false);
  if (!up) co_return power_lost();
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
    folders_.insert(path.substr(0, at));
  folders_.insert(path);
  co_return Status();
}

Task<Status> SimDisk::sync_dir(std::string path) {
  uint64_t epoch = crashes_;
  count_write();
  size_t covered = unsynced_.size();
  if (!alive(epoch)) co_return power_lost();
  bool up = co_await delay(true);
  if (!up) co_return power_lost();
  if (take(faults.fail_syncs)) co_return fail(ErrorCode::kIo, "simulated disk: sync_dir failed");
  std::vector<DirChange> rest;
  for (size_t i = 0; i < unsynced_.size(); ++i) {
    DirChange& change = unsynced_[i];
    bool here = (!change.gone.empty() && folder_of(change.gone) == path) ||
                (!change.made.empty() && folder_of(change.made) == path);
    if (here && i < covered)
      apply(durable_entries_, change);
    else
      rest.push_back(std::move(change));
  }
  unsynced_ = std::move(rest);
  ++syncs_done_;
  co_return Status();
}

Task<Result<std::vector<std::string>>> SimDisk::list(std::string path) {
  bool up = co_await delay(false);
  if (!up) co_return power_lost();
  if (!folders_.contains(path)) co_return fail(ErrorCode::kNotFound, "no folder " + path);
  std::set<std::string> names;
  std::string prefix = path.empty() || path.back() == '/' ? path : path + "/";
  auto add = [&](const std::string& entry) {
    if (entry.size() > prefix.size() && entry.starts_with(prefix))
      names.insert(entry.substr(prefix.size(), entry.find('/', prefix.size()) - prefix.size()));
  };
  for (auto& [entry, inode] : entries_) add(entry);
  for (const std::string& folder : folders_) add(folder);
  co_return std::vector<std::string>(names.begin(), names.end());
}

Task<Result<DiskSpace>> SimDisk::space(std::string path) {
  bool up = co_await delay(false);
  if (!up) co_return power_lost();
  DiskSpace space;
  space.total_bytes = faults.capacity_bytes;
  space.free_bytes = space.total_bytes - std::min(space.total_bytes, used_bytes());
  co_return space;
}

}  // namespace covey
