#include "tests/sim/register/node.h"

#include <algorithm>

#include "store/meta/keyspace.h"
#include "store/register/walk.h"

namespace covey {

RegisterNode::RegisterNode(SimLoop& loop, SimRng& rng, SimNetwork& net, const RegisterTable& table,
                           Member member, std::shared_ptr<const LayoutState> layout)
    : host(loop, rng, member.name),
      topology(member.id, std::move(layout)),
      loop_(loop),
      net_(net),
      table_(table),
      id_(member.id) {}

Task<void> RegisterNode::start() {
  auto one = std::make_shared<RegisterIncarnation>(RegisterIncarnation{host.runtime()});
  all_.push_back(one);
  SimDisk* disk = &host.disk;
  uint64_t crashes = disk->crashes();
  one->target = std::make_unique<MemoryTarget>(
      loop_, rows_, [disk, crashes] { return disk->crashes() != crashes; });
  KvOptions options;
  options.dir = "/meta";
  options.journal_file_bytes = 64 * kKiB;
  options.fold_bytes = 16 * kKiB;
  options.fatal = [](const Error&) {};
  auto kv = co_await open_kv(std::move(options), one->runtime, *one->target);
  CHECK(kv.has_value());
  one->kv = std::move(*kv);
  const uint64_t recovered = one->kv->durable_sequence();
  co_await purge(*one->kv);
  Peers& peers = peers_of(*one, recovered);
  std::vector<const RegisterTable*> tables{&table_};
  auto service =
      co_await RegisterService::open(one->runtime, *one->kv, topology, peers, std::move(tables));
  CHECK(service.has_value());
  one->service = std::move(*service);
  peers.serve(PeerService::kRegister, *one->service);
  one->sync = std::make_unique<RowSync>(one->runtime, *one->kv, *one->service, topology, peers);
  peers.serve(PeerService::kSync, *one->sync);
  now = one;
  if (one->witness) {
    RegisterIncarnation* raw = one.get();
    one->service->stand_by(true);
    one->witness->on_change = [raw] { raw->service->stand_by(!raw->witness->cleared()); };
    one->witness->on_forgot = [raw](const std::string&) { raw->forgot = true; };
    one->witness->start(topology);
  }
  co_await purge(*one->kv);  // it may have adopted a layout meanwhile
}

Peers& RegisterNode::peers_of(RegisterIncarnation& one, uint64_t recovered) {
  one.peers = std::make_unique<SimPeers>(net_, id_);
  if (!witnessed) return *one.peers;
  Witness::Start start{++boots_, recovered, boots_ == 1};
  one.witness = std::make_unique<Witness>(one.runtime, *one.kv, *one.peers, start);
  CHECK(one.witness->load().has_value());
  return *one.witness;
}

void RegisterNode::restore(const Backup& backup) {
  CHECK(!now);
  host.disk.restore(*backup.disk);
  rows_ = backup.rows;
  boots_ = backup.boots;
}

void RegisterNode::crash() {
  if (!now) return;
  if (now->witness) now->witness->request_stop();
  now->crashed = true;
  now->peers->down();
  host.disk.crash();
  now->sync->stop();
  zombies_.spawn(now->service->stop());
  now = nullptr;
}

Task<void> RegisterNode::stop_all() {
  for (auto& one : all_) {
    if (one->sync) one->sync->stop();
    co_await one->service->stop();
    if (one->witness) co_await one->witness->stop();
    co_await one->peers->idle();
    co_await one->kv->close();
  }
  co_await zombies_.join();
}

Task<void> RegisterNode::adopt(std::shared_ptr<const LayoutState> layout) {
  std::shared_ptr<const LayoutState> old = topology.layout();
  if (layout->epoch <= old->epoch) co_return;
  for (PartitionId p = 0; p < layout->current.partitions(); ++p) {
    auto holds = [this](const std::vector<NodeId>& nodes) {
      return std::find(nodes.begin(), nodes.end(), id_) != nodes.end();
    };
    if (holds(replica_sets(*old, p).all()) && !holds(replica_sets(*layout, p).all()))
      left_.insert(p);
  }
  topology.adopt(std::move(layout));
  if (!now) co_return;
  auto here = now;
  here->service->on_epoch_change();
  co_await purge(*here->kv);
}

Task<void> RegisterNode::purge(Kv& kv) {
  std::set<PartitionId> leaving = left_;
  WriteBatch batch;
  for (PartitionId p : leaving) {
    for (TableId table :
         {table_.id(), TableId::kAttachments, TableId::kPartitions, TableId::kFences}) {
      std::string begin = register_store_prefix(table, p);
      auto it = kv.scan(begin, behind_prefix(begin));
      for (; it->valid(); it->next()) batch.erase(std::string(it->key()));
    }
  }
  Status done;
  if (!batch.empty()) done = co_await kv.write(std::move(batch));
  if (!done) co_return;  // crashed meanwhile: again at the next start
  for (PartitionId p : leaving) left_.erase(p);
}

}  // namespace covey
