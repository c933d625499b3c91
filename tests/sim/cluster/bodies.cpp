#include "tests/sim/cluster/bodies.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

#include "base/core/check.h"
#include "base/core/ids.h"

namespace covey::sim {
namespace {

constexpr size_t kPieceBytes = 300'000;  // no multiple of a block

uint64_t word(const Chunk& chunk, uint64_t index) {
  uint64_t z = static_cast<uint64_t>(chunk.write) * 0x9e3779b97f4a7c15ull +
               chunk.part * 0x10001ull + index * 0xd1342543de82ef95ull + 1;
  z = (z ^ (z >> 29)) * 0xbf58476d1ce4e5b9ull;
  return z ^ (z >> 32);
}

}  // namespace

std::string chunk_bytes(const Chunk& chunk, size_t offset, size_t size) {
  std::string bytes(size, '\0');
  for (size_t done = 0; done < size;) {
    size_t at = offset + done, inside = at % 8, n = std::min(8 - inside, size - done);
    uint64_t value = word(chunk, at / 8);
    std::memcpy(bytes.data() + done, reinterpret_cast<const char*>(&value) + inside, n);
    done += n;
  }
  return bytes;
}

std::string chunk_etag(const Chunk& chunk) {
  Chunk named = chunk;
  named.part += 1'000'000;
  return hex_encode(chunk_bytes(named, 0, 16));
}

std::string upload_etag(const std::vector<Chunk>& parts) {
  std::string md5s;
  for (const Chunk& part : parts) md5s += *hex_decode(chunk_etag(part));
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  CHECK(EVP_Digest(md5s.data(), md5s.size(), digest, &size, EVP_md5(), nullptr) == 1);
  return hex_encode({reinterpret_cast<char*>(digest), size}) + "-" + std::to_string(parts.size());
}

Task<Result<Blob>> ChunkSource::next(size_t max_bytes) {
  size_t take = std::min({max_bytes, kPieceBytes, chunk_.bytes - at_});
  at_ += take;
  co_return Blob::own(chunk_bytes(chunk_, at_ - take, take));
}

Task<Result<BodyDigests>> ChunkSource::finish() {
  BodyDigests digests;
  digests.etag = chunk_etag(chunk_);
  digests.md5 = *hex_decode(digests.etag);
  co_return digests;
}

void ChunkCheck::skip_empty() {
  while (chunk_ < chunks_.size() && at_ == chunks_[chunk_].bytes) ++chunk_, at_ = 0;
}

bool ChunkCheck::take(std::string_view bytes) {
  for (skip_empty(); !bytes.empty(); skip_empty()) {
    if (complete()) return false;
    size_t n = std::min(bytes.size(), chunks_[chunk_].bytes - at_);
    if (bytes.substr(0, n) != chunk_bytes(chunks_[chunk_], at_, n)) return false;
    at_ += n;
    bytes.remove_prefix(n);
  }
  return true;
}

}  // namespace covey::sim
