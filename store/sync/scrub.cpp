#include "store/sync/scrub.h"

#include <algorithm>
#include <chrono>

#include "base/core/codec.h"
#include "base/core/log.h"
#include "store/meta/node_rows.h"

namespace covey {
namespace {

constexpr uint8_t kFormat = 1;
constexpr std::string_view kStateRow = "scrub";
constexpr size_t kListedAtOnce = 256;
constexpr Duration kLook = std::chrono::seconds(1);
constexpr Duration kKeepEvery = std::chrono::seconds(60);
constexpr Duration kCatchUpWithin = std::chrono::minutes(10);
constexpr Duration kSleepMin = std::chrono::milliseconds(50);
// A pass aims at this part of its interval; small stores are done sooner.
constexpr double kPartOfInterval = 0.8;
constexpr double kBytesPerSecondMin = 1.0 * kMiB, kBytesPerSecondMax = 64.0 * kMiB;
// Of the time a read takes: at most a quarter of the disk's time, and half of it at full speed. A
// busy disk answers slowly and so gets more rest.
constexpr int kRest = 3, kRestFast = 1;

Duration seconds_of(double seconds) { return Duration(static_cast<int64_t>(seconds * 1e9)); }

}  // namespace

Scrub::Scrub(Runtime runtime, Kv& kv, const Topology& topology, BlockService& blocks,
             BlockRepair& repair, ScrubSettings settings)
    : runtime_(runtime),
      kv_(kv),
      topology_(topology),
      blocks_(blocks),
      repair_(repair),
      settings_(settings) {}

Status Scrub::open() {
  TRY(std::optional<KvValue> stored, kv_.get(node_row_key(kStateRow)));
  if (!stored) {  // a new node: nothing is due yet
    state_.started_ms = runtime_.clock.wall_now().ms;
    keep();
    return {};
  }
  std::string value = std::move(stored->bytes);
  TRY(state_, decode(value));
  return {};
}

Result<Scrub::State> Scrub::decode(const std::string& value) {
  Reader r(value);
  State state;
  bool known = r.u8() == kFormat;
  uint8_t flags = r.u8();
  state.paused = flags & 1, state.running = flags & 2, state.fast = flags & 4;
  state.passes = r.varint(), state.checked_blocks = r.varint(), state.checked_bytes = r.varint();
  state.bad_blocks = r.varint();
  state.started_ms = static_cast<int64_t>(r.u64());
  state.finished_ms = static_cast<int64_t>(r.u64());
  state.home = r.u32();
  BlockId done;
  done.version = VersionId::from_bytes(r.raw(VersionId::kSize)).value_or(VersionId{});
  done.index = r.u32();
  if (flags & 8) state.done = done;
  if (!known || !r.done()) return fail(ErrorCode::kCorrupt, "the scrub's position does not decode");
  return state;
}

// Unlogged: after a crash a little is checked twice.
void Scrub::keep() {
  kept_ = runtime_.clock.now();
  std::string value;
  Writer w(value);
  w.u8(kFormat);
  w.u8(static_cast<uint8_t>(state_.paused | state_.running << 1 | state_.fast << 2 |
                            state_.done.has_value() << 3));
  w.varint(state_.passes), w.varint(state_.checked_blocks), w.varint(state_.checked_bytes);
  w.varint(state_.bad_blocks);
  w.u64(static_cast<uint64_t>(state_.started_ms)), w.u64(static_cast<uint64_t>(state_.finished_ms));
  w.u32(state_.home);
  BlockId done = state_.done.value_or(BlockId{});
  w.raw(done.version.view());
  w.u32(done.index);
  WriteBatch batch;
  batch.put(node_row_key(kStateRow), std::move(value));
  Status kept = kv_.write_unlogged(std::move(batch));
  if (!kept) log_debug("the scrub's position was not kept: {}", to_string(kept.error()));
}

Scrub::Progress Scrub::progress() const {
  Progress progress;
  progress.running = state_.running, progress.paused = state_.paused;
  progress.passes = state_.passes;
  progress.checked_blocks = state_.checked_blocks, progress.checked_bytes = state_.checked_bytes;
  progress.total_bytes = blocks_.segments().live_bytes();
  progress.bad_blocks = state_.bad_blocks;
  progress.started = {state_.started_ms}, progress.finished = {state_.finished_ms};
  return progress;
}

void Scrub::begin(bool fast) {
  ++begun_;
  state_.running = true, state_.fast = fast;
  state_.checked_blocks = state_.checked_bytes = state_.bad_blocks = 0;
  state_.started_ms = runtime_.clock.wall_now().ms;
  state_.home = 0, state_.done.reset();
  owed_ = Duration::zero();
  keep();
}

void Scrub::start() {
  state_.paused = false;
  begin(true);
}

void Scrub::pause(bool paused) {
  state_.paused = paused;
  keep();
}

bool Scrub::due() const {
  auto interval = std::chrono::duration_cast<std::chrono::milliseconds>(settings_.interval).count();
  int64_t age = runtime_.clock.wall_now().ms - state_.started_ms;
  return age >= interval || age < 0;  // the clock may have been set back
}

Task<void> Scrub::run(Scope& scope) {
  while (!scope.stop_requested()) {
    if (!state_.paused && !state_.running && due()) begin(false);
    if (state_.paused || !state_.running) {
      bool more = co_await scope.sleep(runtime_.clock, kLook);
      if (!more) break;
      continue;
    }
    if (state_.home < topology_.layout()->current.partitions()) {
      co_await check_partition(scope);
      continue;
    }
    state_.running = false;
    ++state_.passes;
    state_.finished_ms = runtime_.clock.wall_now().ms;
    keep();
    log_info("scrub: {} blocks of {} MiB verified, {} were bad", state_.checked_blocks,
             state_.checked_bytes >> 20, state_.bad_blocks);
  }
  keep();
}

// One partition from where it was, unless it is stopped, paused or begun again.
Task<void> Scrub::check_partition(Scope& scope) {
  const uint64_t mine = begun_;
  PartitionId home = state_.home;
  for (bool more = true; more;) {
    auto found = blocks_.segments().list(home, state_.done, kListedAtOnce);
    if (!found) {
      log_warn("scrub: partition {} cannot be listed: {}", home, to_string(found.error()));
      break;
    }
    more = found->size() == kListedAtOnce;
    for (const SegmentStore::Listed& one : *found) {
      TimePoint start = runtime_.clock.now();
      co_await check_block({home, one.id}, one.bytes);
      if (begun_ != mine) co_return;
      state_.done = one.id;
      co_await wait(scope, one.bytes, runtime_.clock.now() - start);
      if (begun_ != mine || state_.paused || scope.stop_requested()) co_return;
      if (runtime_.clock.now() - kept_ > kKeepEvery) keep();
    }
  }
  co_await tidy(home);
  if (begun_ != mine || scope.stop_requested()) co_return;
  state_.home = home + 1;
  state_.done.reset();
}

Task<void> Scrub::check_block(BlockKey key, uint32_t bytes) {
  auto record = co_await blocks_.segments().read_record(key);
  if (record.is(ErrorCode::kNotFound)) co_return;  // reclaimed meanwhile
  ++state_.checked_blocks, state_.checked_bytes += bytes;
  if (!record) ++state_.bad_blocks;
}

Task<void> Scrub::wait(Scope& scope, uint64_t bytes, Duration took) {
  double total = static_cast<double>(blocks_.segments().live_bytes());
  double interval = std::chrono::duration<double>(settings_.interval).count();
  double rate = std::max(kBytesPerSecondMin, total / (interval * kPartOfInterval));
  if (state_.fast) rate = kBytesPerSecondMax;
  Duration by_rate = seconds_of(static_cast<double>(bytes) / rate) - took;
  owed_ += std::max(by_rate, took * (state_.fast ? kRestFast : kRest));
  if (owed_ < kSleepMin) {
    co_await runtime_.loop.yield();
    co_return;
  }
  Duration sleep = std::exchange(owed_, Duration::zero());
  (void)co_await scope.sleep(runtime_.clock, sleep);
}

// What a reading of what is here cannot find: blocks that are not here and should be, such that
// should not, and what was found bad and nobody needs.
Task<void> Scrub::tidy(PartitionId home) {
  auto layout = topology_.layout();
  std::vector<NodeId> replicas = replica_sets(*layout, home).all();
  bool ours = std::find(replicas.begin(), replicas.end(), topology_.self()) != replicas.end();
  TimePoint deadline = runtime_.clock.after(kCatchUpWithin);
  Status done;
  if (ours) {
    auto report = co_await repair_.catch_up(home, deadline);
    if (!report) done = tl::unexpected<Error>(std::move(report).error());
  } else if (!layout->joint()) {
    done = co_await repair_.purge(home, deadline);
  }
  if (!done) log_debug("scrub: partition {}: {}", home, to_string(done.error()));
}

}  // namespace covey
