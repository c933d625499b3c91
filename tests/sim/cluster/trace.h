// Trace: what happened, as lines; their hash is the history's fingerprint.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "base/core/ids.h"
#include "tests/sim/sim_loop.h"

namespace covey::sim {

class Trace {
 public:
  enum class Print { kNothing, kLines, kMessages };
  Trace(const SimLoop& loop, Print print) : loop_(loop), print_(print) {}

  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    add(fmt::format(format, std::forward<Args>(args)...), prints());
  }
  // Counted in the hash, printed only on demand: there are too many.
  void message(size_t from, size_t to, int service, std::string_view head) {
    std::string what = fmt::format("{} > {} service {} ", from, to, service);
    if (print_ == Print::kMessages) {
      std::string sum = head.size() <= 32
                            ? hex_encode(head)
                            : fmt::format("{:016x}", std::hash<std::string_view>()(head));
      add(fmt::format("{} {} bytes {}", what, head.size(), sum), true);
    }
    add(what, false);
    mix(head.data(), head.size());
  }
  bool prints() const { return print_ != Print::kNothing; }
  uint64_t hash() const { return hash_; }

 private:
  void add(std::string_view what, bool print) {
    int64_t now = loop_.now().ns;
    mix(&now, sizeof now);
    mix(what.data(), what.size());
    if (!print) return;
    std::printf("%10.4f %.*s\n", static_cast<double>(loop_.now().ns) / 1e9,
                static_cast<int>(what.size()), what.data());
  }
  void mix(const void* data, size_t size) {  // FNV-1a
    for (size_t i = 0; i < size; ++i)
      hash_ = (hash_ ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3ull;
  }

  const SimLoop& loop_;
  Print print_;
  uint64_t hash_ = 0xcbf29ce484222325ull;
};

}  // namespace covey::sim
