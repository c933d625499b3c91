#include "store/objects/checksum.h"

#include <openssl/evp.h>

#include <array>
#include <optional>

namespace covey {
namespace {

// A reflected CRC whose register starts as, and is finally XORed with, all ones.
struct Crc {
  unsigned bits;
  uint64_t polynomial;
};

std::optional<Crc> crc_of(const std::string& algorithm) {
  if (algorithm == "CRC32") return Crc{32, 0xedb88320};
  if (algorithm == "CRC32C") return Crc{32, 0x82f63b78};
  if (algorithm == "CRC64NVME") return Crc{64, 0x9a6c9329ac4bc9b5};
  return std::nullopt;
}

std::string encode(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                             reinterpret_cast<const unsigned char*>(bytes.data()),
                             static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(size));
  return text;
}

std::optional<std::string> decode(const std::string& text, size_t want) {
  if (text.size() != 4 * ((want + 2) / 3)) return std::nullopt;
  std::string bytes(text.size(), '\0');
  int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                             reinterpret_cast<const unsigned char*>(text.data()),
                             static_cast<int>(text.size()));
  if (size < static_cast<int>(want)) return std::nullopt;
  bytes.resize(want);
  return bytes;
}

uint64_t crc_bytes(const Crc& crc, std::string_view bytes) {
  uint64_t all = crc.bits == 64 ? ~0ull : 0xffffffffull, value = all;
  for (unsigned char byte : bytes) {
    value ^= byte;
    for (int i = 0; i < 8; ++i) value = value & 1 ? value >> 1 ^ crc.polynomial : value >> 1;
  }
  return value ^ all;
}

std::string big_endian(uint64_t value, unsigned bits) {
  std::string bytes;
  for (int shift = static_cast<int>(bits) - 8; shift >= 0; shift -= 8)
    bytes.push_back(static_cast<char>(value >> shift));
  return bytes;
}

uint64_t from_big_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (unsigned char byte : bytes) value = value << 8 | byte;
  return value;
}

// Appending zero bytes to a message is a linear map of its CRC over GF(2); a matrix squared appends
// twice as many.
using Matrix = std::array<uint64_t, 64>;

uint64_t multiply(const Matrix& matrix, uint64_t vector) {
  uint64_t sum = 0;
  for (size_t i = 0; vector != 0; vector >>= 1, ++i) {
    if (vector & 1) sum ^= matrix[i];
  }
  return sum;
}

Matrix square(const Matrix& matrix, unsigned bits) {
  Matrix squared{};
  for (unsigned i = 0; i < bits; ++i) squared[i] = multiply(matrix, matrix[i]);
  return squared;
}

// The CRC of A followed by B, from crc(A), crc(B) and B's size.
uint64_t combine(const Crc& crc, uint64_t first, uint64_t second, uint64_t second_bytes) {
  Matrix matrix{};
  matrix[0] = crc.polynomial;  // one zero bit
  for (unsigned i = 1; i < crc.bits; ++i) matrix[i] = 1ull << (i - 1);
  for (int doubled = 0; doubled < 3; ++doubled) matrix = square(matrix, crc.bits);  // one zero byte
  for (; second_bytes != 0; second_bytes >>= 1) {
    if (second_bytes & 1) first = multiply(matrix, first);
    if (second_bytes > 1) matrix = square(matrix, crc.bits);
  }
  return first ^ second;
}

Result<size_t> digest_bytes(const std::string& algorithm) {
  if (auto crc = crc_of(algorithm)) return crc->bits / 8;
  if (algorithm == "SHA1") return 20;
  if (algorithm == "SHA256") return 32;
  return fail(ErrorCode::kInvalid, "unknown checksum algorithm " + algorithm);
}

}  // namespace

Result<std::string> composite_checksum(const std::string& algorithm,
                                       const std::vector<std::string>& values) {
  TRY(size_t size, digest_bytes(algorithm));
  std::string joined;
  for (const std::string& value : values) {
    auto raw = decode(value, size);
    if (!raw) return fail(ErrorCode::kInvalid, "a part's checksum is not " + algorithm);
    joined += *raw;
  }
  std::string digest;
  if (auto crc = crc_of(algorithm)) {
    digest = big_endian(crc_bytes(*crc, joined), crc->bits);
  } else {
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned int raw_size = 0;
    const EVP_MD* kind = algorithm == "SHA1" ? EVP_sha1() : EVP_sha256();
    if (EVP_Digest(joined.data(), joined.size(), raw, &raw_size, kind, nullptr) != 1) {
      return fail(ErrorCode::kInvalid, algorithm + " is not available in this OpenSSL");
    }
    digest.assign(reinterpret_cast<char*>(raw), raw_size);
  }
  return encode(digest) + "-" + std::to_string(values.size());
}

Result<std::string> combine_full_object(
    const std::string& algorithm, const std::vector<std::pair<std::string, uint64_t>>& parts) {
  auto crc = crc_of(algorithm);
  if (!crc) return fail(ErrorCode::kInvalid, algorithm + " has no full-object form");
  uint64_t whole = 0;
  bool first = true;
  for (const auto& [value, size] : parts) {
    auto raw = decode(value, crc->bits / 8);
    if (!raw) return fail(ErrorCode::kInvalid, "a part's checksum is not " + algorithm);
    uint64_t part = from_big_endian(*raw);
    whole = first ? part : combine(*crc, whole, part, size);
    first = false;
  }
  return encode(big_endian(whole, crc->bits));
}

}  // namespace covey
