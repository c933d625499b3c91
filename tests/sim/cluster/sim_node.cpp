#include "tests/sim/cluster/sim_node.h"

#include <utility>

namespace covey::sim {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kSimCapacity = 100ull << 30;
constexpr uint64_t kSimSegmentBytes = 4 * kMiB;
constexpr size_t kSimAlignFromBytes = 16 * kKiB;
constexpr size_t kFoldBytes = 32 * kKiB;

}  // namespace

Incarnation::Incarnation(SimNode& node)
    : node_(node),
      id_(node.id),
      runtime_(node.host.runtime()),
      disk_crashes_(node.host.disk.crashes()) {}

bool Incarnation::disk_gone() const { return node_.host.disk.crashes() != disk_crashes_; }

MemberMeta Incarnation::meta() const {
  MemberMeta meta;
  meta.name = node_.config.name;
  meta.zone = node_.config.zone;
  meta.version = "sim";
  meta.gossip = gossip_address(node_.number);
  meta.rpc = {meta.gossip.host, 3902};
  meta.s3 = {meta.gossip.host, 3900};
  meta.capacity_bytes = node_.capacity_bytes;
  meta.free_bytes = node_.capacity_bytes / 2;
  return meta;
}

Task<Status> Incarnation::open_metadata() {
  target_ =
      std::make_unique<MemoryTarget>(runtime_.loop, node_.rows, [this] { return disk_gone(); });
  if (node_.fold_pace > Duration(0)) target_->pace = [this] { return pace_fold(); };
  KvOptions options;
  options.dir = node_.config.meta_dir;
  options.journal_file_bytes = node_.journal_file_bytes;
  // A fold covers several of the smaller files.
  options.fold_bytes = node_.journal_file_bytes <= kFoldBytes ? 4 * kFoldBytes : kFoldBytes;
  options.batch_bytes_max = 64 * kKiB;
  options.fatal = [this](const Error& error) { disk_failed(error); };
  CO_TRY_STATUS(co_await runtime_.disk.make_dir(options.dir));
  CO_TRY(kv_, co_await open_kv(std::move(options), runtime_, *target_));
  CO_TRY(boot_, co_await count_start(*kv_));
  co_return Status{};
}

Task<void> Incarnation::pace_fold() {
  auto most = static_cast<uint64_t>(node_.fold_pace.count());
  return runtime_.clock.sleep(Duration(static_cast<int64_t>(runtime_.rng.below(most))));
}

// What main() does with exit code 74.
void Incarnation::disk_failed(const Error& error) {
  if (dead_) return;
  node_.trace.line("n{} stops: {}", node_.number, to_string(error));
  node_.crash(SimNode::Crash::kProcess);
}

void Incarnation::start_gossip() {
  GossipOptions options;
  options.secret.assign(reinterpret_cast<const char*>(node_.secret.bytes.data()),
                        node_.secret.bytes.size());
  options.boot = boot_;
  options.swim.config = *SwimConfig::profile(node_.config.gossip_profile);
  options.swim.self = id_;
  options.swim.meta = meta();
  options.swim.incarnation = boot_ << 20;
  // Also of a node without seeds: after its first start it knows its peers.
  for (size_t i = 0; i < node_.place.machines; ++i)
    if (i != node_.number) options.swim.seeds.push_back(gossip_address(i));
  datagrams_ = std::make_unique<SimDatagrams>(node_.wires, id_);
  gossip_ = std::make_unique<Gossip>(std::move(options), runtime_.loop, runtime_.clock, *datagrams_,
                                     runtime_.rng);
  gossip_->on_change([this] {
    if (cluster_) cluster_->gossip_changed();
  });
  gossip_->on_fallback([this](NodeId node, uint32_t sequence) {
    if (!dead_ && !scope_.stop_requested()) scope_.spawn(answer_fallback(node, sequence));
  });
  membership_ = std::make_unique<GossipMembership>(*gossip_);
  gossip_->start();
}

