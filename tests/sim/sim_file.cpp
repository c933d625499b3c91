#include "tests/sim/sim_file.h"

#include <algorithm>

namespace covey {
namespace {

tl::unexpected<Error> dead() {
  return fail(ErrorCode::kIo, "simulated disk: the machine lost power");
}

}  // namespace

Result<Blob> SimFile::read_now(uint64_t offset, size_t size_bytes) {
  if (!disk_.alive(epoch_)) return dead();
  if (disk_.faults.fail_reads > 0) {
    --disk_.faults.fail_reads;
    return fail(ErrorCode::kIo, "simulated disk: read failed");
  }
  return Blob::own(SimDisk::read_range(*inode_, offset, size_bytes));
}

Task<Result<Blob>> SimFile::read(uint64_t offset, size_t size_bytes) {
  bool up = co_await disk_.delay(false);
  if (!up) co_return dead();
  co_return read_now(offset, size_bytes);
}

// There is no page cache here to pass by.
Task<Result<Blob>> SimFile::read_once(uint64_t offset, size_t size_bytes) {
  co_return co_await read(offset, size_bytes);
}

Task<Status> SimFile::write(uint64_t offset, std::vector<Blob> pieces) {
  if (!disk_.alive(epoch_)) co_return dead();
  std::string bytes;
  for (const Blob& piece : pieces) bytes.append(piece.view());
  Status written = disk_.write_inode(path_, *inode_, offset, bytes);
  disk_.count_write();  // a crash here finds the write unsynced
  if (!disk_.alive(epoch_)) co_return dead();
  bool up = co_await disk_.delay(false);
  if (!up) co_return dead();
  co_return written;
}

Task<Status> SimFile::sync() {
  if (!disk_.alive(epoch_)) co_return dead();
  uint64_t covered = disk_.write_number_;
  disk_.count_write();
  if (!disk_.alive(epoch_)) co_return dead();
  bool up = co_await disk_.delay(true);
  if (!up) co_return dead();
  if (disk_.faults.fail_syncs > 0) {
    --disk_.faults.fail_syncs;
    SimDisk::forsake(*inode_, covered);
    co_return fail(ErrorCode::kIo, "simulated disk: sync failed");
  }
  SimDisk::make_durable(*inode_, covered);
  ++disk_.syncs_done_;
  co_return Status();
}

Task<Status> SimFile::write_sync(uint64_t offset, std::vector<Blob> pieces) {
  Status written = co_await write(offset, std::move(pieces));
  if (!written) co_return written;
  co_return co_await sync();
}

Task<Status> SimFile::allocate(uint64_t size_bytes) {
  if (!disk_.alive(epoch_)) co_return dead();
  if (size_bytes > inode_->size) {
    uint64_t capacity = disk_.faults.capacity_bytes;
    uint64_t free = capacity - std::min(capacity, disk_.used_bytes());
    if (size_bytes - inode_->size > free)
      co_return fail(ErrorCode::kNoSpace, "simulated disk: full");
    SimDisk::set_size(*inode_, size_bytes, ++disk_.write_number_);
  }
  disk_.count_write();
  if (!disk_.alive(epoch_)) co_return dead();
  bool up = co_await disk_.delay(false);
  if (!up) co_return dead();
  co_return Status();
}

Task<Status> SimFile::truncate(uint64_t size_bytes) {
  if (!disk_.alive(epoch_)) co_return dead();
  SimDisk::set_size(*inode_, size_bytes, ++disk_.write_number_);
  disk_.count_write();
  if (!disk_.alive(epoch_)) co_return dead();
  bool up = co_await disk_.delay(false);
  if (!up) co_return dead();
  co_return Status();
}

}  // namespace covey
