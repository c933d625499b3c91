#include <openssl/evp.h>

#include <chrono>
#include <deque>

#include "base/core/check.h"
#include "base/core/ids.h"
#include "base/core/limits.h"
#include "store/objects/manifest.h"

namespace covey {
namespace {

// Fetched ahead of the one being sent: enough to keep a disk or a peer busy, little enough for
// 1,000 readers.
constexpr size_t kReadAheadPieces = 2;
// A reader that finds no memory goes on in such steps, one at a time: many clients that take their
// bodies slowly must not keep others from being served.
constexpr uint32_t kShortStepBytes = 64 * kKiB;
// Over a slow link; whether anybody answers is watched by BlockService.
constexpr Duration kBlockReadTimeout = std::chrono::seconds(50);

struct Fetch {
  Event done;
  std::optional<Result<Blob>> bytes;
};

struct Piece {
  PartitionId home = 0;
  BlockId block;
  uint32_t offset = 0, size = 0;
  Blob memory;  // an inline part: nothing to fetch
};

Task<Result<Blob>> get_leased(Blocks& blocks, Piece piece, TimePoint deadline, MemoryLease lease) {
  CO_TRY(Blob bytes,
         co_await blocks.get(piece.home, piece.block, piece.offset, piece.size, deadline));
  co_return leased(std::move(bytes), std::move(lease));
}

Task<void> fetch(Blocks& blocks, Piece piece, TimePoint deadline, MemoryLease lease,
                 std::shared_ptr<Fetch> out) {
  out->bytes.emplace(co_await get_leased(blocks, std::move(piece), deadline, std::move(lease)));
  out->done.set();
}

class ExtentReader : public BodyReader {
 public:
  ExtentReader(Runtime runtime, Scope& scope, MemoryShare& memory, Registers& registers,
               Blocks& blocks, PartitionId partition, rows::HeadRow head, uint64_t first,
               uint64_t length)
      : runtime_(runtime),
        scope_(scope),
        memory_(memory),
        registers_(registers),
        blocks_(blocks),
        partition_(partition),
        head_(std::move(head)),
        at_(first),
        end_(first + length) {}

  Task<Result<Blob>> next() override {
    CO_TRY_STATUS(co_await fill());
    if (pieces_.empty() && ahead_.empty()) co_return Blob();
    if (ahead_.empty() && pieces_.size() == 1) {  // the last or only one: nothing to overlap with
      MemoryLease lease = lease_next();
      Piece piece = take_piece(lease);
      if (!piece.memory.empty()) co_return piece.memory;
      co_return co_await get_leased(blocks_, std::move(piece), deadline(), std::move(lease));
    }
    start_fetches();
    std::shared_ptr<Fetch> first = std::move(ahead_.front());
    ahead_.pop_front();
    co_await first->done.wait();
    co_return std::move(*first->bytes);
  }

 private:
  TimePoint deadline() const { return runtime_.clock.after(kBlockReadTimeout); }

  // For the next piece; none if it needs none or there is none.
  MemoryLease lease_next() {
    if (!pieces_.front().memory.empty()) return {};
    std::optional<MemoryLease> lease = memory_.try_acquire(pieces_.front().size);
    if (!lease) return {};
    return std::move(*lease);
  }

  // The next piece, or as little of it as goes without a lease.
  Piece take_piece(const MemoryLease& lease) {
    Piece piece = pieces_.front();
    uint32_t step = kShortStepBytes - piece.offset % kShortStepBytes;
    if (lease || !piece.memory.empty() || piece.size <= step) {
      pieces_.pop_front();
      return piece;
    }
    piece.size = step;
    pieces_.front().offset += step;
    pieces_.front().size -= step;
    return piece;
  }

  void start_fetches() {
    while (!pieces_.empty() && ahead_.size() < 1 + kReadAheadPieces) {
      MemoryLease lease = lease_next();
      if (!lease && pieces_.front().memory.empty() && !ahead_.empty()) break;
      auto slot = std::make_shared<Fetch>();
      Piece piece = take_piece(lease);
      if (!piece.memory.empty()) {
        slot->bytes.emplace(std::move(piece.memory));
        slot->done.set();
      } else {
        scope_.spawn(fetch(blocks_, std::move(piece), deadline(), std::move(lease), slot));
      }
      ahead_.push_back(std::move(slot));
    }
  }

