#include "node/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/core/log.h"
#include "node/damaged_start.h"
#include "node/known_peers.h"
#include "node/metadata_place.h"
#include "node/witness/data_owner.h"
#include "store/meta/open_kv.h"

namespace covey {
namespace {

using namespace std::chrono_literals;
constexpr Duration kSpaceEvery = 30s;
constexpr Duration kFallbackTimeout = 1s;
constexpr Duration kPeersWithin = 5s;
constexpr Duration kHurryAfter = 2s;  // bodies that come slowly, when others wait for their memory

// What others are told: the advertised host, or the one listened on, with the port.
Address advertised(const Config& config, const std::string& listen) {
  Address address = *parse_listen(listen);
  if (!config.advertise.empty()) address.host = config.advertise;
  return address;
}

// Nobody knows what is on the disk now: nothing more may be acknowledged.
[[noreturn]] void disk_failed(const Error& error) {
  log_error(
      "the disk failed, this node stops: {}. Check the disk (dmesg), then start the node again",
      to_string(error));
  std::_Exit(74);  // EX_IOERR
}

}  // namespace

Server::Server(Config config, UvLoop& loop, Pool& cpu, Disk& disk, Rng& rng)
    : config_(std::move(config)), loop_(loop), runtime_{loop, loop, rng, cpu, disk} {}

Server::~Server() {
  CHECK(scope_.running() == 0);
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

Task<Status> Server::start() {
  CO_TRY_STATUS(co_await open_folders());
  CO_TRY(secrets_, load_secrets(config_.secret_file));
  CO_TRY_STATUS(co_await open_identity());
  keep_identity();
  CO_TRY_STATUS(co_await own_data_dirs(config_, identity_.id, fresh_identity_, *kv_));
  auto rpc = parse_listen(config_.listen_rpc);
  PeersOptions options{loop_, loop_, identity_, secrets_, *rpc};
  peers_ = make_grpc_peers(std::move(options));
  open_witness();
  CO_TRY_STATUS(witness_->load());
  CO_TRY_STATUS(start_gossip());
  CO_TRY_STATUS(co_await open_cluster());
  CO_TRY_STATUS(start_admin());
  CO_TRY_STATUS(peers_->start());
  peers_started_ = true;
  cluster_started_ = true;
  CO_TRY_STATUS(co_await cluster_->start());
  witness_->start(*cluster_);
  scope_.spawn(serve_when_ready());
  scope_.spawn(rotation_->run(scope_));
  scope_.spawn(watch_space());
  scope_.spawn(remember_others());
  snapshot_scope_.spawn(snapshots_->run(snapshot_scope_));
  snapshot_scope_.spawn(verifier_->run(snapshot_scope_));
  co_return Status{};
}

Task<Status> Server::open_folders() {
  CO_TRY_STATUS(co_await runtime_.disk.make_dir(config_.meta_dir));
  for (const std::string& dir : config_.data_dirs) {
    CO_TRY_STATUS(co_await runtime_.disk.make_dir(dir));
  }
  std::string path = config_.meta_dir + "/lock";
  lock_fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0)
    co_return fail(ErrorCode::kIo,
                   "cannot open " + path + ": does this user own the metadata folder?");
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0)
    co_return fail(ErrorCode::kAlreadyExists,
                   "another covey runs on " + config_.meta_dir + "; stop it first");
  CO_TRY_STATUS(finish_rebirth(config_));
  CO_TRY(last_rebirth_, last_rebirth(config_));
  co_return co_await measure_space();
}

// An identity whose metadata is gone must not speak for what that had promised: it goes, too.
Task<Status> Server::open_identity() {
  fresh_identity_ = ::access(config_.identity_file().c_str(), F_OK) != 0;
  CO_TRY(identity_, load_or_create_identity(config_.identity_file()));
  CO_TRY_STATUS(co_await open_metadata());
  if (!fresh_identity_ && boot_ == 1) {
    std::string old = config_.identity_file(), kept = old + ".without-metadata";
    if (::rename(old.c_str(), kept.c_str()) != 0)
      co_return fail(ErrorCode::kIo, "cannot move " + old + " aside");
    fresh_identity_ = true;
    CO_TRY(identity_, load_or_create_identity(old));
    log_warn("there is no metadata: this node starts under a new id (the old one is in {})", kept);
  }
  log_info("node {} ({}), zone {}, starting", config_.name, short_name(identity_.id), config_.zone);
  co_return Status{};
}

