#include <memory>
#include <optional>

#include "node/grpc/grpc_peers.h"
#include "tests/unit/grpc/test_loop.h"
#include "tests/unit/test.h"

using namespace covey;
using namespace std::chrono_literals;

namespace {

const ClusterSecret kSecret = ClusterSecret::random();

// "echo ..." comes back with its body; "wait" waits for open(); "fail" fails.
struct Handler final : PeerHandler {
  int tells = 0, served = 0;
  Event gate;
  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override {
    ++served;
    if (request.head == "wait") co_await gate.wait();
    if (request.head == "hint") ++tells;
    if (request.head == "who") request.head = from.hex();
    if (request.head == "fail") co_return fail(ErrorCode::kStale, "too old", "generation");
    co_return std::move(request);
  }
};

struct Node {
  Handler handler;
  std::unique_ptr<GrpcPeers> peers;
  Node(TestLoop& loop, ClusterSecret secret = kSecret, uint32_t protocol = kPeerProtocol) {
    peers = make_grpc_peers({loop, loop, new_identity(), secret, {"127.0.0.1", 0}, protocol});
    peers->serve(PeerService::kRegister, handler);
    REQUIRE(peers->start().has_value());
  }
  Address address() const { return {"127.0.0.1", peers->port()}; }
  NodeId id() const { return peers->self(); }
};

PeerMessage text(std::string head, Blob body = {}) {
  PeerMessage message;
  message.head = std::move(head);
  message.body = std::move(body);
  return message;
}
// Goes as a call of its own, too.
PeerMessage text_for_body(std::string head) {
  PeerMessage message = text(std::move(head));
  message.body_back = true;
  return message;
}

Task<Result<PeerMessage>> ask(Node& from, NodeId to, PeerMessage message, Clock& clock,
                              Duration timeout = 20s) {
  co_return co_await from.peers->call(to, PeerService::kRegister, std::move(message),
                                      clock.after(timeout));
}
Task<void> connect(Node& from, Node& to) {
  from.peers->set_address(to.id(), to.address());
  co_return;
}
Task<void> stop_all(Node& a, Node& b) {
  b.handler.gate.set();
  a.handler.gate.set();
  co_await a.peers->stop();
  co_await b.peers->stop();
}

Task<void> calls(Node& a, Node& b, Clock& clock) {
  co_await connect(a, b);
  auto unknown = co_await ask(b, a.id(), text("echo"), clock);
  EXPECT(unknown.is(ErrorCode::kUnavailable));
  auto reply = co_await ask(a, b.id(), text("echo"), clock);
  REQUIRE(reply.has_value());
  EXPECT(reply->head == "echo");
  reply = co_await ask(a, b.id(), text("who"), clock);
  REQUIRE(reply.has_value());
  EXPECT(reply->head == a.id().hex());
  reply = co_await ask(a, b.id(), text("fail"), clock);
  REQUIRE(reply.is(ErrorCode::kStale));
  EXPECT(reply.error().message == "too old");
  EXPECT(reply.error().detail == "generation");
  reply = co_await ask(a, a.id(), text("echo"), clock);
  REQUIRE(reply.has_value());
  EXPECT(a.handler.served == 1);
  a.peers->tell(b.id(), PeerService::kRegister, "hint");
  while (b.handler.tells == 0) co_await clock.sleep(1ms);
  co_await stop_all(a, b);
}

Task<void> bodies(Node& a, Node& b, Clock& clock) {
  co_await connect(a, b);
  std::string bytes(1 << 20, 'x');
  for (size_t i = 0; i < bytes.size(); i += 97) bytes[i] = static_cast<char>(i);
  Blob body = Blob::own(bytes);
  for (int i = 0; i < 8; ++i) {
    auto reply = co_await ask(a, b.id(), text("echo", body), clock);
    REQUIRE(reply.has_value());
    EXPECT(reply->body.view() == bytes);
  }
  auto small = co_await ask(a, b.id(), text_for_body("echo"), clock);
  REQUIRE(small.has_value());
  EXPECT(small->body.empty());
  co_await stop_all(a, b);
}

Task<void> one(Node& a, NodeId to, Clock& clock, int& ok) {
  auto reply = co_await ask(a, to, text("echo"), clock);
  if (reply) ++ok;
}
Task<void> many(Node& a, Node& b, Clock& clock) {
  co_await connect(a, b);
  (void)co_await ask(a, b.id(), text("echo"), clock);
  Scope scope;
  int ok = 0;
  for (int i = 0; i < 2000; ++i) scope.spawn(one(a, b.id(), clock, ok));
  co_await scope.join();
  EXPECT(ok == 2000);
  co_await stop_all(a, b);
}

Task<void> deadline(Node& a, Node& b, Clock& clock) {
  co_await connect(a, b);
  auto reply = co_await ask(a, b.id(), text("echo"), clock);
  REQUIRE(reply.has_value());
  reply = co_await ask(a, b.id(), text("wait"), clock, 50ms);
  EXPECT(reply.is(ErrorCode::kTimeout));
  reply = co_await ask(a, b.id(), text_for_body("wait"), clock, 50ms);
  EXPECT(reply.is(ErrorCode::kTimeout));
  b.handler.gate.set();  // the late replies find nobody
  reply = co_await ask(a, b.id(), text("echo"), clock);
  EXPECT(reply.has_value());
  co_await stop_all(a, b);
}

Task<void> keep(Task<Result<PeerMessage>> task, std::optional<Result<PeerMessage>>& out) {
  out = co_await std::move(task);
}
Task<void> death(Node& a, Node& b, Clock& clock) {
  co_await connect(a, b);
  auto reply = co_await ask(a, b.id(), text("echo"), clock);
  REQUIRE(reply.has_value());
  Scope scope;
  std::optional<Result<PeerMessage>> waiting;
  scope.spawn(keep(ask(a, b.id(), text("wait"), clock), waiting));
  while (b.handler.served < 2) co_await clock.sleep(1ms);
  b.handler.gate.set();
  // The peer goes: the call under way ends, later ones fail at once.
  co_await b.peers->stop();
  co_await scope.join();
  REQUIRE(waiting.has_value());
  EXPECT((waiting->has_value() || waiting->is(ErrorCode::kTimeout)));
  while (a.peers->connected(b.id())) co_await clock.sleep(1ms);
  reply = co_await ask(a, b.id(), text("echo"), clock);
  EXPECT(reply.is(ErrorCode::kUnavailable));
  co_await a.peers->stop();
}

Task<void> strangers(Node& a, Node& b, Clock& clock) {
  co_await connect(a, b);
  auto reply = co_await ask(a, b.id(), text("echo"), clock, 2s);
  EXPECT(reply.is(ErrorCode::kUnavailable));
  INFO((reply ? std::string() : reply.error().message));
  EXPECT(b.handler.served == 0);
  co_await stop_all(a, b);
}

Task<void> impostor(Node& a, Node& b, Node& c, Clock& clock) {
  a.peers->set_address(c.id(), b.address());  // another member answers there
  auto reply = co_await ask(a, c.id(), text("echo"), clock, 2s);
  EXPECT(reply.is(ErrorCode::kUnavailable));
  EXPECT(b.handler.served == 0);
  co_await stop_all(a, b);
  co_await c.peers->stop();
}

Task<void> other_release(Node& a, Node& b, Clock& clock) {
  co_await connect(a, b);
  // The first answer may be that it is still connecting.
  std::string why;
  for (int i = 0; i < 100 && why.find("protocol") == std::string::npos; ++i) {
    auto reply = co_await ask(a, b.id(), text("echo"), clock, 2s);
    REQUIRE(reply.is(ErrorCode::kUnavailable));
    why = reply.error().message;
    co_await clock.sleep(20ms);
  }
  INFO(why);
  EXPECT(why.find("speaks protocol 2, this one's 1") != std::string::npos);
  EXPECT(b.handler.served == 0);
  co_await stop_all(a, b);
}

}  // namespace

