#include "node/storage.h"

#include "base/core/codec.h"
#include "store/meta/node_rows.h"

namespace covey {
namespace {

// A version is given up when nothing of it was written for so many times the reclaim delay.
constexpr int kOrphanDelays = 6;

}  // namespace

Task<Result<uint64_t>> count_start(Kv& kv) {
  std::string key = node_row_key(kStartsRow);
  CO_TRY(auto stored, kv.get(key));
  uint64_t starts = 0;
  if (stored) {
    Reader reader(stored->bytes);
    starts = reader.u64();
    if (!reader.done())
      co_return fail(ErrorCode::kCorrupt, "the count of this node's starts cannot be read");
  }
  std::string value;
  Writer(value).u64(++starts);
  WriteBatch batch;
  batch.put(std::move(key), std::move(value));
  batch.use_reserve();  // a node must start on a full disk, too: deletes make room
  CO_TRY_STATUS(co_await kv.write(std::move(batch)));
  co_return starts;
}

Storage::Storage(Runtime runtime, const Config& config, const SecretRing& secrets, Kv& kv,
                 Peers& peers, Topology& topology, uint64_t boot, StorageTuning tuning)
    : runtime_(runtime),
      config_(config),
      secrets_(secrets),
      kv_(kv),
      peers_(peers),
      topology_(topology),
      tuning_(tuning),
      memory_(runtime.loop, runtime.clock, config.memory_cap_bytes),
      garbage_clock_(runtime.clock, static_cast<uint32_t>(boot)),
      conflicts_(kv, runtime.clock),
      tables_(garbage_clock_, &conflicts_) {}

Levels Storage::levels() {
  Levels all{
      {"memory_bodies_bytes", memory_.bodies.used(), memory_.bodies.limit()},
      {"memory_small_bodies_bytes", memory_.small_bodies.used(), memory_.small_bodies.limit()},
      {"memory_copies_bytes", memory_.copies.used(), memory_.copies.limit()},
      {"memory_reads_bytes", memory_.reads.used(), memory_.reads.limit()}};
  for (const Levels& some :
       {kv_.levels(), registers_->levels(), available_->levels(), blocks_->levels()})
    all.insert(all.end(), some.begin(), some.end());
  return all;
}

Storage::~Storage() { CHECK(scope_.running() == 0); }

Task<Status> Storage::open(std::function<void(const Error&)> fatal) {
  SegmentOptions segments;
  segments.dirs = config_.data_dirs;
  segments.segment_bytes = tuning_.segment_bytes;
  segments.align_from_bytes = tuning_.align_from_bytes;
  segments.fatal = std::move(fatal);
  segments_ = std::make_unique<SegmentStore>(std::move(segments), runtime_, kv_);
  blocks_ =
      std::make_unique<BlockService>(runtime_, scope_, memory_, kv_, peers_, topology_, *segments_);
  block_repair_ = std::make_unique<BlockRepair>(runtime_, kv_, topology_, *blocks_);
  auto recovered = [this](BlockKey key) { blocks_->recovered(key); };
  segments_open_ = true;
  CO_TRY_STATUS(co_await segments_->open(recovered));
  ScrubSettings scrub;
  scrub.interval = config_.scrub_interval;
  scrub_ = std::make_unique<Scrub>(runtime_, kv_, topology_, *blocks_, *block_repair_, scrub);
  CO_TRY_STATUS(scrub_->open());
  OrphanSettings orphans;
  orphans.min_age = orphans.pause = kOrphanDelays * config_.reclaim_delay;
  orphans_ = std::make_unique<Orphans>(runtime_, kv_, peers_, topology_, *blocks_, orphans);
  peers_.serve(PeerService::kOrphans, *orphans_);

  std::vector<const RegisterTable*> tables = tables_.all();
  CO_TRY(registers_,
         co_await RegisterService::open(runtime_, kv_, topology_, peers_, std::move(tables)));
  peers_.serve(PeerService::kRegister, *registers_);
  row_sync_ = std::make_unique<RowSync>(runtime_, kv_, *registers_, topology_, peers_);
  peers_.serve(PeerService::kSync, *row_sync_);
  available_ = std::make_unique<AvailableRows>(runtime_, kv_, *registers_, topology_, peers_);
  peers_.serve(PeerService::kAvailable, *available_);
  row_sync_->spread = [this](RegisterKey key, TimePoint deadline) {
    return available_->spread(std::move(key), deadline);
  };
  control_ = std::make_unique<ControlStore>(runtime_, kv_, peers_, topology_);
  CO_TRY_STATUS(control_->load());
  mover_ = std::make_unique<StorageMover>(runtime_, kv_, *registers_, *row_sync_, *block_repair_,
                                          *control_, topology_);
  users_ = std::make_unique<KeyUsers>(*control_, raw_secrets(secrets_));
  co_return Status{};
}

void Storage::start() {
  Store::Available available;
  available.rows = available_.get();
  available.control = control_.get();
  objects_ = std::make_unique<Store>(runtime_, scope_, memory_, *registers_, *blocks_, topology_,
                                     available);
  ReclaimSettings settings;
  settings.grace = config_.reclaim_delay;
  settings.upload_expiry = config_.upload_expiry;
  settings.pause = tuning_.reclaim_pause;
  reclaimer_ = std::make_unique<Reclaimer>(runtime_, kv_, *registers_, *available_, *blocks_,
                                           garbage_clock_, settings);
  resync_ = std::make_unique<Resync>(runtime_, kv_, *row_sync_, *registers_, *control_, topology_,
                                     tuning_.resync);
  resync_->also_catch_up = [this](PartitionId partition, TimePoint deadline) {
    return bring_blocks(partition, deadline);
  };
  resync_->also_purge = [this](PartitionId partition, TimePoint deadline) {
    return block_repair_->purge(partition, deadline);
  };
  resync_->also_holds = [this](PartitionId partition) {
    return block_repair_->estimate(partition) > 0;
  };
  scope_.spawn(blocks_->run());
  scope_.spawn(scrub_->run(scope_));
  scope_.spawn(orphans_->run(scope_));
  scope_.spawn(control_->run(scope_));
  scope_.spawn(available_->run(scope_));
  scope_.spawn(reclaimer_->run(scope_));
  scope_.spawn(resync_->run(scope_));
}

Task<Status> Storage::bring_blocks(PartitionId partition, TimePoint deadline) {
  auto report = co_await block_repair_->catch_up(partition, deadline);
  if (!report) co_return tl::unexpected<Error>(report.error());
  co_return Status();
}

void Storage::request_stop() {
  scope_.request_stop();
  if (row_sync_) row_sync_->stop();
}

Task<void> Storage::stop() {
  request_stop();
  if (available_) co_await available_->stop();
  if (registers_) co_await registers_->stop();
  co_await scope_.join();
  if (segments_open_) co_await segments_->close();
}

}  // namespace covey