Task<Status> Server::open_metadata() {
  CO_TRY_STATUS(metadata_not_lost(config_));
  // Before a journal is read: one of another node would be taken for this one's.
  auto copy = load_identity_copy(identity_copy(config_), secrets_);
  if (copy && copy->identity.id != identity_.id)
    co_return fail(
        ErrorCode::kDenied,
        fmt::format("{} is of node {} ({}), not of this one: were disks swapped? Put "
                    "them back, or see docs/operations.md, When metadata is lost",
                    config_.data_dirs.front(), copy->name, short_name(copy->identity.id)));
  KvOptions options = kv_options(config_);
  options.fatal = disk_failed;
  options.may_archive = [this] { return !snapshots_ || snapshots_->may_archive(); };
  options.check = true;
  options.damaged = [this](const Error& error) {
    if (witness_) witness_->give_up(kDamagedWhy + error.message);
  };
  VerifierSettings verified;
  verified.interval = config_.metadata_check_interval;
  verified.file = config_.meta_dir + "/meta.mdb";
  verified.verified = runtime_.clock.wall_now();  // open_local_kv() checks everything
  auto opened = co_await open_local_kv(std::move(options), runtime_);
  // Without the data directory's disk nothing is known about the journal.
  if (opened.is(ErrorCode::kCorrupt) && is_own(config_.data_dirs.front()))
    damaged_ = opened.error().message;
  CO_TRY(kv_, std::move(opened));
  (void)::unlink(config_.damage_note().c_str());
  recovered_ = kv_->durable_sequence();
  SnapshotSettings settings;
  settings.interval = config_.snapshot_interval;
  MetaFolders folders(config_.data_dirs.front());
  verifier_ = std::make_unique<Verifier>(runtime_, *kv_, std::move(verified));
  snapshots_ =
      std::make_unique<Snapshots>(runtime_, *kv_, *verifier_, std::move(folders), settings);
  CO_TRY_STATUS(co_await snapshots_->open());
  CO_TRY(boot_, co_await count_start(*kv_));
  CO_TRY(known_peers_, load_known_peers(*kv_));
  if (last_rebirth_)
    known_peers_.insert(known_peers_.end(), last_rebirth_->seeds.begin(),
                        last_rebirth_->seeds.end());
  co_return Status{};
}

void Server::open_witness() {
  witness_ = std::make_unique<Witness>(runtime_, *kv_, *peers_,
                                       Witness::Start{boot_, recovered_, fresh_identity_});
  witness_->on_change = [this] {
    if (storage_) storage_->registers().stand_by(!witness_->cleared());
  };
  witness_->on_forgot = [this](const std::string& why) { give_up_identity(why); };
  witness_->on_superseded = [](const std::string& why) {
    log_error(
        "another process runs under this node's id, so this one stops: {}. Stop the other one, or "
        "empty meta_dir here to start as a node of its own",
        why);
    ::kill(::getpid(), SIGTERM);
  };
}

bool Server::is_own(const std::string& data_dir) const {
  auto owner = owner_of_data_dir(data_dir);
  return owner && *owner == identity_.id;
}

// The others have what this node's disk forgot; they refill it under a new id.
void Server::give_up_identity(const std::string& why) {
  if (why.starts_with(kDamagedWhy)) {
    Status may = may_give_up_damaged(config_, loop_.wall_now(), why);
    if (!may) {
      failing_ = may.error().message;
      log_error("{}", failing_);
      return;
    }
  }
  Rebirth rebirth;
  rebirth.why = why;
  for (const MemberView& member : *gossip_.members())
    if (member.id != identity_.id && member.state <= MemberState::kSuspect &&
        rebirth.seeds.size() < kKnownPeersMax)
      rebirth.seeds.push_back(member.meta.gossip);
  Status planned = plan_rebirth(config_, rebirth);
  if (!planned) {
    log_error("cannot take a new id: {}; start the node again when that is mended",
              planned.error().message);
    return;
  }
  log_warn("this node starts again, under a new id, to be refilled by the others");
  reborn_ = true;
  ::kill(::getpid(), SIGTERM);  // the same way out as any other stop
}