TEST_CASE("calls, errors, self calls and hints") {
  TestLoop loop;
  Node a(loop), b(loop);
  loop.wait(calls(a, b, loop));
}

TEST_CASE("bodies of 1 MiB go both ways") {
  TestLoop loop;
  Node a(loop), b(loop);
  loop.wait(bodies(a, b, loop));
}

TEST_CASE("two thousand calls at once share frames") {
  TestLoop loop;
  Node a(loop), b(loop);
  loop.wait(many(a, b, loop));
}

TEST_CASE("a call ends at its deadline and a late reply is dropped") {
  TestLoop loop;
  Node a(loop), b(loop);
  loop.wait(deadline(a, b, loop));
}

TEST_CASE("a peer that goes away is noticed") {
  TestLoop loop;
  Node a(loop), b(loop);
  loop.wait(death(a, b, loop));
}

TEST_CASE("nobody without the secret is served") {
  TestLoop loop;
  Node a(loop), b(loop, ClusterSecret::random());
  loop.wait(strangers(a, b, loop));
}

TEST_CASE("a node of another protocol is refused and told why") {
  TestLoop loop;
  Node a(loop, kSecret, 1), b(loop, kSecret, 2);
  loop.wait(other_release(a, b, loop));
}

TEST_CASE("a node is who was dialled") {
  TestLoop loop;
  Node a(loop), b(loop), c(loop);
  loop.wait(impostor(a, b, c, loop));
}

// gRPC keeps a few hundred bytes of its own for ever.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libgpr.so\n"; }
