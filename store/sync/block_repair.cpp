#include "store/sync/block_repair.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/core/log.h"
#include "store/sync/named_blocks.h"
#include "store/sync/named_versions.h"

namespace covey {
namespace {

// On their way here at once, of all partitions: 1 MiB blocks twice in memory each. Measured with
// three nodes on two cores: two bring 90 % of what four do, three all of it; what waits beyond,
// requests wait behind.
constexpr size_t kFetchesMax = 3;
constexpr size_t kHeldMax = kFetchesMax + 1;  // with those that are being written
constexpr Duration kFetchTimeout = std::chrono::seconds(20);
constexpr int kBusyRetries = 6;
constexpr Duration kBusyPause = std::chrono::milliseconds(250);
constexpr size_t kLostLogged = 8;  // in one call
// Round trips that differ by less than this, or by less than a factor of two, are alike. More than
// this node's own queue adds while it is refilled: gossip measures it, of one source earlier than
// of the other.
constexpr Duration kAboutAsNear = std::chrono::milliseconds(20);

// The other node has not answered, or not to the purpose: somebody else may.
bool silent_error(const Status& status) {
  return status.is(ErrorCode::kUnavailable) || status.is(ErrorCode::kTimeout) ||
         status.is(ErrorCode::kStale) || status.is(ErrorCode::kOverloaded) ||
         status.is(ErrorCode::kCancelled) || status.is(ErrorCode::kInvalid);
}

// How many of `nodes`, nearest first, are about as near as the nearest.
size_t count_near(const std::vector<NodeId>& nodes, const Topology& topology) {
  if (nodes.empty()) return 0;
  const NodeId nearest = nodes.front();
  const Duration most =
      std::max(2 * topology.round_trip(nearest), topology.round_trip(nearest) + kAboutAsNear);
  auto end = std::find_if(nodes.begin(), nodes.end(), [&](const NodeId& node) {
    return topology.alive(node) != topology.alive(nearest) ||
           topology.same_zone(node) != topology.same_zone(nearest) ||
           topology.round_trip(node) > most;
  });
  return static_cast<size_t>(end - nodes.begin());
}

}  // namespace

BlockRepair::BlockRepair(Runtime runtime, Kv& kv, const Topology& topology, BlockService& blocks)
    : runtime_(runtime), kv_(kv), topology_(topology), blocks_(blocks), pace_(kFetchesMax) {}

uint64_t BlockRepair::estimate(PartitionId partition) const {
  return blocks_.segments().bytes_of(partition);
}

std::vector<NodeId> BlockRepair::nearest_first(std::vector<NodeId> nodes) const {
  std::erase(nodes, topology_.self());
  auto rank = [&](const NodeId& n) {
    return std::tuple(!topology_.alive(n), !topology_.same_zone(n), topology_.round_trip(n));
  };
  std::stable_sort(nodes.begin(), nodes.end(),
                   [&](const NodeId& a, const NodeId& b) { return rank(a) < rank(b); });
  return nodes;
}

// A call that may go on.
Status BlockRepair::still(const Job& job) const {
  if (topology_.layout()->epoch != job.epoch)
    return fail(ErrorCode::kStale, "the layout changed: look at the partition again");
  if (runtime_.clock.now() >= job.deadline)
    return fail(ErrorCode::kTimeout, "there was more to fetch than the time allowed");
  return {};
}

bool BlockRepair::lacks(const BlockKey& key) const {
  return !blocks_.segments().has(key) && !blocks_.segments().refused(key.id.version);
}

// What a node that was replaced has is not waited for, though it is asked: or a block that nobody
// else has would keep its heir from the layout for ever.
bool BlockRepair::may_come_back(const NodeId& node) const {
  return !topology_.layout()->replaced(node);
}

Task<Result<BlockRepair::Report>> BlockRepair::catch_up(PartitionId partition, TimePoint deadline) {
  auto layout = topology_.layout();
  std::vector<NodeId> all = replica_sets(*layout, partition).all();
  if (std::find(all.begin(), all.end(), topology_.self()) == all.end())
    co_return fail(ErrorCode::kInvalid, "this node is no replica of the partition");
  all = nearest_first(std::move(all));
  const size_t near = count_near(all, topology_);
  // They take turns with the lists, from partition to partition, and share in the blocks.
  if (near > 1) std::rotate(all.begin(), all.begin() + partition % near, all.begin() + near);
  Job job{partition, layout->epoch, deadline, std::move(all), near, {}};
  if (will_be_alone(partition)) {
    CO_TRY_STATUS(co_await verify_own(job));
  }
  CO_TRY(std::vector<BlockKey> waiting, blocks_.waiting_repairs(partition));
  ++progress_.partitions;
  size_t silent = 0;
  Status done;
  for (const NodeId& node : job.others) {
    done = co_await from_node(job, node);
    if (done) continue;
    Status going = still(job);
    if (!going) done = std::move(going);
    if (!going || !silent_error(done)) break;
    log_debug("no blocks of partition {} from {}: {}", partition, short_name(node),
              to_string(done.error()));
    silent += may_come_back(node);
    done = Status();
  }
  if (done) done = co_await check_rows(job, silent);
  --progress_.partitions;
  CO_TRY_STATUS(std::move(done));
  if (silent > 0 && silent == job.others.size())
    co_return fail(ErrorCode::kUnavailable, "no other replica of the partition answers");
  if (silent == 0) {
    Status settled = co_await settle_repairs(partition, std::move(waiting));
    if (!settled)
      log_debug("repairs of partition {} stay for now: {}", partition, to_string(settled.error()));
  }
  co_return job.report;
}

// A bad copy of a write that was never finished may have been the only one; on a node alone every
// copy is. Now that all other replicas, if there are any, have said what they have, nobody needs
// what is still missing and no row names. What any row names, and be it a copy's claim only, stays
// in the queue, and in sight, until it is given back.
Task<Status> BlockRepair::settle_repairs(PartitionId partition, std::vector<BlockKey> waiting) {
  std::erase_if(waiting, [&](const BlockKey& key) { return blocks_.segments().has(key); });
  if (waiting.empty()) co_return Status();
  std::vector<SuspectVersion> suspects;
  for (const BlockKey& key : waiting) {  // in order
    const VersionId& version = key.id.version;
    // Whether it is of a part its record would say, and that is bad.
    if (suspects.empty() || suspects.back().version != version) suspects.push_back({version, true});
  }
  CO_TRY(std::set<VersionId> named, co_await named_versions(runtime_.loop, kv_, blocks_.segments(),
                                                            partition, std::move(suspects)));
  std::erase_if(waiting, [&](const BlockKey& key) {
    return named.contains(key.id.version) || blocks_.segments().has(key);
  });
  if (waiting.empty()) co_return Status();
  log_info("partition {}: {} bad blocks are on no other node, and no row names them", partition,
           waiting.size());
  blocks_.give_up_repairs(waiting);
  co_return Status();
}

// Everything that the node has of the partition and this one lacks.
Task<Status> BlockRepair::from_node(Job& job, NodeId node) {
  std::optional<BlockId> after;
  for (bool more = true; more;) {
    CO_TRY_STATUS(still(job));
    TimePoint until = std::min(job.deadline, runtime_.clock.after(kListTimeout));
    CO_TRY(BlockList list,
           co_await blocks_.list_at(node, job.partition, after, kListedAtOnce, until));
    std::vector<Wanted> wanted;
    for (const BlockList::Item& item : list.items) {
      if (lacks({job.partition, item.id})) wanted.push_back({item.id, item.bytes});
    }
    if (!list.items.empty()) after = list.items.back().id;
    more = list.more && !list.items.empty();
    CO_TRY_STATUS(co_await fetch_all(job, node, std::move(wanted)));
  }
  co_return Status();
}

Task<Status> BlockRepair::fetch_all(Job& job, NodeId node, std::vector<Wanted> wanted) {
  Batch batch;
  batch.sources = alike(job, node);
  for (const Wanted& one : wanted) ++batch.open, batch.open_bytes += one.bytes;
  job.report.blocks_missing += batch.open, job.report.bytes_missing += batch.open_bytes;
  progress_.blocks_missing += batch.open, progress_.bytes_missing += batch.open_bytes;
  for (const Wanted& one : wanted) {
    co_await wait_for_slot();
    Status going = still(job);
    if (batch.failed && !going) batch.failed = std::move(going);
    if (!batch.failed) {
      --held_;
      --on_wire_;
      freed_.set();
      break;
    }
    batch.scope.spawn(fetch_one(job, batch, node, one));
  }
  co_await batch.scope.join();
  // What did not come is missing still, but not waited for any more.
  progress_.blocks_missing -= batch.open, progress_.bytes_missing -= batch.open_bytes;
  co_return std::move(batch.failed);
}

// Where what `node` has can be had as well, most likely: those about as near as the nearest.
std::vector<NodeId> BlockRepair::alike(const Job& job, NodeId node) const {
  std::vector<NodeId> near(job.others.begin(), job.others.begin() + job.near);
  if (std::find(near.begin(), near.end(), node) == near.end()) near.assign(1, node);
  return near;
}

// Who sends least at the moment. A source that alone fills this node's link fills its own as well,
// and what its clients and the other nodes wait for queues there behind blocks; several at once
// meet at this node's link, and theirs stay free.
NodeId BlockRepair::idlest(const std::vector<NodeId>& sources) const {
  auto load = [this](const NodeId& node) {
    auto found = sending_.find(node);
    return found == sending_.end() ? 0 : found->second;
  };
  return *std::min_element(sources.begin(), sources.end(),
                           [&](const NodeId& a, const NodeId& b) { return load(a) < load(b); });
}

Task<void> BlockRepair::wait_for_slot() {
  while (held_ >= kHeldMax || on_wire_ >= pace_.window()) {
    freed_.reset();
    co_await freed_.wait();
  }
  ++held_;
  ++on_wire_;
  Duration pause = pace_.pause();
  if (pause > Duration::zero()) co_await runtime_.clock.sleep(pause);
}

Task<Result<BlockService::Fetched>> BlockRepair::copy_from(NodeId node, BlockKey key,
                                                           TimePoint deadline) {
  ++sending_[node];
  Result<BlockService::Fetched> copy = fail(ErrorCode::kOverloaded);
  for (int tries = 0; tries < kBusyRetries; ++tries) {
    TimePoint until = std::min(deadline, runtime_.clock.after(kFetchTimeout));
    copy = co_await blocks_.fetch(node, key, until);
    if (!copy.is(ErrorCode::kOverloaded)) break;
    co_await runtime_.clock.sleep(kBusyPause);
  }
  if (--sending_[node] == 0) sending_.erase(node);
  co_return copy;
}

Task<Status> BlockRepair::keep(BlockService::Fetched copy) {
  Status kept;
  for (int tries = 0; tries < kBusyRetries; ++tries) {
    kept = co_await blocks_.keep(copy);
    if (!kept.is(ErrorCode::kOverloaded)) break;
    co_await runtime_.clock.sleep(kBusyPause);
  }
  co_return kept;
}

Task<void> BlockRepair::fetch_one(Job& job, Batch& batch, NodeId node, Wanted wanted) {
  BlockKey key{job.partition, wanted.id};
  TimePoint start = runtime_.clock.now();
  const NodeId first = idlest(batch.sources);
  auto copy = co_await copy_from(first, key, job.deadline);
  if (!copy && first != node) {
    std::erase(batch.sources, first);  // the rest it may lack as well
    copy = co_await copy_from(node, key, job.deadline);
  }
  pace_.finished(runtime_.clock.now() - start);
  --on_wire_;
  freed_.set();
  Status fetched;
  if (copy) {
    fetched = co_await keep(std::move(*copy));
  } else {
    fetched = tl::unexpected<Error>(std::move(copy).error());
  }
  --held_;
  freed_.set();
  --batch.open, batch.open_bytes -= wanted.bytes;
  --progress_.blocks_missing, progress_.bytes_missing -= wanted.bytes;
  if (fetched) {
    ++job.report.blocks_fetched, job.report.bytes_fetched += wanted.bytes;
    ++progress_.blocks_fetched, progress_.bytes_fetched += wanted.bytes;
    co_return;
  }
  // Reclaimed meanwhile, here or there, or bad there: whether it is still wanted the rows say.
  if (fetched.is(ErrorCode::kNotFound) || fetched.is(ErrorCode::kCorrupt) ||
      (fetched.is(ErrorCode::kStale) && blocks_.segments().refused(wanted.id.version)))
    co_return;
  if (batch.failed) batch.failed = std::move(fetched);
}

Task<Status> BlockRepair::check_rows(Job& job, size_t silent) {
  NamedBlocks names(kv_, job.partition);
  while (!names.done()) {
    CO_TRY_STATUS(still(job));
    CO_TRY(std::vector<NamedBlocks::Named> named, names.next());
    std::vector<Wanted> wanted;
    for (const NamedBlocks::Named& one : named) {
      if (lacks({job.partition, one.id})) wanted.push_back({one.id, one.bytes});
      if (wanted.size() < kBlockIdsMax) continue;
      CO_TRY_STATUS(co_await look_everywhere(job, std::move(wanted), silent));
      wanted.clear();
    }
    if (!wanted.empty()) {
      CO_TRY_STATUS(co_await look_everywhere(job, std::move(wanted), silent));
    }
    co_await runtime_.loop.yield();
  }
  co_return Status();
}

// Blocks that rows name and that no list brought.
Task<Status> BlockRepair::look_everywhere(Job& job, std::vector<Wanted> wanted, size_t silent) {
  for (const NodeId& node : job.others) {
    if (wanted.empty()) co_return Status();
    std::vector<BlockId> ids;
    for (const Wanted& one : wanted) ids.push_back(one.id);
    TimePoint until = std::min(job.deadline, runtime_.clock.after(kListTimeout));
    auto held = co_await blocks_.held_at(node, job.partition, std::move(ids), until);
    if (!held) {
      silent += may_come_back(node);
      continue;
    }
    std::vector<Wanted> there, left;
    for (size_t i = 0; i < wanted.size(); ++i) ((*held)[i] ? there : left).push_back(wanted[i]);
    Status fetched = co_await fetch_all(job, node, std::move(there));
    if (!fetched && !silent_error(fetched)) co_return fetched;
    if (!fetched) {
      silent += may_come_back(node);
      continue;
    }
    wanted = std::move(left);  // what is not here now was refused there: reclaimed
  }
  std::erase_if(wanted, [&](const Wanted& one) { return !lacks({job.partition, one.id}); });
  if (wanted.empty()) co_return Status();
  if (silent > 0)
    co_return fail(
        ErrorCode::kUnavailable,
        fmt::format("block {} {} is missing here, and not every replica that may have it answers",
                    wanted[0].id.version.hex(), wanted[0].id.index));
  for (size_t i = 0; i < wanted.size() && i < kLostLogged; ++i)
    log_error("block {} {} of partition {} is named by a row and no replica has it",
              wanted[i].id.version.hex(), wanted[i].id.index, job.partition);
  job.report.blocks_lost += wanted.size();
  progress_.blocks_lost += wanted.size();
  co_return Status();
}

}  // namespace covey
