// Control tables: what a node holds may be old, and it knows whether it is.
#include "store/table/control_store.h"

#include "tests/unit/sync/sync_cluster.h"

using namespace covey;

namespace {

// A control store on every node of a cluster of three members, and of others that are none.
struct Tables : SyncCluster {
  explicit Tables(size_t nodes_all = 3, size_t members = 3) : SyncCluster(nodes_all) {
    auto fewer = std::make_shared<LayoutState>(*state);
    fewer->current.members.resize(members);
    for (size_t i = 0; i < nodes_all; ++i) {
      nodes[i]->topology->adopt(fewer);
      open(i);
    }
  }
  ~Tables() {
    loop.run(work.join());
    for (auto& one : all) loop.run(one->peers->idle());
    for (auto& store : stores) store.reset();
  }
  void open(size_t i) {
    auto& one = *nodes[i]->now;
    stores.resize(nodes.size());
    stores[i] =
        std::make_unique<ControlStore>(one.runtime, *one.kv, *one.peers, *nodes[i]->topology);
    CHECK(stores[i]->load().has_value());
  }
  void cut(size_t i) {
    for (size_t k = 0; k < nodes.size(); ++k)
      if (k != i) net.cut(nodes[i]->id, nodes[k]->id), net.cut(nodes[k]->id, nodes[i]->id);
  }
  bool put(size_t i, std::string key, std::string value) {
    return loop.run(stores[i]->put("keys", std::move(key), std::move(value), soon())).has_value();
  }
  bool remove(size_t i, std::string key) {
    return loop.run(stores[i]->remove("keys", std::move(key), soon())).has_value();
  }
  bool rewrite(size_t i, std::string key, std::string value) {
    return loop.run(stores[i]->rewrite("keys", std::move(key), std::move(value), soon()))
        .has_value();
  }
  bool confirm(size_t i) { return loop.run(stores[i]->confirm(soon(5))).has_value(); }
  std::string get(size_t i, std::string key) { return stores[i]->get("keys", key).value_or("-"); }

  Task<void> confirm_and_look(size_t i, std::string key, std::vector<std::string>& seen) {
    Status sure = co_await stores[i]->confirm(soon());
    seen.push_back(sure ? get(i, key) : "unsure");
  }
  std::vector<std::unique_ptr<ControlStore>> stores;
  Scope work;
};

}  // namespace

TEST_CASE("a node that is no member learns what it lacks before it denies it") {
  Tables c(4, 3);
  REQUIRE(c.put(0, "k", "v"));
  EXPECT(c.get(3, "k") == "-");  // writes are pushed to members only
  REQUIRE(c.confirm(3));
  EXPECT(c.get(3, "k") == "v");
  REQUIRE(c.loop.run(c.stores[1]->remove("keys", "k", c.soon())).has_value());
  REQUIRE(c.confirm(3));
  EXPECT(c.get(3, "k") == "-");
}

TEST_CASE("without a majority of the members nothing is confirmed") {
  Tables c(4, 3);
  REQUIRE(c.confirm(0));
  c.cut(0);
  EXPECT_FALSE(c.confirm(0));
  c.net.heal();
  c.cut(1), c.cut(2);
  EXPECT_FALSE(c.confirm(0));
  EXPECT_FALSE(c.confirm(3));
  c.net.heal();
  EXPECT(c.confirm(0));
  EXPECT(c.confirm(3));
}

TEST_CASE("a member that missed a write does not deny it") {
  Tables c;
  c.cut(2);
  REQUIRE(c.put(0, "k", "v"));
  EXPECT_FALSE(c.confirm(2));
  c.net.heal();
  EXPECT(c.get(2, "k") == "-");
  c.cut(1);  // of the other two one suffices, whichever
  REQUIRE(c.confirm(2));
  EXPECT(c.get(2, "k") == "v");
}

TEST_CASE("members under another layout prove nothing") {
  Tables c(5, 3);
  LayoutState later = *c.nodes[0]->topology->layout();
  later.epoch += 2;
  later.current = c.state->current;  // all five
  for (size_t i : {0, 1, 3, 4}) c.adopt(i, later);
  REQUIRE(c.confirm(0));
  // Node 2 knows of three members only, two of which have gone on.
  EXPECT_FALSE(c.confirm(2));
  c.adopt(2, later);
  EXPECT(c.confirm(2));
}

TEST_CASE("while the layout is joint a majority of both sets is needed") {
  Tables c(5, 3);
  LayoutState joint = *c.nodes[0]->topology->layout();
  joint.epoch += 1;
  joint.next = c.state->current;
  joint.next->version += 1;
  std::erase_if(joint.next->members,
                [&](const Member& m) { return m.id == c.nodes[0]->id || m.id == c.nodes[1]->id; });
  for (size_t i = 0; i < 5; ++i) c.adopt(i, joint);
  EXPECT(c.confirm(0));
  c.cut(3), c.cut(4);  // of the next set only node 2 is left
  EXPECT_FALSE(c.confirm(0));
}

TEST_CASE("many questions at once cost one comparison or two, and none is answered too early") {
  Tables c(4, 3);
  std::vector<std::string> seen, early;
  REQUIRE(c.put(0, "k", "v"));
  size_t messages = 0;
  c.net.on_arrival([&](const NodeId&, const NodeId&, uint8_t, std::string_view) { ++messages; });
  c.work.spawn(c.confirm_and_look(3, "k", early));  // under way when the others come
  for (int i = 0; i < 100; ++i) c.work.spawn(c.confirm_and_look(3, "k", seen));
  c.loop.run(c.work.join());
  c.net.on_arrival({});
  EXPECT(std::count(seen.begin(), seen.end(), "v") == 100);
  EXPECT(messages < 20);
}

TEST_CASE("a rewritten row takes the old one's place, and loses against what was written since") {
  Tables c;
  REQUIRE(c.put(0, "kept", "a"));
  REQUIRE(c.put(0, "gone", "a"));
  REQUIRE(c.put(0, "changed", "a"));
  for (const char* value : {"b", "c"}) {
    REQUIRE(c.rewrite(1, "kept", value));
    for (size_t i = 0; i < 3; ++i) EXPECT(c.get(i, "kept") == value);
  }
  c.cut(2);
  REQUIRE(c.remove(0, "gone"));
  REQUIRE(c.put(1, "changed", "b"));
  EXPECT_FALSE(c.rewrite(2, "gone", "sealed anew"));  // here only, for nobody else answers
  EXPECT_FALSE(c.rewrite(2, "changed", "sealed anew"));
  EXPECT(c.get(2, "gone") == "sealed anew");
  c.net.heal();
  for (size_t i = 0; i < 3; ++i) REQUIRE(c.confirm(i));
  REQUIRE(c.loop.run(c.stores[0]->sync_with(c.nodes[2]->id)).has_value());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT(c.get(i, "gone") == "-");
    if (i != 2) EXPECT(c.get(i, "changed") == "b");
  }
  REQUIRE(c.loop.run(c.stores[2]->sync_with(c.nodes[0]->id)).has_value());
  EXPECT(c.get(2, "changed") == "b");
  EXPECT_FALSE(c.rewrite(0, "gone", "x"));
  EXPECT_FALSE(c.rewrite(0, "never", "x"));
  for (int i = 0; i < 300; ++i) REQUIRE(c.rewrite(0, "kept", std::to_string(i)));
  EXPECT(c.get(2, "kept") == "299");
}