// For a rebuild of the whole cluster; on a full disk the node must start all the same.
void Server::keep_identity() const {
  Status kept = save_identity_copy(identity_copy(config_), identity_, secrets_, config_.name);
  if (!kept) log_warn("{}: a rebuild could not give this node its id back", kept.error().message);
}

MemberMeta Server::gossip_meta() const {
  MemberMeta meta;
  meta.name = config_.name;
  meta.zone = config_.zone;
  meta.version = kCoveyVersion;
  meta.gossip = advertised(config_, config_.listen_gossip);
  meta.rpc = advertised(config_, config_.listen_rpc);
  meta.s3 = advertised(config_, config_.listen_s3);
  meta.capacity_bytes = capacity_bytes_;
  meta.free_bytes = free_bytes_;
  return meta;
}

Status Server::start_gossip() {
  GossipOptions options;
  options.secret = raw_secret(secrets_.use);
  if (!secrets_.settled()) options.also_accepted.push_back(raw_secret(secrets_.other));
  options.boot = boot_;
  options.swim.config = *SwimConfig::profile(config_.gossip_profile);
  options.swim.self = identity_.id;
  options.swim.meta = gossip_meta();
  options.swim.incarnation = boot_ << 20;
  GossipThread::Events events;
  events.changed = [this] {
    if (cluster_) cluster_->gossip_changed();
    others_changed_.set();
  };
  events.other_secret = [this](const std::string& secret) {
    if (rotation_) rotation_->in_use_elsewhere(secret);
  };
  events.unsealed = [this](const Address& from, const std::string& datagram) {
    answer_stranger(from, datagram);
  };
  events.fallback = [this](NodeId node, uint32_t sequence) {
    if (peers_started_ && !scope_.stop_requested()) scope_.spawn(answer_fallback(node, sequence));
  };
  auto started = gossip_.start(std::move(options), *parse_listen(config_.listen_gossip), loop_,
                               std::move(events));
  if (!started)
    return fail(started.code(), "cannot gossip on " + config_.listen_gossip + ": " +
                                    started.error().message + "; see gossip_listen in " +
                                    config_.file);
  membership_ = std::make_unique<GossipMembership>(gossip_.gossip());
  scope_.spawn(find_seeds(seeds_change_));
  return {};
}

// UDP stays silent: a node that answers over TCP is alive all the same.
Task<void> Server::answer_fallback(NodeId node, uint32_t sequence) {
  PeerMessage ping;
  ping.head = "ping";
  auto answer = co_await witness_->call(node, PeerService::kAdmin, std::move(ping),
                                        loop_.after(kFallbackTimeout));
  if (answer && !scope_.stop_requested()) gossip_.gossip().fallback_acked(sequence);
}

Task<Status> Server::open_cluster() {
  ClusterOptions options;
  options.meta = gossip_meta();
  // A node that knows others never founds a cluster, also when its own rows are lost.
  options.has_seeds = !config_.seeds.empty() || !known_peers_.empty() || last_rebirth_.has_value();
  options.may_vote = [this] { return witness_->cleared(); };
  options.auto_layout = config_.auto_layout;
  options.reach = [this](NodeId node, Address address) {
    peers_->set_address(node, std::move(address));
  };
  options.closed = [this] { return rotation_ && rotation_->under_way(); };
  cluster_ = std::make_unique<Cluster>(std::move(options), runtime_, *kv_, *witness_, *membership_);
  storage_ =
      std::make_unique<Storage>(runtime_, config_, secrets_, *kv_, *witness_, *cluster_, boot_);
  CO_TRY_STATUS(co_await storage_->open(disk_failed));
  storage_->registers().stand_by(true);  // until the witness says otherwise
  cluster_->use(storage_->mover());
  register_gate_ = std::make_unique<ReadyGate>(*cluster_, storage_->registers());
  control_gate_ = std::make_unique<ReadyGate>(*cluster_, storage_->control());
  block_gate_ = std::make_unique<ReadyGate>(*cluster_, storage_->blocks());
  witness_->serve(PeerService::kBlock, *block_gate_);
  witness_->serve(PeerService::kRegister, *register_gate_);
  witness_->serve(PeerService::kControl, *control_gate_);
  open_rotation();
  cluster_->on_adopt([this](const LayoutState&) {
    storage_->registers().on_epoch_change();
    others_changed_.set();
  });
  co_return Status{};
}

