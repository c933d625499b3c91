// Minimum-cost flow by successive shortest paths. Small and integral: the layout is its only user.
//
// A flow set by hand with seed() must be cheapest for its amount (the layout seeds only edges of
// cost 0 where no cost is negative, which always is); every augment() then keeps the flow cheapest.
// Source: Ahuja, Magnanti, Orlin, "Network Flows", chapter 9.
#pragma once

#include <cstdint>
#include <vector>

namespace covey {

class FlowGraph {
 public:
  using Vertex = uint32_t;
  using Edge = uint32_t;

  explicit FlowGraph(uint32_t vertices) : edges_of_(vertices) {}

  // REQUIRES: capacity >= 0, cost >= 0.
  Edge add_edge(Vertex from, Vertex to, int32_t capacity, int32_t cost);
  // Puts one more unit on the edge. REQUIRES: room(edge) > 0.
  void seed(Edge edge);
  // Sends one more unit along the cheapest way; false if none is left.
  bool augment(Vertex source, Vertex sink);
  void raise_capacity(Edge edge, int32_t by) { edges_[edge].room += by; }

  int32_t flow(Edge edge) const { return edges_[edge ^ 1].room; }
  int32_t room(Edge edge) const { return edges_[edge].room; }

 private:
  struct HalfEdge {
    Vertex to;
    int32_t room;  // what can still be sent; the twin's room is what has been sent
    int32_t cost;
  };
  std::vector<HalfEdge> edges_;  // an edge at 2k, its reverse at 2k + 1
  std::vector<std::vector<Edge>> edges_of_;
};

}  // namespace covey
