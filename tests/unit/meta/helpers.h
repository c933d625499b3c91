// A Kv on a simulated machine, and keys and values by number.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/core/log.h"
#include "store/meta/memory_target.h"
#include "store/meta/open_kv.h"
#include "tests/sim/sim_host.h"
#include "tests/unit/test.h"

namespace covey {

inline KvOptions small_options() {
  KvOptions options;
  options.dir = "/meta";
  options.journal_file_bytes = 64 * kKiB;
  options.fold_bytes = 24 * kKiB;
  options.table_bytes_max = 256 * kKiB;
  return options;
}

inline WriteBatch one_put(std::string key, std::string value) {
  WriteBatch batch;
  batch.put(std::move(key), std::move(value));
  return batch;
}

// Keys of all lengths, many sharing their first 511 or 1014 bytes.
inline std::string random_key(SimRng& rng) {
  static constexpr size_t kPrefixes[] = {0, 0, 0, 20, 509, 510, 511, 512, 1013, 1014, 1015, 1100};
  size_t prefix = kPrefixes[rng.below(std::size(kPrefixes))];
  std::string key(prefix, static_cast<char>('a' + rng.below(2)));
  size_t tail = rng.below(4) + (prefix ? 0 : 1);
  for (size_t i = 0; i < tail; ++i) key.push_back("\0ab\xff"[rng.below(4)]);
  return key;
}

inline std::string random_value(SimRng& rng) {
  std::string value(rng.below(40) == 0 ? rng.below(5000) : rng.below(60), '\0');
  for (char& c : value) c = static_cast<char>(rng.next());
  return value;
}

// A machine with a Kv that can lose power and start again.
struct SimKv {
  explicit SimKv(uint64_t seed, KvOptions base = small_options())
      : rng(seed), host(loop, rng, "node"), options(std::move(base)) {
    set_log_level("off");  // failures are what is tested
    options.fatal = [this](const Error&) { ++fatal_calls; };
  }
  ~SimKv() { stop(); }

  Status start() {
    uint64_t crashes = host.disk.crashes();
    auto dead = [this, crashes] { return host.disk.crashes() != crashes; };
    target = std::make_unique<MemoryTarget>(loop, rows, dead);
    KvOptions copy = options;
    auto opened = loop.run(open_kv(std::move(copy), host.runtime(), *target));
    if (!opened) return tl::unexpected<Error>(opened.error());
    kv = std::move(*opened);
    return {};
  }
  void stop() {
    if (kv) loop.run(kv->close());
    loop.run_until_idle();
    kv.reset();
  }

  SimLoop loop;
  SimRng rng;
  SimHost host;
  KvOptions options;
  MemoryRows rows;
  std::unique_ptr<MemoryTarget> target;
  std::unique_ptr<Kv> kv;
  int fatal_calls = 0;
};

inline std::optional<std::string> value_of(Kv& kv, std::string_view key) {
  auto found = kv.get(key);
  REQUIRE(found.has_value());
  if (!*found) return std::nullopt;
  return (*found)->bytes;
}

}  // namespace covey
