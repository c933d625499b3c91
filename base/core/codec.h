// Writer and Reader for fixed binary formats (journal, segments, ranks, keys). Little-endian unless
// named _be; big-endian integers keep byte order = number order in keys. Reader never reads past
// its input: after the first short read every call returns zero and ok() is false.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace covey {

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  void u8(uint8_t v) { out_.push_back(static_cast<char>(v)); }
  void u16(uint16_t v) { little(v, 2); }
  void u32(uint32_t v) { little(v, 4); }
  void u64(uint64_t v) { little(v, 8); }
  void u16_be(uint16_t v) { big(v, 2); }
  void u32_be(uint32_t v) { big(v, 4); }
  void u64_be(uint64_t v) { big(v, 8); }
  void varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) u8(static_cast<uint8_t>(v | 0x80));
    u8(static_cast<uint8_t>(v));
  }
  void raw(std::string_view bytes) { out_.append(bytes); }
  // A varint length, then the bytes.
  void bytes(std::string_view b) { varint(b.size()), raw(b); }

 private:
  void little(uint64_t v, int n) {
    for (int i = 0; i < n; ++i) u8(static_cast<uint8_t>(v >> (8 * i)));
  }
  void big(uint64_t v, int n) {
    for (int i = n - 1; i >= 0; --i) u8(static_cast<uint8_t>(v >> (8 * i)));
  }
  std::string& out_;
};

class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}

  uint8_t u8() { return static_cast<uint8_t>(little(1)); }
  uint16_t u16() { return static_cast<uint16_t>(little(2)); }
  uint32_t u32() { return static_cast<uint32_t>(little(4)); }
  uint64_t u64() { return little(8); }
  uint16_t u16_be() { return static_cast<uint16_t>(big(2)); }
  uint32_t u32_be() { return static_cast<uint32_t>(big(4)); }
  uint64_t u64_be() { return big(8); }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t byte = u8();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (!(byte & 0x80)) return value;
    }
    return bad(), 0;
  }
  // The next n bytes, borrowed from the input.
  std::string_view raw(size_t n) {
    if (n > in_.size()) return bad(), std::string_view();
    std::string_view out = in_.substr(0, n);
    in_.remove_prefix(n);
    return out;
  }
  std::string_view bytes() {
    uint64_t n = varint();
    return n > in_.size() ? (bad(), std::string_view()) : raw(static_cast<size_t>(n));
  }

  bool ok() const { return ok_; }
  // All input was read and nothing was missing.
  bool done() const { return ok_ && in_.empty(); }
  std::string_view rest() const { return in_; }

 private:
  void bad() { ok_ = false, in_ = {}; }
  uint64_t little(int n) {
    std::string_view b = raw(static_cast<size_t>(n));
    uint64_t v = 0;
    for (size_t i = 0; i < b.size(); ++i)
      v |= static_cast<uint64_t>(static_cast<uint8_t>(b[i])) << (8 * i);
    return v;
  }
  uint64_t big(int n) {
    uint64_t v = 0;
    for (char c : raw(static_cast<size_t>(n))) v = v << 8 | static_cast<uint8_t>(c);
    return v;
  }
  std::string_view in_;
  bool ok_ = true;
};

}  // namespace covey
