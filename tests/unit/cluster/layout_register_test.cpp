// The layout register alone: whoever proposes, under loss, one chain comes out.
#include "node/cluster/layout_register.h"

#include "tests/unit/test.h"

#include "tests/unit/cluster/fake_world.h"

using namespace covey;
using namespace std::chrono_literals;

TEST_CASE("members that remove each other at the same time never fork the layout") {
  size_t changes = 0;
  for (uint64_t seed = 200; seed < 230; ++seed) {
    CAPTURE(seed);
    World world(seed);
    world.start(0, false);
    for (int n = 1; n < 5; ++n) world.start(n, true);
    REQUIRE(world.run_until_settled(5));
    std::map<uint32_t, LayoutState> chain;
    bool forked = false;
    for (int n = 0; n < 5; ++n)
      world.at(n).on_adopt([&](const LayoutState& state) {
        auto [at, fresh] = chain.emplace(state.epoch, state);
        forked = forked || at->second != state;
      });
    world.loss = 0.04;
    Scope scope;
    auto remove = [](Cluster& cluster, std::string name) -> Task<void> {
      Cluster::Wish wish;
      wish.remove.push_back(std::move(name));
      (void)co_await cluster.apply(std::move(wish));
    };
    for (int n = 0; n < 5; ++n) scope.spawn(remove(world.at(n), "n" + std::to_string((n + 1) % 5)));
    world.loop.run(scope.join());
    world.loss = 0;
    world.loop.run_for(60s);
    EXPECT_FALSE(forked);
    changes += chain.size();
  }
  EXPECT(changes > 10);
}

TEST_CASE("layout messages survive their byte form; damaged ones are refused") {
  LayoutRequest request{LayoutAsk::kAccept, "base", {7, World::id(3)}, "value"};
  std::string bytes = encode(request);
  auto back = decode_layout_request(bytes);
  REQUIRE(back);
  EXPECT(back->ask == LayoutAsk::kAccept);
  EXPECT(back->ballot == request.ballot);
  EXPECT(back->value == "value");
  for (size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_FALSE(decode_layout_request(bytes.substr(0, cut)));
}
