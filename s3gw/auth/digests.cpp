#include "s3gw/auth/digests.h"

#include <isa-l/crc.h>
#include <openssl/evp.h>

#include <array>

#include "base/core/check.h"

namespace covey {
namespace {

// Fetched once: an implicit fetch at every init costs more than hashing a small body.
const EVP_MD* algorithm(DigestKind kind) {
  static EVP_MD* md5 = EVP_MD_fetch(nullptr, "MD5", nullptr);
  static EVP_MD* sha1 = EVP_MD_fetch(nullptr, "SHA1", nullptr);
  static EVP_MD* sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return kind == DigestKind::kMd5 ? md5 : kind == DigestKind::kSha1 ? sha1 : sha256;
}

bool is_crc(DigestKind kind) {
  return kind == DigestKind::kCrc32 || kind == DigestKind::kCrc32c ||
         kind == DigestKind::kCrc64Nvme;
}

// Slicing-by-8 (Kounavis and Berry, ISCC 2005) for the reflected polynomial 0x9a6c9329ac4bc9b5.
using Tables = std::array<std::array<uint64_t, 256>, 8>;
const Tables& nvme_tables() {
  static const Tables tables = [] {
    Tables t{};
    for (uint64_t i = 0; i < 256; ++i) {
      uint64_t value = i;
      for (int bit = 0; bit < 8; ++bit)
        value = value & 1 ? value >> 1 ^ 0x9a6c9329ac4bc9b5 : value >> 1;
      t[0][i] = value;
    }
    for (size_t i = 0; i < 256; ++i) {
      for (size_t k = 1; k < 8; ++k) t[k][i] = t[0][t[k - 1][i] & 255] ^ t[k - 1][i] >> 8;
    }
    return t;
  }();
  return tables;
}

uint64_t crc64_nvme(uint64_t crc, std::string_view bytes) {
  const Tables& t = nvme_tables();
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t left = bytes.size();
  crc = ~crc;
  for (; left >= 8; left -= 8, at += 8) {
    for (int i = 0; i < 8; ++i) crc ^= static_cast<uint64_t>(at[i]) << (8 * i);
    crc = t[7][crc & 255] ^ t[6][crc >> 8 & 255] ^ t[5][crc >> 16 & 255] ^ t[4][crc >> 24 & 255] ^
          t[3][crc >> 32 & 255] ^ t[2][crc >> 40 & 255] ^ t[1][crc >> 48 & 255] ^ t[0][crc >> 56];
  }
  for (; left > 0; --left, ++at) crc = t[0][(crc ^ *at) & 255] ^ crc >> 8;
  return ~crc;
}

}  // namespace

struct Digest::Openssl {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~Openssl() { EVP_MD_CTX_free(context); }
};

std::optional<DigestKind> checksum_kind(std::string_view name) {
  if (name == "CRC32") return DigestKind::kCrc32;
  if (name == "CRC32C") return DigestKind::kCrc32c;
  if (name == "CRC64NVME") return DigestKind::kCrc64Nvme;
  if (name == "SHA1") return DigestKind::kSha1;
  if (name == "SHA256") return DigestKind::kSha256;
  return std::nullopt;
}

size_t digest_bytes(DigestKind kind) {
  switch (kind) {
    case DigestKind::kMd5: return 16;
    case DigestKind::kSha1: return 20;
    case DigestKind::kSha256: return 32;
    case DigestKind::kCrc64Nvme: return 8;
    default: return 4;
  }
}

Digest::Digest(DigestKind kind) : kind_(kind) {
  if (is_crc(kind)) return;
  openssl_ = std::make_unique<Openssl>();
  CHECK(EVP_DigestInit_ex(openssl_->context, algorithm(kind), nullptr) == 1);
}
Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(std::string_view bytes) {
  auto* data = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));
  switch (kind_) {
    case DigestKind::kCrc32:
      crc_ = crc32_gzip_refl(static_cast<uint32_t>(crc_), data, bytes.size());
      return;
    case DigestKind::kCrc32c: {
      // ISA-L neither starts from nor ends with the inversion that the algorithm has, and counts in
      // int.
      uint32_t crc = ~static_cast<uint32_t>(crc_);
      for (std::string_view rest = bytes; !rest.empty();) {
        size_t take = std::min<size_t>(rest.size(), 1 << 30);
        crc = crc32_iscsi(reinterpret_cast<unsigned char*>(const_cast<char*>(rest.data())),
                          static_cast<int>(take), crc);
        rest.remove_prefix(take);
      }
      crc_ = static_cast<uint32_t>(~crc);
      return;
    }
    case DigestKind::kCrc64Nvme: crc_ = crc64_nvme(crc_, bytes); return;
    default: CHECK(EVP_DigestUpdate(openssl_->context, data, bytes.size()) == 1);
  }
}

std::string Digest::finish() {
  std::string raw;
  if (is_crc(kind_)) {
    for (int shift = static_cast<int>(digest_bytes(kind_)) * 8 - 8; shift >= 0; shift -= 8) {
      raw.push_back(static_cast<char>(crc_ >> shift));
    }
    crc_ = 0;
    return raw;
  }
  raw.resize(EVP_MAX_MD_SIZE);
  unsigned int size = 0;
  CHECK(EVP_DigestFinal_ex(openssl_->context, reinterpret_cast<unsigned char*>(raw.data()),
                           &size) == 1);
  raw.resize(size);
  CHECK(EVP_DigestInit_ex(openssl_->context, algorithm(kind_), nullptr) == 1);
  return raw;
}

std::string base64_encode(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                             reinterpret_cast<const unsigned char*>(bytes.data()),
                             static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(size));
  return text;
}

std::optional<std::string> base64_decode(std::string_view text, size_t want) {
  if (text.size() != 4 * ((want + 2) / 3)) return std::nullopt;
  std::string bytes(text.size(), '\0');
  int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                             reinterpret_cast<const unsigned char*>(text.data()),
                             static_cast<int>(text.size()));
  if (size < static_cast<int>(want)) return std::nullopt;
  bytes.resize(want);
  if (base64_encode(bytes) != text) return std::nullopt;
  return bytes;
}

}  // namespace covey
