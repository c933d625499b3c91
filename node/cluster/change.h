// How far a change of the layout is: what each node reports, and what the node that leads the
// change concludes. Pure.
//
// Per partition whose set of nodes changes: each next replica pulls the rows, then the partition's
// holder settles it, then each next replica pulls the blocks. The register's rule (docs/spec): the
// new layout may start alone when a quorum of the old set has adopted the joint one and every key's
// highest row is chosen there or committed on a quorum of the new set. Settling proves both.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "gossip/ring/layout.h"

namespace covey {

// What a node has done for one partition. Durable there before it is reported.
inline constexpr uint8_t kRowsHere = 1;    // this replica has the rows
inline constexpr uint8_t kBlocksHere = 2;  // this replica has the blocks
inline constexpr uint8_t kSettled = 4;     // this node, as the holder, has settled it
inline constexpr uint8_t kRowsThere = 8;   // (leader's view) every next replica that is up has them

// One node's part in the joint state of `epoch`.
struct NodeReport {
  uint32_t epoch = 0;
  bool control = false;             // has the control tables
  std::vector<uint8_t> partitions;  // flags per partition
  std::string error;                // what went wrong last, for people; empty: nothing
};
std::string encode(const NodeReport& report);
Result<NodeReport> decode_node_report(std::string_view bytes);  // kInvalid

// What the leader tells the members, so that each knows what is left to do and can show it.
struct ChangeView {
  uint32_t epoch = 0;
  std::vector<uint8_t> partitions;  // kSettled, kRowsThere
  struct Node {
    NodeId id;
    bool away = false;   // neither gossip nor a report shows it alive
    uint32_t moves = 0;  // partitions it pulls
    uint32_t moves_done = 0;
    uint64_t bytes = 0;  // about so much comes to it
    uint64_t bytes_done = 0;
    std::string error;
  };
  std::vector<Node> nodes;  // of the next layout, by id
  uint32_t to_settle = 0, settled = 0;
  uint64_t elapsed_ms = 0;
  uint64_t left_ms = 0;  // an estimate; 0: none yet
  std::string waits;     // for what it waits besides work, for people

  uint32_t moves() const;
  uint32_t moves_done() const;
  uint64_t bytes() const;
  uint64_t bytes_done() const;
};
std::string encode(const ChangeView& view);
Result<ChangeView> decode_change_view(std::string_view bytes);  // kInvalid

struct ChangeInput {
  LayoutState state;                     // joint
  std::map<NodeId, NodeReport> reports;  // the newest of each node, of this epoch
  std::set<NodeId> away;                 // members that are not there now
  std::vector<uint64_t> bytes;           // per partition, about; may be empty
  bool empty = false;  // a quorum of each partition's old replicas held nothing when they adopted
};
struct ChangeVerdict {
  ChangeView view;
  bool safe = false;           // the new layout may start alone
  bool whole = false;          // and everybody who is up has done all of his part
  uint32_t cannot_finish = 0;  // partitions without a live quorum in the next layout
  uint32_t cannot_serve = 0;   // partitions without a live quorum in the current one
};
ChangeVerdict judge_change(const ChangeInput& input);

// How long the rest will take at the pace so far; 0: nobody can tell yet.
uint64_t estimate_left_ms(const ChangeView& view);

// What `next` moves: per partition the nodes it comes to.
struct Move {
  PartitionId partition = 0;
  NodeId to;
};
std::vector<Move> moves_of(const Layout& current, const Layout& next);

}  // namespace covey
