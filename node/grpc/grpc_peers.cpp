#include "node/grpc/grpc_peers.h"

#include <array>
#include <map>
#include <unordered_map>

#include "base/core/log.h"
#include "node/grpc/link.h"

namespace covey {
namespace {

constexpr size_t kServices = 16;
constexpr size_t kSealBytesMax = 64;  // what node/witness adds
constexpr Duration kRenewPoll = std::chrono::milliseconds(10);

wire::Entry reply_entry(uint64_t id, Result<PeerMessage>& result) {
  wire::Entry entry;
  entry.set_kind(wire::Entry::REPLY);
  entry.set_id(id);
  if (result) {
    entry.set_head(std::move(result->head));
  } else {
    entry.set_error(static_cast<uint32_t>(result.code()));
    entry.set_message(std::move(result.error().message));
    entry.set_detail(std::move(result.error().detail));
  }
  return entry;
}

class GrpcPeersImpl final : public GrpcPeers {
 public:
  explicit GrpcPeersImpl(PeersOptions options) : options_(std::move(options)) {}
  ~GrpcPeersImpl() override { CHECK(stopped_ || !started_); }

  NodeId self() const override { return options_.identity.id; }
  uint16_t port() const override { return server_ ? server_->port() : 0; }
  void serve(PeerService service, PeerHandler& handler) override {
    handlers_.at(static_cast<size_t>(service)) = &handler;
  }

  Status start() override {
    TRY(TlsMaterial tls, make_tls(options_.identity, options_.secrets));
    tls_ = std::make_shared<const TlsMaterial>(std::move(tls));
    ServerEvents events;
    events.frame = [this](std::shared_ptr<FrameStream> stream, NodeId from,
                          std::vector<wire::Entry> entries) {
      on_frame(std::move(stream), from, std::move(entries));
    };
    events.bulk = [this](NodeId from, BulkMessage request, std::function<void(BulkMessage)> reply) {
      on_bulk(from, std::move(request), std::move(reply));
    };
    TRY(server_, start_peer_server(options_.loop, *tls_, options_.listen, options_.protocol,
                                   std::move(events)));
    started_ = true;
    return {};
  }

  void set_address(NodeId node, Address address) override {
    if (node == self() || stopping_ || !started_) return;
    auto& link = links_[node];
    if (!link) link = new_link(node);
    link->set_address(std::move(address));
  }
  Status set_secrets(const SecretRing& secrets) override {
    TRY(TlsMaterial tls, make_tls(options_.identity, secrets));
    options_.secrets = secrets;
    if (!started_ || stopping_) return {};
    tls_ = std::make_shared<const TlsMaterial>(std::move(tls));
    server_->renew(*tls_);
    ++secrets_change_;
    renewing_ += links_.size();
    for (auto& [node, link] : links_) scope_.spawn(renew(node, secrets_change_));
    return {};
  }
  bool renewed() const override { return renewing_ == 0; }
  bool connected(NodeId node) const override { return connection(node) != 0; }

  Task<Result<PeerMessage>> call(NodeId to, PeerService service, PeerMessage request,
                                 TimePoint deadline) override {
    CHECK(request.head.size() <= kPeerMessageBytesMax + kSealBytesMax &&
          request.body.size() <= kBlockBytesMax);
    if (to == self()) co_return co_await dispatch(service, to, std::move(request));
    auto it = links_.find(to);
    if (it == links_.end())
      co_return fail(ErrorCode::kUnavailable,
                     "the address of node " + short_name(to) + " is not known");
    co_return co_await it->second->call(service, std::move(request), deadline);
  }

  uint64_t connection(NodeId to) const override {
    if (to == self()) return 1;
    auto it = links_.find(to);
    return it == links_.end() ? 0 : it->second->connection();
  }

  void tell(NodeId to, PeerService service, std::string head) override {
    if (to == self()) {
      if (stopping_ || scope_.running() >= kPeerRequestsMax) return;
      PeerMessage message;
      message.head = std::move(head);
      scope_.spawn(hear(service, to, std::move(message)));
      return;
    }
    auto it = links_.find(to);
    if (it != links_.end()) it->second->tell(service, std::move(head));
  }

  Task<void> stop() override {
    if (std::exchange(stopping_, true)) co_return;
    for (auto& [id, link] : links_) link->stop();
    for (auto& [id, link] : links_) co_await link->drained();
    if (server_) server_->stop();
    co_await scope_.join();
    co_await options_.loop.yield();  // what gRPC posted before it stopped has run by then
    co_await scope_.join();
    stopped_ = true;
  }

 private:
  std::unique_ptr<Link> new_link(NodeId node) {
    Link::Context context{options_.loop, options_.clock,    tls_,
                          self(),        options_.protocol, ++links_made_ << 32};
    return std::make_unique<Link>(std::move(context), node);
  }

