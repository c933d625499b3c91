#include "tests/crash/expected.h"

#include <algorithm>

#include "base/core/codec.h"
#include "tests/sim/sim_rng.h"

namespace covey {
namespace {

// Tables that the stores do not use.
constexpr char kRows = '\x70', kTwins = '\x71', kDebts = '\x72';
constexpr size_t kFillerBytesMax = 1500;

void fill(std::string& out, size_t size, uint64_t seed) {
  SimRng rng(seed);
  while (size >= sizeof(uint64_t)) {
    Writer(out).u64(rng.next());
    size -= sizeof(uint64_t);
  }
  out.append(size, '.');
}

At seen(At at, At crash) { return at <= crash ? 0 : kNever; }

}  // namespace

Expected Expected::as_of(At crash) const {
  Expected out;
  out.last_stamp = last_stamp;
  for (const auto& [name, writes] : rows) {
    for (RowWrite write : writes) {
      if (write.begun > crash) continue;
      write.begun = 0;
      write.acknowledged = seen(write.acknowledged, crash);
      out.rows[name].push_back(std::move(write));
    }
  }
  for (const auto& [key, life] : blocks) {
    BlockLife now = life;
    now.put_acknowledged = seen(life.put_acknowledged, crash);
    now.drop_begun = life.drop_begun <= crash ? 0 : kNever;
    now.drop_acknowledged = seen(life.drop_acknowledged, crash);
    out.blocks[key] = now;
  }
  for (const auto& [at, sequence] : sequences)
    if (at <= crash) out.sequences.emplace_back(0, sequence);
  return out;
}

std::string row_key(const std::string& name) { return kRows + name; }
std::string twin_key(const std::string& name) { return kTwins + name; }
std::string debt_key(const BlockKey& block) {
  std::string key(1, kDebts);
  Writer(key).u64_be(block.home);
  return key.append(block.id.version.view()) + std::to_string(block.id.index);
}

std::string row_value(const std::string& name, const RowWrite& write) {
  std::string out;
  Writer w(out);
  w.u64(write.stamp);
  w.u32(static_cast<uint32_t>(write.blocks.size()));
  for (const BlockKey& block : write.blocks) out.append(block.id.version.view());
  fill(out, write.stamp * 37 % kFillerBytesMax, write.stamp);
  return out.append(name);
}

uint64_t stamp_of(std::string_view value) { return Reader(value).u64(); }

std::string block_bytes(const BlockKey& block, uint32_t size) {
  std::string out;
  fill(out, size, block.id.version.bytes[0] + 256u * block.id.version.bytes[1] + block.id.index);
  return out;
}

}  // namespace covey