Status Server::start_admin() {
  layout_admin_ = std::make_unique<LayoutAdmin>(runtime_, *cluster_, *witness_,
                                                [this] { return partition_health(); });
  AdminDeps deps{runtime_};
  deps.peers = witness_.get();
  deps.topology = cluster_.get();
  deps.blocks = &storage_->blocks();
  deps.behind = [this] { return behind(); };
  deps.scrub = &storage_->scrub();
  deps.block_repair = &storage_->block_repair();
  deps.conflicts = &storage_->conflicts();
  deps.snapshots = snapshots_.get();
  deps.verifier = verifier_.get();
  deps.nodes = [this] { return node_views(); };
  deps.notes = [this] { return notes(); };
  deps.invitation = [this](std::chrono::seconds valid) { return invitation(valid); };
  deps.secret = [this] { return rotation_json(); };
  deps.rotate = [this](bool force) { return rotation_->rotate(force); };
  deps.layout = [this](std::string verb, Json body) {
    return layout_admin_->handle(std::move(verb), std::move(body));
  };
  deps.change = [this] { return layout_admin_->change(); };
  deps.partitions = [this] { return layout_admin_->partitions(); };
  deps.leaving = [this] { return cluster_->leaving(); };
  deps.region = config_.region;
  admin_ = std::make_unique<Admin>(std::move(deps));
  witness_->serve(PeerService::kAdmin, *admin_);
  admin_http_ = std::make_unique<HttpServer>(loop_, *admin_);
  TRY_STATUS(admin_http_->listen_unix(config_.admin_socket()));
  if (config_.listen_admin.empty()) return {};
  public_admin_ = std::make_unique<Admin::Public>(*admin_);
  metrics_http_ = std::make_unique<HttpServer>(loop_, *public_admin_);
  return metrics_http_->listen(*parse_listen(config_.listen_admin));
}

Task<void> Server::serve_when_ready() {
  bool ready = false, told = false;
  while (!ready && !scope_.stop_requested()) {
    ready = co_await cluster_->wait_ready(loop_.after(1s));
    if (!ready && !std::exchange(told, true)) log_info("not serving yet: {}", cluster_->waits());
  }
  co_await wait_for_peers();
  (void)co_await witness_->wait_cleared(loop_.after(kPeersWithin));
  if (scope_.stop_requested()) co_return;
  auto serving = serve_s3();
  if (serving) co_return;
  log_error("{}", serving.error().message);
  ::kill(::getpid(), SIGTERM);  // the same way out as any other stop
}

// A node that was started again has its layout at once, but knows nobody yet: it answers S3 when it
// is connected to a majority and knows all their users and keys, or after a while all the same, to
// say 503 instead of nothing.
Task<void> Server::wait_for_peers() {
  TimePoint until = loop_.after(kPeersWithin);
  while (loop_.now() < until && !scope_.stop_requested()) {
    auto layout = cluster_->layout();
    size_t connected = 0, members = layout->current.members.size();
    for (const Member& member : layout->current.members) connected += peers_->connected(member.id);
    Status confirmed = fail(ErrorCode::kUnavailable);
    if (2 * connected > members) confirmed = co_await storage_->control().confirm(until);
    if (confirmed) co_return;
    (void)co_await scope_.sleep(loop_, 20ms);
  }
  log_warn(
      "serving S3 without having heard from a majority of the nodes: keys made or deleted while "
      "this node was away are not known yet");
}