  // A second link takes the place of the first when it is up, or when it has had its chance.
  Task<void> renew(NodeId node, uint64_t change) {
    std::unique_ptr<Link> link = new_link(node);
    link->set_address(links_[node]->address());
    TimePoint until = options_.clock.after(kRenewedWithin);
    while (!link->up() && links_[node]->up() && options_.clock.now() < until && !stopping_)
      co_await options_.clock.sleep(kRenewPoll);
    if (!stopping_ && change == secrets_change_) {
      link->set_address(links_[node]->address());  // gossip may have told a newer one
      links_[node].swap(link);
      until = options_.clock.after(kRenewedDrain);
      while (link->busy() && options_.clock.now() < until && !stopping_)
        co_await options_.clock.sleep(kRenewPoll);
    }
    link->stop();
    co_await link->drained();
    --renewing_;
  }

  // Replies of one turn of the loop to one stream leave together.
  struct Inbound {
    size_t running = 0;
    bool flush_posted = false;
  };

  Task<Result<PeerMessage>> dispatch(PeerService service, NodeId from, PeerMessage request) {
    auto index = static_cast<size_t>(service);
    PeerHandler* handler = index < kServices ? handlers_[index] : nullptr;
    if (!handler)
      co_return fail(ErrorCode::kNotImplemented,
                     "this node does not answer peer service " + std::to_string(index));
    co_return co_await handler->serve(from, std::move(request));
  }
  Task<void> hear(PeerService service, NodeId from, PeerMessage request) {
    (void)co_await dispatch(service, from, std::move(request));
  }

  void on_frame(std::shared_ptr<FrameStream> stream, NodeId from,
                std::vector<wire::Entry> entries) {
    for (wire::Entry& entry : entries) {
      if (stopping_) return;
      auto service = static_cast<PeerService>(entry.service());
      if (entry.kind() == wire::Entry::TELL) {
        if (scope_.running() < 2 * kPeerRequestsMax)
          scope_.spawn(hear(service, from, message_of(entry)));
      } else if (inbound_[from].running >= kPeerRequestsMax) {
        Result<PeerMessage> refused = fail(ErrorCode::kOverloaded, "this node has too much to do");
        send(stream, from, reply_entry(entry.id(), refused));
      } else {
        scope_.spawn(answer(stream, service, from, entry.id(), message_of(entry)));
      }
    }
  }

  Task<void> answer(std::shared_ptr<FrameStream> stream, PeerService service, NodeId from,
                    uint64_t id, PeerMessage request) {
    ++inbound_[from].running;
    Result<PeerMessage> result = co_await dispatch(service, from, std::move(request));
    --inbound_[from].running;
    Blob body = result ? result->body : Blob();
    wire::Entry entry = reply_entry(id, result);
    if (!body.empty()) entry.set_body(std::string(body.view()));
    send(stream, from, std::move(entry));
  }

  void send(const std::shared_ptr<FrameStream>& stream, NodeId from, wire::Entry entry) {
    (void)stream->append(entry);  // fails only when the caller is gone or far behind
    Inbound& inbound = inbound_[from];
    if (inbound.flush_posted || stopping_) return;
    inbound.flush_posted = true;
    options_.loop.post([this, stream, from] {
      inbound_[from].flush_posted = false;
      stream->flush();
    });
  }

  void on_bulk(NodeId from, BulkMessage request, std::function<void(BulkMessage)> reply) {
    if (stopping_ || bulk_running_ >= kBulkRequestsMax) {
      Result<PeerMessage> refused = fail(ErrorCode::kOverloaded, "this node has too much to do");
      BulkMessage message;
      message.entry = reply_entry(0, refused);
      reply(std::move(message));
      return;
    }
    scope_.spawn(answer_bulk(from, std::move(request), std::move(reply)));
  }

  Task<void> answer_bulk(NodeId from, BulkMessage request, std::function<void(BulkMessage)> reply) {
    ++bulk_running_;
    auto service = static_cast<PeerService>(request.entry.service());
    PeerMessage message = message_of(request.entry);
    message.body = std::move(request.body);
    Result<PeerMessage> result = co_await dispatch(service, from, std::move(message));
    --bulk_running_;
    BulkMessage out;
    if (result) out.body = std::move(result->body);
    out.entry = reply_entry(0, result);
    reply(std::move(out));
  }

  PeersOptions options_;
  std::shared_ptr<const TlsMaterial> tls_;
  uint64_t secrets_change_ = 0, links_made_ = 0;
  size_t renewing_ = 0;  // connections with older secrets that are still there
  std::array<PeerHandler*, kServices> handlers_{};
  std::unordered_map<NodeId, std::unique_ptr<Link>> links_;
  std::unordered_map<NodeId, Inbound> inbound_;
  size_t bulk_running_ = 0;
  bool started_ = false, stopping_ = false, stopped_ = false;
  Scope scope_;
  std::unique_ptr<PeerServer> server_;
};

}  // namespace

std::unique_ptr<GrpcPeers> make_grpc_peers(PeersOptions options) {
  return std::make_unique<GrpcPeersImpl>(std::move(options));
}

}  // namespace covey