Task<void> Incarnation::answer_fallback(NodeId node, uint32_t sequence) {
  PeerMessage ping;
  ping.head = "ping";
  auto answer =
      co_await peers_->call(node, PeerService::kAdmin, std::move(ping), runtime_.clock.after(1s));
  if (answer && !scope_.stop_requested()) gossip_->fallback_acked(sequence);
}

Task<Result<PeerMessage>> Incarnation::serve(NodeId, PeerMessage request) { co_return request; }

Task<Status> Incarnation::open_cluster() {
  ClusterOptions options;
  options.meta = meta();
  options.has_seeds = !node_.config.seeds.empty();
  options.partitions = node_.place.partitions;
  cluster_ = std::make_unique<Cluster>(std::move(options), runtime_, *kv_, *peers_, *membership_);
  StorageTuning tuning;
  tuning.segment_bytes = kSimSegmentBytes;
  tuning.align_from_bytes = kSimAlignFromBytes;
  tuning.reclaim_pause = node_.reclaim_pause;
  tuning.resync.every = node_.resync_every;
  storage_ = std::make_unique<Storage>(runtime_, node_.config, node_.secret, *kv_, *peers_,
                                       *cluster_, boot_, tuning);
  for (const std::string& dir : node_.config.data_dirs) {
    CO_TRY_STATUS(co_await runtime_.disk.make_dir(dir));
  }
  CO_TRY_STATUS(co_await storage_->open([this](const Error& error) { disk_failed(error); }));
  cluster_->use(storage_->mover());
  register_gate_ = std::make_unique<ReadyGate>(*cluster_, storage_->registers());
  control_gate_ = std::make_unique<ReadyGate>(*cluster_, storage_->control());
  block_gate_ = std::make_unique<ReadyGate>(*cluster_, storage_->blocks());
  peers_->serve(PeerService::kBlock, *block_gate_);
  peers_->serve(PeerService::kRegister, *register_gate_);
  peers_->serve(PeerService::kControl, *control_gate_);
  peers_->serve(PeerService::kAdmin, *this);
  cluster_->on_adopt([this](const LayoutState& state) {
    storage_->registers().on_epoch_change();
    node_.on_layout(state);
  });
  co_return Status{};
}

Task<Status> Incarnation::boot() {
  CO_TRY_STATUS(co_await open_metadata());
  peers_ = std::make_unique<SimPeers>(node_.net, id_, runtime_.clock);
  start_gossip();
  CO_TRY_STATUS(co_await open_cluster());
  peers_->up();
  cluster_started_ = true;
  CO_TRY_STATUS(co_await cluster_->start());
  if (cluster_->layout()) node_.on_layout(*cluster_->layout());
  scope_.spawn(serve_when_ready());
  co_return Status{};
}

Task<void> Incarnation::serve_when_ready() {
  bool ready = false;
  while (!ready && !scope_.stop_requested())
    ready = co_await cluster_->wait_ready(runtime_.clock.after(1s));
  if (scope_.stop_requested()) co_return;
  storage_->start();
  cluster_->set_space(node_.capacity_bytes, node_.capacity_bytes / 2);  // it may have changed since
  serving_ = true;
  node_.trace.line("n{} serves", node_.number);
}

void Incarnation::die() {
  dead_ = true;
  if (peers_) peers_->down();
  if (datagrams_) datagrams_->down();
}

Task<void> Incarnation::wind_up(bool in_order) {
  if (std::exchange(winding_up_, true)) co_return;
  serving_ = false;
  scope_.request_stop();
  co_await scope_.join();
  if (storage_) storage_->request_stop();
  if (cluster_started_) co_await cluster_->stop();
  if (storage_) co_await storage_->stop();
  if (gossip_) gossip_->stop(in_order);
  if (peers_) {
    peers_->down();
    co_await peers_->idle();
  }
  if (kv_ && in_order) (void)co_await kv_->fold();
  if (kv_) co_await kv_->close();
  if (!cluster_started_) co_return;  // its storage may not be open
  Blocks::Usage usage = storage_->blocks().usage();
  node_.bad_copies += usage.quarantined, node_.fetched_copies += usage.repaired;
}