Status Server::serve_s3() {
  storage_->start();
  GatewaySettings settings;
  settings.region = config_.region;
  if (!config_.s3_domain.empty()) settings.domains.push_back(config_.s3_domain);
  gateway_ = std::make_unique<Gateway>(runtime_, storage_->objects(), storage_->users(),
                                       std::move(settings));
  guard_ = std::make_unique<MemoryGuard>(*gateway_, loop_, config_.memory_cap_bytes);
  guard_->start();
  HttpLimits limits;
  limits.hurried = [this] { return storage_->memory().bodies.longest_wait() > kHurryAfter; };
  s3_http_ = std::make_unique<HttpServer>(loop_, *guard_, std::move(limits));
  TRY(auto tls, load_tls(config_));
  s3_http_->set_tls(std::move(tls));
  TRY_STATUS(s3_http_->listen(*parse_listen(config_.listen_s3)));
  admin_->deps().users = &storage_->users();
  admin_->deps().objects = &storage_->objects();
  admin_->deps().levels = [this] { return storage_->levels(); };
  admin_->deps().numbers = [this] {
    std::map<std::string, double> numbers;
    numbers["s3_requests"] = static_cast<double>(gateway_->stats().requests);
    numbers["s3_client_errors"] = static_cast<double>(gateway_->stats().client_errors);
    numbers["s3_server_errors"] = static_cast<double>(gateway_->stats().server_errors);
    numbers["s3_slowed_down"] = static_cast<double>(guard_->refused());
    numbers["s3_bodies_bytes"] = static_cast<double>(storage_->memory().bodies.used());
    numbers["s3_bodies_waiting"] = static_cast<double>(storage_->memory().bodies.waiting());
    numbers["s3_connections"] = static_cast<double>(s3_http_->connections());
    const RowSync::Totals& sync = storage_->row_sync().totals();
    numbers["sync_rows_pulled"] = static_cast<double>(sync.rows_pulled);
    numbers["sync_attachments_pulled"] = static_cast<double>(sync.attachments_pulled);
    numbers["sync_bytes_pulled"] = static_cast<double>(sync.bytes_pulled);
    numbers["sync_rows_served"] = static_cast<double>(sync.rows_served);
    numbers["sync_rows_settled"] = static_cast<double>(sync.settled);
    numbers["sync_comparisons"] = static_cast<double>(sync.catch_ups);
    numbers["tombstones_collected"] = static_cast<double>(sync.tombstones_collected);
    numbers["versions_reclaimed"] = static_cast<double>(storage_->reclaimed().reclaimed);
    const AvailableRows::Progress available = storage_->available().progress();
    numbers["available_hints"] = static_cast<double>(available.hints);
    numbers["available_rows_owed"] = static_cast<double>(available.owed);
    numbers["available_rows_handed_over"] = static_cast<double>(available.handed_over);
    numbers["available_writes_below_majority"] = static_cast<double>(available.fewer_copies);
    numbers["available_clocks_ahead"] = static_cast<double>(available.clock_ahead);
    numbers["available_writes_lost"] = static_cast<double>(storage_->conflicts().lost());
    numbers["available_versions_dropped"] = static_cast<double>(storage_->conflicts().dropped());
    numbers["gossip_refused_datagrams"] = static_cast<double>(gossip_.gossip().refused_datagrams());
    return numbers;
  };
  log_info("serving S3 on {}", config_.listen_s3);
  return {};
}

Result<std::shared_ptr<TlsContext>> Server::load_tls(const Config& config) const {
  if (config.tls_certificate.empty()) return std::shared_ptr<TlsContext>();
  return TlsContext::load(config.tls_certificate, config.tls_key);
}

Task<Status> Server::measure_space() {
  uint64_t total = 0, free = 0;
  for (const std::string& dir : config_.data_dirs) {
    CO_TRY(DiskSpace space, co_await runtime_.disk.space(dir));
    total += space.total_bytes, free += space.free_bytes;
  }
  capacity_bytes_ = config_.capacity_bytes != 0 ? config_.capacity_bytes : total;
  free_bytes_ = std::min(free, capacity_bytes_);
  co_return Status{};
}

Task<void> Server::watch_space() {
  for (;;) {
    bool go_on = co_await scope_.sleep(loop_, kSpaceEvery);
    if (!go_on) co_return;
    Status measured = co_await measure_space();
    if (measured) cluster_->set_space(capacity_bytes_, free_bytes_);
  }
}

// Before the store has started nothing is known to be up to date.
AdminDeps::Behind Server::behind() const {
  AdminDeps::Behind behind;
  Resync::Progress progress = storage_->resync_progress();
  behind.partitions = progress.behind;
  behind.rows = progress.rows_left;
  behind.why = progress.why;
  auto layout = cluster_->layout();
  if (progress.partitions > 0 || !layout) return behind;
  for (PartitionId p = 0; p < layout->current.partitions(); ++p) {
    std::vector<NodeId> all = replica_sets(*layout, p).all();
    behind.partitions += static_cast<uint64_t>(std::count(all.begin(), all.end(), identity_.id));
  }
  return behind;
}

