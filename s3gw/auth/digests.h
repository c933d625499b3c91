// Running digests of a body: MD5, SHA-1, SHA-256 by OpenSSL, CRCs by ISA-L (CRC-64/NVME by table).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace covey {

enum class DigestKind { kMd5, kSha1, kSha256, kCrc32, kCrc32c, kCrc64Nvme };

// "CRC32C" -> kCrc32c; nullopt for what S3 does not know.
std::optional<DigestKind> checksum_kind(std::string_view algorithm);
size_t digest_bytes(DigestKind kind);

class Digest {
 public:
  explicit Digest(DigestKind kind);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(std::string_view bytes);
  // The raw digest (CRCs big-endian); the digest then starts again.
  std::string finish();

 private:
  struct Openssl;
  DigestKind kind_;
  uint64_t crc_ = 0;
  std::unique_ptr<Openssl> openssl_;
};

std::string base64_encode(std::string_view bytes);
// nullopt unless it is padded base64 of exactly `want` bytes.
std::optional<std::string> base64_decode(std::string_view text, size_t want);

}  // namespace covey
