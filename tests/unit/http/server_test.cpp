#include <thread>

#include "tests/unit/http/client.h"

using namespace covey;
using namespace covey::test;

TEST_CASE("keep-alive, and one write holds head and body") {
  Server server;
  Client client(server.port());
  for (int i = 0; i < 3; ++i) {
    REQUIRE(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    auto r = client.read();
    EXPECT(r.status == 200);
    EXPECT(r.body == "hello");
    EXPECT(r.has("\r\nDate: "));
    EXPECT_FALSE(r.has("Connection: close"));
  }
  REQUIRE(client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
  EXPECT(client.read().has("Connection: close"));
  EXPECT(client.closed());
}

TEST_CASE("HTTP/1.0 closes unless it asks to be kept") {
  Server server;
  Client once(server.port());
  REQUIRE(once.send("GET / HTTP/1.0\r\n\r\n"));
  EXPECT(once.read().body == "hello");
  EXPECT(once.closed());
  Client kept(server.port());
  for (int i = 0; i < 2; ++i) {
    REQUIRE(kept.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    EXPECT(kept.read().has("Connection: keep-alive"));
  }
  Client stream(server.port());
  REQUIRE(stream.send("GET /chunked/250000 HTTP/1.0\r\n\r\n"));
  auto r = stream.read();
  EXPECT_FALSE(r.has("chunked"));
  EXPECT(r.body.size() == 250000);
}

TEST_CASE("pipelined requests are answered in order") {
  Server server;
  Client client(server.port());
  std::string burst;
  for (int i = 0; i < 50; ++i) {
    std::string body = std::to_string(i) + std::string(static_cast<size_t>(i) * 100, 'x');
    burst += i % 5 == 0 ? "GET /sleep/2 HTTP/1.1\r\nHost: a\r\n\r\n"
                        : "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " +
                              std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  std::thread sender([&] { client.send(burst); });
  for (int i = 0; i < 50; ++i) {
    auto r = client.read();
    std::string body = std::to_string(i) + std::string(static_cast<size_t>(i) * 100, 'x');
    EXPECT(r.body == (i % 5 == 0 ? "slept" : body));
  }
  sender.join();
}

TEST_CASE("bodies large and small, by length and in chunks, come through whole") {
  Server server;
  Client client(server.port());
  for (size_t size : {0u, 1u, 5000u, 65536u, 300000u, 5000000u}) {
    std::string body(size, '\0');
    for (size_t i = 0; i < size; ++i) body[i] = static_cast<char>(i * 31 + i / 256);
    std::thread sender([&] {
      client.send("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(size) +
                  "\r\n\r\n" + body);
    });
    auto r = client.read();
    sender.join();
    EXPECT(r.status == 200);
    EXPECT((r.body == body));
    std::string chunks;
    for (size_t at = 0, step = 1; at < size; at += step, step = step * 3 + 1) {
      size_t n = std::min(step, size - at);
      char line[32];
      snprintf(line, sizeof line, "%zx\r\n", n);
      chunks += line + body.substr(at, n) + "\r\n";
    }
    std::thread chunked([&] {
      client.send("PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks +
                  "0\r\n\r\n");
    });
    auto again = client.read();
    chunked.join();
    EXPECT(again.status == 200);
    EXPECT((again.body == body));
  }
}

TEST_CASE("100 Continue comes when the handler reads, and only then") {
  Server server;
  Client client(server.port());
  std::string head =
      "PUT /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
  REQUIRE(client.send(head));
  EXPECT(client.read().status == 100);
  REQUIRE(client.send("abc"));
  EXPECT(client.read().body == "abc");
  REQUIRE(client.send(head + "abc"));  // did not wait: no 100 needed, none expected
  auto r = client.read();
  if (r.status == 100) r = client.read();
  EXPECT(r.body == "abc");
  REQUIRE(
      client.send("PUT /echo HTTP/1.1\r\nHost: a\r\nExpect: other\r\nContent-Length: 1\r\n\r\nz"));
  EXPECT(client.read().body == "z");
  REQUIRE(client.send(
      "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"));
  auto refused = client.read();
  EXPECT(refused.status == 200);
  EXPECT(refused.has("Connection: close"));
}

TEST_CASE("HEAD, 204 and 304 have no body") {
  Server server;
  Client client(server.port());
  REQUIRE(client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  auto head = client.read(true);
  EXPECT(head.has("Content-Length: 5"));
  EXPECT(client.read().body == "hello");
  REQUIRE(client.send("HEAD /stream/777 HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT(client.read(true).has("Content-Length: 777"));
  for (std::string status : {"204", "304"}) {
    REQUIRE(client.send("GET /status/" + status + " HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT(client.read().status == std::stoi(status));
    REQUIRE(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT(client.read().body == "hello");
  }
}

TEST_CASE("streams: by length, in chunks, and cut off when they fail") {
  Server server;
  Client client(server.port());
  for (size_t size : {0u, 1u, 100000u, 3000000u}) {
    REQUIRE(client.send("GET /stream/" + std::to_string(size) + " HTTP/1.1\r\nHost: a\r\n\r\n"));
    auto r = client.read();
    EXPECT(r.complete);
    EXPECT(r.body.size() == size);
    REQUIRE(client.send("GET /chunked/" + std::to_string(size) + " HTTP/1.1\r\nHost: a\r\n\r\n"));
    auto c = client.read();
    EXPECT(c.complete);
    EXPECT(c.body.size() == size);
  }
  REQUIRE(client.send("GET /fails/1000000 HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_FALSE(client.read().complete);
}

TEST_CASE("a stream is pulled only as fast as the client reads") {
  Server server;
  Client client(server.port());
  REQUIRE(client.send("GET /stream/200000000 HTTP/1.1\r\nHost: a\r\n\r\n"));
  size_t before = 0;
  // Until it stands still.
  EXPECT(eventually([&] {
    size_t now = server.handler.produced;
    std::this_thread::sleep_for(50ms);
    bool still = now > 0 && now == before;
    before = now;
    return still;
  }));
  EXPECT(server.handler.produced < 50'000'000);
}

TEST_CASE(
    "a handler that does not read holds the client back, then the rest costs the connection") {
  Server server;
  Client client(server.port());
  std::string head = "PUT /gate HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n";
  std::string piece(1'000'000, 'x');
  REQUIRE(client.send(head));
  std::atomic<int> sent = 0;
  std::thread sender([&] {
    while (sent < 100 && client.send(piece)) ++sent;
  });
  int before = 0;
  EXPECT(eventually([&] {
    int now = sent;
    std::this_thread::sleep_for(100ms);
    bool still = now > 0 && now == before;
    before = now;
    return still;
  }));
  EXPECT(sent < 50);
  server.handler.gate_open = true;
  auto r = client.read();
  EXPECT(r.status == 200);
  EXPECT(r.has("Connection: close"));
  client.half_close();
  sender.join();
  // A little unread body is drained.
  Client small(server.port());
  REQUIRE(small.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"));
  EXPECT(small.read().status == 200);
  REQUIRE(small.send(std::string(100, 'x') + "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT(small.read().body == "hello");
}

TEST_CASE("a client that has closed its side still gets its answer") {
  Server server;
  Client client(server.port());
  REQUIRE(
      client.send("GET /sleep/50 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  client.half_close();
  EXPECT(client.read().body == "slept");
  EXPECT(client.read().body == "hello");
  EXPECT(client.closed());
}

TEST_CASE("a client that goes away fails the read of its body and harms nobody") {
  Server server;
  {
    Client client(server.port());
    REQUIRE(client.send("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc"));
    EXPECT(eventually([&] { return server.handler.handled == 1; }));
  }
  EXPECT(eventually([&] { return server.handler.failed == 1; }));
  EXPECT(server.handler.last_error == static_cast<int>(ErrorCode::kIncompleteBody));
  {
    Client client(server.port());  // gone before its answer
    REQUIRE(client.send("GET /sleep/50 HTTP/1.1\r\nHost: a\r\n\r\n"));
    linger hard{1, 0};
    setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  }
  {
    Client client(server.port());  // gone in the middle of it
    REQUIRE(client.send("GET /stream/100000000 HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT(eventually([&] { return server.handler.produced > 0; }));
  }
  EXPECT(eventually([&] { return server.connections() == 0; }));
  Client client(server.port());
  REQUIRE(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT(client.read().body == "hello");
}

TEST_CASE("what cannot be parsed is answered and closed; the handler never sees it") {
  Server server;
  for (std::string bad :
       {"GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "\x16\x03\x01\r\n\r\n", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n"}) {
    Client client(server.port());
    REQUIRE(client.send(bad + "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    auto r = client.read();
    EXPECT(r.status >= 400);
    EXPECT(r.has("Connection: close"));
    client.half_close();
    EXPECT(client.closed());
  }
  EXPECT(server.handler.handled == 0);
  Client chunks(server.port());
  REQUIRE(chunks.send("PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"));
  EXPECT(chunks.read().status == 400);
  chunks.half_close();
  EXPECT(chunks.closed());
  EXPECT(server.handler.last_error == static_cast<int>(ErrorCode::kInvalid));
}

TEST_CASE("a header value cannot inject a header") {
  Server server;
  Client client(server.port());
  REQUIRE(client.send("GET /split HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_FALSE(client.read().has("\r\nInjected"));
}