std::vector<NodeView> Server::node_views() const {
  std::vector<NodeView> views;
  TimePoint now = loop_.now();
  for (const MemberView& member : *gossip_.members()) {
    NodeView view;
    view.id = member.id;
    view.name = member.meta.name, view.zone = member.meta.zone;
    view.version = member.meta.version;
    bool self = member.id == identity_.id;
    Address address = member.meta.rpc;
    if (unspecified(address.host)) address.host = member.meta.gossip.host;
    view.address = unspecified(address.host) ? ":" + std::to_string(address.port) : address.str();
    view.state = self ? "alive" : state_name(member.state);
    view.since_seen = self ? Duration::zero() : now - member.last_seen;
    view.capacity_bytes = member.meta.capacity_bytes, view.free_bytes = member.meta.free_bytes;
    views.push_back(std::move(view));
  }
  return views;
}

std::vector<std::string> Server::notes() const {
  std::vector<std::string> notes;
  if (!failing_.empty()) notes.push_back(failing_);
  if (std::string why = witness_->waits(); !why.empty())
    notes.push_back("node " + config_.name + " does not vote: " + why);
  if (last_rebirth_ && !last_rebirth_->aside.empty())
    notes.push_back("node " + config_.name + " took a new id, since " + last_rebirth_->why +
                    "; its old metadata is kept in " + last_rebirth_->aside +
                    " until you remove it");
  if (std::string why = cluster_->waits(); !why.empty()) notes.push_back(std::move(why));
  if (std::string line = rotation_line(); !line.empty()) notes.push_back(std::move(line));
  if (std::string line = layout_admin_->change_line(); !line.empty())
    notes.push_back(std::move(line));
  Snapshots::Progress snapshots = snapshots_->progress();
  if (!snapshots.trouble.empty())
    notes.push_back("metadata of this node is not kept for a rebuild: " + snapshots.trouble);
  for (const Cluster::Candidate& candidate : cluster_->candidates())
    notes.push_back(
        fmt::format("node {} is no member: {}", candidate.gossip.meta.name, candidate.waits));
  if (uint64_t hints = storage_->available().progress().hints; hints > 0)
    notes.push_back(
        fmt::format("{} rows of available buckets wait here for their replicas to return", hints));
  return notes;
}

PartitionHealth Server::partition_health() const {
  PartitionHealth health;
  health.copies_owed = storage_->blocks().usage().copies_owed;
  health.behind = storage_->resync_progress().behind;
  auto layout = cluster_->layout();
  for (PartitionId p = 0; layout && p < layout->current.partitions(); ++p) {
    auto at = storage_->compared(p);
    uint64_t age = at ? static_cast<uint64_t>((loop_.now() - *at) / 1s) : 0;
    health.verified_ago.push_back(at ? age + 1 : 0);
  }
  return health;
}

// Each step is named in the debug log: a node that hangs on its way down says where.
Task<void> Server::stop() {
  scope_.request_stop();
  others_changed_.set();
  if (witness_) witness_->request_stop();
  snapshot_scope_.request_stop();
  TimePoint deadline = loop_.after(kDrainWithin);
  log_debug("stopping: requests");
  if (s3_http_) co_await s3_http_->stop(deadline);
  if (guard_) guard_->stop();
  if (metrics_http_) co_await metrics_http_->stop(deadline);
  if (admin_http_) co_await admin_http_->stop(deadline);
  log_debug("stopping: {} tasks", scope_.running());
  co_await scope_.join();
  log_debug("stopping: cluster");
  if (storage_) storage_->request_stop();
  if (cluster_started_) co_await cluster_->stop();
  log_debug("stopping: storage");
  if (storage_) co_await storage_->stop();
  if (witness_) co_await witness_->stop();
  log_debug("stopping: gossip");
  gossip_.stop();
  log_debug("stopping: peers");
  if (peers_started_) co_await peers_->stop();
  log_debug("stopping: metadata");
  if (kv_) {
    auto folded = co_await kv_->fold();
    if (!folded) log_warn("the journal was not folded: {}", folded.error().message);
    co_await kv_->close();  // cancels a snapshot
    co_await snapshot_scope_.join();
  }
}

}  // namespace covey