  // Plans more pieces when few are left: the head's extents at once, manifest chunks one at a time.
  Task<Status> fill() {
    while (pieces_.size() <= kReadAheadPieces && at_ < end_) {
      std::vector<rows::Extent> extents;
      uint64_t begin = 0;
      if (head_.chunk_offset().empty()) {
        extents.assign(head_.extents().begin(), head_.extents().end());
      } else {
        uint32_t index = chunk_of_offset(head_, at_);
        CO_TRY(rows::ManifestChunk chunk,
               co_await read_chunk(registers_, partition_, head_, index, deadline()));
        begin = chunk.offset();
        for (const auto& part : chunk.parts()) {
          extents.insert(extents.end(), part.extents().begin(), part.extents().end());
        }
      }
      uint64_t planned = plan(cut_extents(extents, at_ - begin, end_ - at_));
      if (planned == 0)
        co_return fail(ErrorCode::kCorrupt, "a manifest is shorter than its object");
      at_ += planned;
    }
    co_return Status();
  }

  uint64_t plan(const std::vector<rows::Extent>& extents) {
    uint64_t planned = 0;
    for (const auto& extent : extents) {
      planned += extent.size();
      if (!extent.inline_body().empty()) {
        Piece piece;
        piece.memory = Blob::copy(extent.inline_body());
        pieces_.push_back(std::move(piece));
        continue;
      }
      VersionId version = VersionId::from_bytes(extent.version()).value_or(VersionId{});
      uint64_t at = extent.offset(), end = extent.offset() + extent.size();
      uint64_t block_bytes = std::max<uint64_t>(1, extent.block_bytes());
      uint64_t step = blocks_.read_step(extent.home());
      while (at < end) {
        uint64_t index = at / block_bytes, within = at % block_bytes;
        // Steps begin at their multiples, so that none reads the chunk of a checksum twice.
        uint64_t size = std::min({end - at, block_bytes - within, step - within % step});
        Piece piece;
        piece.home = extent.home();
        piece.block = {version, static_cast<uint32_t>(index)};
        piece.offset = static_cast<uint32_t>(within);
        piece.size = static_cast<uint32_t>(size);
        pieces_.push_back(std::move(piece));
        at += size;
      }
    }
    return planned;
  }

  Runtime runtime_;
  Scope& scope_;
  MemoryShare& memory_;
  Registers& registers_;
  Blocks& blocks_;
  PartitionId partition_;
  rows::HeadRow head_;
  uint64_t at_, end_;
  std::deque<Piece> pieces_;
  std::deque<std::shared_ptr<Fetch>> ahead_;
};

class MemoryReader : public BodyReader {
 public:
  explicit MemoryReader(Blob body) : body_(std::move(body)) {}
  Task<Result<Blob>> next() override { co_return std::exchange(body_, Blob()); }

 private:
  Blob body_;
};

}  // namespace

std::unique_ptr<BodyReader> open_body_reader(Runtime runtime, Scope& scope, MemoryShare& memory,
                                             Registers& registers, Blocks& blocks,
                                             PartitionId partition, rows::HeadRow head,
                                             uint64_t first, uint64_t length) {
  return std::make_unique<ExtentReader>(runtime, scope, memory, registers, blocks, partition,
                                        std::move(head), first, length);
}

std::unique_ptr<BodyReader> memory_body_reader(Blob body) {
  return std::make_unique<MemoryReader>(std::move(body));
}

Task<Result<std::string>> md5_of(BodyReader& body, Pool& cpu) {
  std::shared_ptr<EVP_MD_CTX> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  CHECK(EVP_DigestInit_ex(context.get(), EVP_md5(), nullptr) == 1);
  while (true) {
    CO_TRY(Blob piece, co_await body.next());
    if (piece.empty()) break;
    // Named first: GCC 12 destroys a closure built inside a co_await expression twice.
    auto update = [context, piece] {
      return EVP_DigestUpdate(context.get(), piece.data(), piece.size());
    };
    co_await cpu.run(std::move(update));
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  CHECK(EVP_DigestFinal_ex(context.get(), digest, &size) == 1);
  co_return hex_encode(std::string_view(reinterpret_cast<char*>(digest), size));
}

}  // namespace covey
