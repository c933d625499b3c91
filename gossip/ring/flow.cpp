#include "gossip/ring/flow.h"

#include <deque>
#include <limits>

#include "base/core/check.h"

namespace covey {

FlowGraph::Edge FlowGraph::add_edge(Vertex from, Vertex to, int32_t capacity, int32_t cost) {
  CHECK(capacity >= 0 && cost >= 0);
  Edge edge = static_cast<Edge>(edges_.size());
  edges_.push_back({to, capacity, cost});
  edges_.push_back({from, 0, -cost});
  edges_of_[from].push_back(edge);
  edges_of_[to].push_back(edge ^ 1);
  return edge;
}

void FlowGraph::seed(Edge edge) {
  CHECK(edges_[edge].room > 0);
  --edges_[edge].room;
  ++edges_[edge ^ 1].room;
}

bool FlowGraph::augment(Vertex source, Vertex sink) {
  // Bellman-Ford with a queue: reverse edges may cost -1, and no cycle is negative.
  constexpr int32_t kFar = std::numeric_limits<int32_t>::max();
  constexpr Edge kNone = std::numeric_limits<Edge>::max();
  std::vector<int32_t> distance(edges_of_.size(), kFar);
  std::vector<Edge> reached_by(edges_of_.size(), kNone);
  std::vector<bool> queued(edges_of_.size(), false);
  std::deque<Vertex> queue{source};
  distance[source] = 0;
  while (!queue.empty()) {
    Vertex at = queue.front();
    queue.pop_front();
    queued[at] = false;
    for (Edge edge : edges_of_[at]) {
      const HalfEdge& way = edges_[edge];
      if (way.room == 0 || distance[at] + way.cost >= distance[way.to]) continue;
      distance[way.to] = distance[at] + way.cost;
      reached_by[way.to] = edge;
      if (!queued[way.to] && way.to != sink) queue.push_back(way.to), queued[way.to] = true;
    }
  }
  if (distance[sink] == kFar) return false;
  for (Vertex at = sink; at != source; at = edges_[reached_by[at] ^ 1].to) seed(reached_by[at]);
  return true;
}

}  // namespace covey
