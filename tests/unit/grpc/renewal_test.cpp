// Other secrets while calls are under way; and whoever is not to be let in.
#include <atomic>
#include <memory>

#include "node/grpc/grpc_peers.h"
#include "node/grpc/transport.h"
#include "tests/unit/grpc/test_loop.h"
#include "tests/unit/test.h"

using namespace covey;
using namespace std::chrono_literals;

namespace {

struct Echo final : PeerHandler {
  int served = 0;
  Clock& clock;
  explicit Echo(Clock& clock) : clock(clock) {}
  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override {
    ++served;
    if (request.head == "slow") co_await clock.sleep(200ms);
    co_return std::move(request);
  }
};

struct Node {
  NodeIdentity identity = new_identity();
  Echo echo;
  std::unique_ptr<GrpcPeers> peers;
  Node(TestLoop& loop, const SecretRing& secrets) : echo(loop) {
    PeersOptions options{loop, loop, identity, secrets, {"127.0.0.1", 0}};
    peers = make_grpc_peers(std::move(options));
    peers->serve(PeerService::kRegister, echo);
    REQUIRE(peers->start().has_value());
  }
  Address address() const { return {"127.0.0.1", peers->port()}; }
  NodeId id() const { return peers->self(); }
};

Task<bool> asks(Node& from, Node& to, bool bulk, std::string head, Clock& clock) {
  PeerMessage message;
  message.head = std::move(head);
  message.body_back = bulk;
  auto reply = co_await from.peers->call(to.id(), PeerService::kRegister, std::move(message),
                                         clock.after(20s));
  INFO((reply ? std::string() : reply.error().message));
  co_return reply.has_value();
}

// Asks all the time, on both channels.
Task<void> keep_asking(Node& from, Node& to, Clock& clock, bool& ending, int& failed) {
  for (int turn = 0; !ending; ++turn) {
    const bool bulk = turn % 2;
    bool answered = co_await asks(from, to, bulk, turn % 10 ? "quick" : "slow", clock);
    failed += !answered;
    co_await clock.sleep(2ms);
  }
}

Task<void> rotate(Node& a, Node& b, SecretRing old_ring, ClusterSecret next, Clock& clock) {
  a.peers->set_address(b.id(), b.address());
  b.peers->set_address(a.id(), a.address());
  bool ready = co_await asks(a, b, false, "first", clock);
  REQUIRE(ready);
  bool ending = false;
  int failed = 0;
  Scope scope;
  scope.spawn(keep_asking(a, b, clock, ending, failed));
  scope.spawn(keep_asking(b, a, clock, ending, failed));
  SecretRing staged = old_ring.staged(next), active = staged.activated();
  for (const SecretRing& ring : {staged, active, active.settled_down()}) {
    REQUIRE(a.peers->set_secrets(ring).has_value());
    co_await clock.sleep(100ms);
    REQUIRE(b.peers->set_secrets(ring).has_value());
    // Whoever drops the old secret has to wait for connections that were made with it.
    while (!a.peers->renewed() || !b.peers->renewed()) co_await clock.sleep(5ms);
    co_await clock.sleep(100ms);
  }
  int served = a.echo.served + b.echo.served;
  co_await clock.sleep(300ms);
  EXPECT(a.echo.served + b.echo.served > served);
  ending = true;
  co_await scope.join();
  EXPECT(failed == 0);
}

Task<void> stop(Node& a, Node& b) {
  co_await a.peers->stop();
  co_await b.peers->stop();
}

// Dials `to` with these certificates; whether it was taken, and heard anything.
struct Dial {
  std::atomic<bool> up{false}, down{false};
  std::unique_ptr<PeerChannels> channels;
  std::shared_ptr<FrameStream> stream;
  Dial(TestLoop& loop, const TlsMaterial& tls, Node& to) {
    channels = open_channels(loop, tls, to.id(), to.address(), kPeerProtocol);
    StreamEvents events;
    events.up = [this] { up = true; };
    events.frame = [](std::vector<wire::Entry>) {};
    events.down = [this](std::string, uint64_t) { down = true; };
    stream = channels->open_stream(std::move(events));
    wire::Entry entry;
    entry.set_id(1);
    entry.set_service(static_cast<uint32_t>(PeerService::kRegister));
    entry.set_head("let me in");
    (void)stream->append(entry);
    stream->flush();
  }
};

Task<void> until(std::atomic<bool>& flag, Clock& clock) {
  while (!flag) co_await clock.sleep(5ms);
}

Task<void> refused(TestLoop& loop, TlsMaterial tls, Node& to) {
  Dial dial(loop, tls, to);
  co_await until(dial.down, loop);
  EXPECT(to.echo.served == 0);
}

Task<void> taken(TestLoop& loop, TlsMaterial tls, Node& to) {
  Dial dial(loop, tls, to);
  co_await until(dial.up, loop);
  while (to.echo.served == 0) co_await loop.sleep(5ms);
  dial.stream->close();
  co_await until(dial.down, loop);
  to.echo.served = 0;
}

Task<void> strangers(TestLoop& loop, Node& to, ClusterSecret secret) {
  NodeIdentity member = new_identity(), liar = new_identity();
  liar.id = member.id;
  TlsMaterial good = *make_tls(member, secret);
  co_await taken(loop, good, to);
  Validity past, future;
  past.until_s = 1'000'000'000, future.from_s = 4'000'000'000;
  TlsMaterial other = *make_tls(member, ClusterSecret::random());
  TlsMaterial half = other;  // trusts us, but we do not trust it
  half.ca_certificates = good.ca_certificates, half.ca_keys = good.ca_keys;
  TlsMaterial expired = *make_tls(member, secret, past);
  TlsMaterial early = *make_tls(member, secret, future);
  TlsMaterial forged = *make_tls(liar, secret);
  co_await refused(loop, other, to);
  co_await refused(loop, half, to);
  co_await refused(loop, expired, to);
  co_await refused(loop, early, to);
  co_await refused(loop, forged, to);
  co_await to.peers->stop();
}

// A connection that was made with the old secret ends when that is no longer accepted.
Task<void> old_connection(TestLoop& loop, Node& to, ClusterSecret old_one, ClusterSecret next) {
  TlsMaterial tls = *make_tls(new_identity(), old_one);
  Dial dial(loop, tls, to);
  co_await until(dial.up, loop);
  SecretRing staged = SecretRing(old_one).staged(next), active = staged.activated();
  REQUIRE(to.peers->set_secrets(staged).has_value());
  REQUIRE(to.peers->set_secrets(active).has_value());
  co_await loop.sleep(200ms);
  EXPECT_FALSE(dial.down);
  REQUIRE(to.peers->set_secrets(active.settled_down()).has_value());
  co_await until(dial.down, loop);
  int before = to.echo.served;
  TlsMaterial mixed = tls;  // it even trusts the new secret's certificate
  mixed.ca_certificates = make_tls(new_identity(), next)->ca_certificates;
  mixed.ca_keys = make_tls(new_identity(), next)->ca_keys;
  Dial again(loop, mixed, to);
  co_await until(again.down, loop);
  EXPECT(to.echo.served == before);
  co_await to.peers->stop();
}

}  // namespace

TEST_CASE("secrets are rotated without losing a call") {
  TestLoop loop;
  SecretRing old_ring(ClusterSecret::random());
  Node a(loop, old_ring), b(loop, old_ring);
  loop.wait(rotate(a, b, old_ring, ClusterSecret::random(), loop));
  loop.wait(stop(a, b));
}

TEST_CASE("another secret, expired and forged certificates are refused before anything is parsed") {
  TestLoop loop;
  ClusterSecret secret = ClusterSecret::random();
  Node to(loop, secret);
  loop.wait(strangers(loop, to, secret));
}

TEST_CASE("connections with the old secret end with it") {
  TestLoop loop;
  ClusterSecret old_one = ClusterSecret::random();
  Node to(loop, old_one);
  loop.wait(old_connection(loop, to, old_one, ClusterSecret::random()));
}
