#include "tests/unit/test.h"

#include "base/async/event.h"
#include "base/os/address.h"
#include "base/os/uv_datagrams.h"
#include "base/os/uv_loop.h"
#include "base/os/uv_pool.h"

using namespace covey;
using namespace std::chrono_literals;

TEST_CASE("addresses as people write them") {
  EXPECT(parse_address("192.168.1.7:3901").value() == Address{"192.168.1.7", 3901});
  EXPECT(parse_address("[fd00::7]:3901").value() == Address{"fd00::7", 3901});
  EXPECT(parse_address("fd00::7", 5).value() == Address{"fd00::7", 5});
  EXPECT(parse_address("box.local", 5).value() == Address{"box.local", 5});
  EXPECT(parse_address("box:0").value() == Address{"box", 0});
  for (const char* bad : {"", ":", ":1", "a:", "a:b", "a:65536", "a:-1", "[::1", "[::1]",
                          "[::1]:", "[::1]x1", "[a]:1", "a:1:2", "a b:1", "a", "1.2.3.4"}) {
    CAPTURE(bad);
    EXPECT(parse_address(bad).is(ErrorCode::kInvalid));
  }
}

static Task<void> ping(UvLoop& loop, Address on) {
  auto a = UvDatagrams::bind(loop, on);
  auto b = UvDatagrams::bind(loop, Address{"127.0.0.1", 0});
  if (!a) co_return;  // no IPv6 here
  REQUIRE(b.has_value());
  auto taken = UvDatagrams::bind(loop, (*b)->local());
  EXPECT(taken.is(ErrorCode::kUnavailable));
  Event echoed;
  (*a)->on_receive([&](const Address& from, std::string_view bytes) {
    EXPECT(from == (*b)->local());
    (*a)->send(from, bytes);
  });
  std::string got;
  (*b)->on_receive([&](const Address& from, std::string_view bytes) {
    EXPECT(from == Address{"127.0.0.1", (*a)->local().port});
    got = bytes;
    echoed.set();
  });
  Address to{"127.0.0.1", (*a)->local().port};
  std::string sent(1300, 'x');
  while (!echoed.is_set()) {
    (*b)->send(to, sent);
    co_await echoed.wait_until(loop, loop.after(100ms));
  }
  EXPECT(got == sent);
}

TEST_CASE("datagrams go there and back, also over a socket that takes both families") {
  UvLoop loop("udp");
  run_task(loop, ping(loop, Address{"127.0.0.1", 0}));
  run_task(loop, ping(loop, Address{"::", 0}));
}

TEST_CASE("names are looked up on the pool") {
  UvPool pool("names", 1);
  UvLoop loop("names");
  auto local = run_task(loop, resolve(pool, Address{"127.0.0.1", 7}));
  REQUIRE(local.has_value());
  EXPECT(*local == std::vector<Address>{Address{"127.0.0.1", 7}});
  EXPECT_FALSE(run_task(loop, resolve(pool, Address{"no.such.host.invalid", 7})).has_value());
}