SimNode::SimNode(SimNetwork& the_net, SimWires& the_wires, SimRng& rng, Trace& the_trace,
                 Place the_place)
    : net(the_net),
      wires(the_wires),
      host(the_net.loop(), rng, "n" + std::to_string(the_place.number)),
      trace(the_trace),
      number(the_place.number),
      place(the_place),
      capacity_bytes(kSimCapacity),
      rank_(static_cast<uint8_t>(rng.split("rank " + std::to_string(number)).below(256))) {
  id = node_id(rank_, number, 1);
  config.name = "n" + std::to_string(number);
  config.zone = "z" + std::to_string(number % place.zones);
  config.meta_dir = "/meta";
  config.data_dirs = {"/data"};
  config.gossip_profile = "lan";
  if (number > 0) config.seeds = {gossip_address(0).host};
  secret.bytes.fill(7);
  host.disk.on_power_loss = [this] {
    trace.line("n{} loses power", number);
    ++power_cuts;
    crash(Crash::kProcess);
  };
}

void SimNode::wipe() {
  CHECK(off());
  host.disk.wipe();
  rows = MemoryRows();
  id = node_id(rank_, number, life_ + 1);
  // It must not found a cluster of its own.
  if (config.seeds.empty()) config.seeds = {gossip_address(number + 1).host};
  trace.line("n{} is wiped", number);
}

void SimNode::start() {
  CHECK(off());
  life_ = id.bytes[2];
  now_ = std::make_shared<Incarnation>(*this);
  all_.push_back(now_);
  scope_.spawn(run(now_));
}

// Starts, then waits for nothing: a crash calls wind_up.
Task<void> SimNode::run(std::shared_ptr<Incarnation> one) {
  Status booted = co_await one->boot();
  one->booting = false;
  if (one->dead()) {
    co_await one->wind_up(false);
  } else if (!booted) {
    // Whoever mends it starts the node again, or replaces it.
    bool bad_disk =
        booted.is(ErrorCode::kIo) || (booted.is(ErrorCode::kCorrupt) && !rows.damaged.empty());
    trace.line("n{} does not start: {}", number, to_string(booted.error()));
    if (!one->disk_gone() && !bad_disk)
      on_trouble("n" + std::to_string(number) + " does not start: " + to_string(booted.error()));
    crash(Crash::kProcess);
  }
}

void SimNode::crash(Crash how) {
  if (off()) return;
  std::shared_ptr<Incarnation> one = std::move(now_);
  now_ = nullptr;
  one->die();
  if (how != Crash::kProcess) ++power_cuts;
  if (how == Crash::kPower) host.disk.crash();
  if (how == Crash::kPowerDroppingAll) host.disk.crash_dropping_all();
  if (how == Crash::kProcess) host.disk.halt();
  if (!one->booting) scope_.spawn(bury(one));
}

// In a turn of its own: a crash may come from anywhere inside.
Task<void> SimNode::bury(std::shared_ptr<Incarnation> one) {
  co_await host.loop.yield();
  co_await one->wind_up(false);
}

Task<void> SimNode::stop() {
  if (off()) co_return;
  std::shared_ptr<Incarnation> one = now_;
  while (one->booting) co_await host.loop.sleep(10ms);
  if (one->dead() || one->winding_up()) co_return;
  co_await one->wind_up(true);
  if (now_ == one) now_ = nullptr;
}

Task<void> SimNode::end() {
  if (now_) crash(Crash::kProcess);
  co_await scope_.join();
}

}  // namespace covey::sim
