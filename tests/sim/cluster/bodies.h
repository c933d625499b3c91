// Bodies whose bytes follow from the write that made them, so that a byte of another write, block
// or offset shows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/objects/body.h"

namespace covey::sim {

struct Chunk {  // one part of an upload, or a whole simple object (part 0)
  int write = 0;
  uint32_t part = 0;
  size_t bytes = 0;
};

// `size` bytes of the chunk from `offset` on.
std::string chunk_bytes(const Chunk& chunk, size_t offset, size_t size);
// Its MD5 as a client would name it; here made from its identity.
std::string chunk_etag(const Chunk& chunk);
// The ETag of an object made from these parts.
std::string upload_etag(const std::vector<Chunk>& parts);

class ChunkSource final : public BodySource {
 public:
  explicit ChunkSource(Chunk chunk) : chunk_(chunk) {}
  int64_t declared_bytes() const override { return static_cast<int64_t>(chunk_.bytes); }
  Task<Result<Blob>> next(size_t max_bytes) override;
  Task<Result<BodyDigests>> finish() override;

 private:
  Chunk chunk_;
  size_t at_ = 0;
};

// Compares an object's bytes as they come.
class ChunkCheck {
 public:
  explicit ChunkCheck(std::vector<Chunk> chunks) : chunks_(std::move(chunks)) {}
  // False at the first wrong byte.
  bool take(std::string_view bytes);
  bool complete() {
    skip_empty();
    return chunk_ == chunks_.size();
  }

 private:
  void skip_empty();
  std::vector<Chunk> chunks_;
  size_t chunk_ = 0, at_ = 0;
};

}  // namespace covey::sim
