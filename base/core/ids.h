// Identifiers. Each is its own type so that one cannot be passed for another.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace covey {

std::string hex_encode(std::string_view bytes);
// nullopt unless `hex` is an even number of hexadecimal digits.
std::optional<std::string> hex_decode(std::string_view hex);

// N raw bytes with an order (byte order) and a hexadecimal form. Tag keeps the types apart.
template <class Tag, size_t N>
struct RawId {
  static constexpr size_t kSize = N;
  std::array<uint8_t, N> bytes{};

  auto operator<=>(const RawId&) const = default;

  std::string_view view() const { return {reinterpret_cast<const char*>(bytes.data()), N}; }
  std::string hex() const { return hex_encode(view()); }
  bool is_zero() const { return *this == RawId{}; }

  // nullopt unless `raw` is exactly N bytes.
  static std::optional<RawId> from_bytes(std::string_view raw) {
    if (raw.size() != N) return std::nullopt;
    RawId id;
    std::memcpy(id.bytes.data(), raw.data(), N);
    return id;
  }
  static std::optional<RawId> from_hex(std::string_view hex) {
    auto raw = hex_decode(hex);
    if (!raw) return std::nullopt;
    return from_bytes(*raw);
  }
};

// A node: its Ed25519 public key, made at first start.
using NodeId = RawId<struct NodeIdTag, 32>;
// A cluster: random, fixed at bootstrap; two clusters never merge.
using ClusterId = RawId<struct ClusterIdTag, 16>;
// A bucket: random at creation, so a bucket made again under an old name is another bucket.
using BucketId = RawId<struct BucketIdTag, 16>;
// One version of one object, and the owner of its blocks: random.
using VersionId = RawId<struct VersionIdTag, 16>;
// A multipart upload: random.
using UploadId = RawId<struct UploadIdTag, 16>;
// One attempt to change a register; found again in the row it wrote.
using OperationId = RawId<struct OperationIdTag, 16>;

using PartitionId = uint32_t;

// The first 8 hexadecimal digits: how logs and tables show a node.
inline std::string short_name(const NodeId& id) { return id.hex().substr(0, 8); }

}  // namespace covey

template <class Tag, size_t N>
struct std::hash<covey::RawId<Tag, N>> {
  size_t operator()(const covey::RawId<Tag, N>& id) const noexcept {
    size_t value;  // ids are random: any 8 bytes are a hash
    std::memcpy(&value, id.bytes.data(), sizeof value);
    return value;
  }
};
