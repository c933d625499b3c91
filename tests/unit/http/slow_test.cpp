// Slow clients, too many clients, and a server that stops. Limits are shortened; nothing here
// fails on a slow machine, because only the server's patience is bounded.
#include <sys/un.h>

#include <cstdio>
#include <thread>

#include "tests/unit/http/client.h"

using namespace covey;
using namespace covey::test;

TEST_CASE("a head that does not end, and a silent connection, are closed") {
  HttpLimits limits;
  limits.head = 1s, limits.idle = 1s;
  Server server(limits);
  Client half(server.port()), silent(server.port()), idle(server.port());
  REQUIRE(half.send("GET / HTTP/1.1\r\nHo"));
  REQUIRE(idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT(idle.read().status == 200);
  EXPECT(idle.closed());
  EXPECT(silent.closed());
  EXPECT(half.read().status == 408);
  half.half_close();
  EXPECT(half.closed());
}

TEST_CASE("a dripping body ends in kTimeout, however regular the drops are") {
  HttpLimits limits;
  limits.body_stall = 2s;
  Server server(limits);
  Client client(server.port());
  REQUIRE(client.send("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"));
  std::atomic<bool> done = false;
  std::thread drip([&] {
    for (int i = 0; i < 600 && !done && client.send("x"); ++i) std::this_thread::sleep_for(100ms);
  });
  auto r = client.read();
  done = true;
  drip.join();
  EXPECT(r.status == 408);
  EXPECT(server.handler.last_error == static_cast<int>(ErrorCode::kTimeout));
}

TEST_CASE("a slow body goes on until others wait for the memory it holds") {
  HttpLimits limits;
  auto waiting = std::make_shared<std::atomic<bool>>(false);
  limits.hurried = [waiting] { return waiting->load(); };
  limits.hurried_stall = 1s;
  Server server(limits);
  Client client(server.port()), small(server.port());
  REQUIRE(client.send("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx"));
  REQUIRE(small.send("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx"));
  EXPECT(eventually([&] { return server.handler.handled == 2; }));
  std::this_thread::sleep_for(3s);
  EXPECT(server.handler.failed == 0);
  *waiting = true;
  EXPECT(client.read().status == 408);
  EXPECT(server.handler.last_error == static_cast<int>(ErrorCode::kTimeout));
  REQUIRE(small.send("y"));  // holds little: it may take its time
  EXPECT(small.read().body == "xy");
}

TEST_CASE("a client that does not read its answer is cut off") {
  HttpLimits limits;
  limits.write_stall = 1s;
  Server server(limits);
  Client client(server.port());
  REQUIRE(client.send("GET /stream/500000000 HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT(eventually([&] { return server.handler.produced > 0 && server.connections() == 0; }));
}

TEST_CASE("one connection too many gets 503; when others leave there is room again") {
  HttpLimits limits;
  limits.connections_max = 2;
  Server server(limits);
  auto one = std::make_unique<Client>(server.port());
  Client two(server.port());
  EXPECT(eventually([&] { return server.connections() == 2; }));
  Client three(server.port());
  EXPECT(three.read().status == 503);
  one.reset();
  EXPECT(eventually([&] { return server.connections() == 1; }));
  Client four(server.port());
  REQUIRE(four.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT(four.read().status == 200);
}

TEST_CASE("two hundred dripping clients do not keep a good one from its answer") {
  Server server;
  std::vector<std::unique_ptr<Client>> drips;
  for (int i = 0; i < 200; ++i) {
    drips.push_back(std::make_unique<Client>(server.port()));
    REQUIRE(drips.back()->send(
        i % 2 ? "GET / HT" : "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"));
  }
  Client good(server.port());
  for (int i = 0; i < 100; ++i) {
    REQUIRE(good.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    REQUIRE(good.read().status == 200);
  }
}

TEST_CASE("stopping lets requests under way finish and closes the idle ones") {
  Server server;
  Client busy(server.port()), idle(server.port());
  REQUIRE(idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT(idle.read().status == 200);
  REQUIRE(busy.send("GET /sleep/200 HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT(eventually([&] { return server.handler.handled == 2; }));
  std::thread stopping([&] { server.stop(30s); });
  EXPECT(idle.closed());
  EXPECT(busy.read().body == "slept");
  EXPECT(busy.closed());
  stopping.join();
}

TEST_CASE("stopping at the deadline cuts off what does not end") {
  Server server;
  Client stuck(server.port());
  REQUIRE(stuck.send("GET /stream/500000000 HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT(eventually([&] { return server.handler.produced > 0; }));
  Client waiting(server.port());
  REQUIRE(waiting.send("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"));
  EXPECT(eventually([&] { return server.handler.handled == 2; }));
  server.stop(100ms);
  EXPECT(server.handler.failed == 1);
}

TEST_CASE("a socket somebody listens on, and a file that is none, stay; one left behind goes") {
  char dir[] = "/tmp/covey-http-XXXXXX";
  REQUIRE(mkdtemp(dir) != nullptr);
  std::string path = std::string(dir) + "/admin.sock";
  Server second;
  {
    Server first;
    REQUIRE(first.listen_unix(path).has_value());
    EXPECT(second.listen_unix(path).is(ErrorCode::kAlreadyExists));
  }
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  std::snprintf(at.sun_path, sizeof at.sun_path, "%s", path.c_str());
  unlink(path.c_str());
  int left = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);  // bound, then gone without a trace
  REQUIRE(bind(left, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  close(left);
  EXPECT(second.listen_unix(path).has_value());
  second.stop(1s);
  unlink(path.c_str());
  FILE* file = std::fopen(path.c_str(), "w");
  std::fclose(file);
  Server third;
  EXPECT(third.listen_unix(path).is(ErrorCode::kAlreadyExists));
  EXPECT(third.listen_unix("/tmp/" + std::string(200, 'x')).is(ErrorCode::kInvalid));
  unlink(path.c_str());
  rmdir(dir);
}
