// ControlStore: the replicated control tables. Every row lives on every node, in memory and in Kv.
// A write is stamped with a hybrid logical clock, stored here, pushed to all members and complete
// when a majority has it on disk. Nodes compare digests when one comes back and from time to time,
// and pull what they lack: merging is a join, so order does not matter.
//
// What a node holds may be old: it was away, or a push did not reach it. A majority of the members
// that say, under one layout epoch, that they have nothing more proves that it is not (confirm()).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/async/event.h"
#include "base/async/runtime.h"
#include "base/crdt/hlc.h"
#include "gossip/ring/topology.h"
#include "proto/peers.h"
#include "proto/rows.pb.h"
#include "store/meta/kv.h"
#include "store/table/control.h"

namespace covey {

class ControlStore : public ControlTables, public PeerHandler {
 public:
  // Everything outlives it. Registers itself as the handler of PeerService::kControl.
  ControlStore(Runtime runtime, Kv& kv, Peers& peers, const Topology& topology);

  // Reads what this node has. Before anything else.
  Status load();
  // Compares with the other nodes until the scope stops.
  Task<void> run(Scope& scope);
  // One comparison with one node: pulls what it has and we lack, pushes nothing. `epoch` not 0:
  // kUnavailable if the other one works under another layout. What was pulled is durable.
  Task<Status> sync_with(NodeId peer, uint32_t epoch = 0);
  // While the layout changes: this node has every row that was acknowledged before. Errors:
  // kUnavailable (no majority of the current members answers).
  Task<Status> catch_up(TimePoint deadline);

  std::optional<std::string> get(std::string_view table, std::string_view key) const override;
  std::vector<std::pair<std::string, std::string>> list(std::string_view table) const override;
  Task<Status> put(std::string table, std::string key, std::string value,
                   TimePoint deadline) override;
  Task<Status> remove(std::string table, std::string key, TimePoint deadline) override;
  // Who asks while a comparison is under way waits for the next one, together with all others, so
  // that many questions cost little.
  Task<Status> confirm(TimePoint deadline) override;
  Task<Status> rewrite(std::string table, std::string key, std::string value,
                       TimePoint deadline) override;
  void on_change(std::string table, std::function<void(std::string_view key)> watcher) override;

  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override;

 private:
  using RowKey = std::pair<std::string, std::string>;  // table, key

  Task<Status> write(rows::ControlRow row, TimePoint deadline);
  Task<Status> write_as(rows::ControlRow row, HlcStamp rank, TimePoint deadline);
  // Majority of the members, of both sets while joint. kStale: the layout has changed meanwhile.
  Task<Status> push(rows::ControlRow row, TimePoint deadline);
  // Takes the rows that are newer than ours; durable when it completes.
  Task<Status> merge(std::vector<rows::ControlRow> rows);
  Task<void> sync_into(NodeId peer, uint32_t epoch, std::vector<NodeId>& same);
  Task<Status> compare_with_majority();
  uint64_t digest() const;
  rows::ControlMessage page_after(std::string after) const;

  Runtime runtime_;
  Kv& kv_;
  Peers& peers_;
  const Topology& topology_;
  Hlc hlc_;
  std::map<RowKey, rows::ControlRow> rows_;
  mutable std::optional<uint64_t> digest_;  // of rows_
  struct Rounds {                           // comparisons by confirm(), counted; one at a time
    uint64_t begun = 0, ended = 0, good = 0;
    TimePoint not_before;
    Status failure;               // of the last one
    std::shared_ptr<Event> over;  // set at the end of the one under way
  };
  Rounds rounds_;
  std::vector<std::pair<std::string, std::function<void(std::string_view)>>> watchers_;
};

}  // namespace covey
