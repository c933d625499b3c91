// The dialling side: two channels to a peer, the stream of frames on one, bulk calls on the other.
#include <fmt/format.h>
#include <grpcpp/generic/generic_stub.h>

#include <atomic>

#include "node/grpc/grpc_common.h"

namespace covey {
namespace {

constexpr int kKeepaliveMs = 2000;  // a vanished peer is noticed after these two together
constexpr int kKeepaliveTimeoutMs = 3000;
// Where the answer waits behind blocks, over a slow link. A vanished peer is noticed by the stream.
constexpr int kBulkKeepaliveTimeoutMs = 20'000;
constexpr int kConnectTimeoutMs = 2000;
constexpr int kBackoffMaxMs = 1000;
constexpr int kBulkIdleMs = 60'000;

grpc::ChannelArguments common_arguments(const NodeId& peer) {
  grpc::ChannelArguments args;
  args.SetSslTargetNameOverride(tls_name(peer));
  args.SetMaxReceiveMessageSize(kGrpcMessageBytesMax);
  args.SetMaxSendMessageSize(kGrpcMessageBytesMax);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Doubles as the limit of one attempt to connect.
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kBackoffMaxMs);
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // what may have arrived is never sent twice
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // the two channels never share a connection
  args.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
  return args;
}

std::string target_of(const Address& address) {
  bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "ipv6:" : "ipv4:") + address.str();
}

// Reactions come on gRPC's threads and are posted to the loop in order. The object keeps itself
// until OnDone has been.
class ClientStream final : public FrameStream,
                           public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                           public std::enable_shared_from_this<ClientStream> {
 public:
  ClientStream(Loop& loop, NodeId peer, std::shared_ptr<Trust> trust, StreamEvents events)
      : loop_(loop),
        peer_(peer),
        trust_(std::move(trust)),
        events_(std::make_shared<StreamEvents>(std::move(events))) {}

  void start(grpc::GenericStub& stub, const std::string& method) {
    self_ = shared_from_this();
    stub.PrepareBidiStreamingCall(&context_, method, {}, this);
    AddHold();  // writes start on the loop, outside gRPC's reactions; released by close
    StartRead(&incoming_);
    StartCall();
  }

  Status append(const wire::Entry& entry) override { return queue_.append(entry); }
  void flush() override {
    if (auto frame = queue_.begin_write()) write(std::move(*frame));
  }
  void close() override {
    context_.TryCancel();
    if (queue_.close()) RemoveHold();
  }

 private:
  void write(grpc::ByteBuffer frame) {
    outgoing_ = std::move(frame);
    StartWrite(&outgoing_);
  }

  void OnReadInitialMetadataDone(bool ok) override {
    if (!ok) return;
    auto node = trust_->identify(*context_.auth_context());
    if (!node || node->id != peer_) {
      wrong_peer_ = true;
      context_.TryCancel();
      return;
    }
    loop_.post([events = events_] { events->up(); });
  }

  void OnReadDone(bool ok) override {
    if (!ok) return close();
    auto entries = decode_frame(incoming_);
    if (!entries) {
      garbled_ = true;
      return close();
    }
    auto shared = std::make_shared<std::vector<wire::Entry>>(std::move(*entries));
    loop_.post([events = events_, shared] { events->frame(std::move(*shared)); });
    incoming_.Clear();
    StartRead(&incoming_);
  }

  void OnWriteDone(bool ok) override {
    bool closed = queue_.end_write();
    if (closed) return RemoveHold();
    if (!ok) return close();
    flush();
  }

  void OnDone(const grpc::Status& status) override {
    std::string why = wrong_peer_ ? "another node answers at its address"
                      : garbled_  ? "it sent a frame that cannot be read"
                                  : status.error_message();
    if (why.empty()) why = "the connection was closed";
    loop_.post([events = events_, why = std::move(why), sent = queue_.sent_through()] {
      events->down(why, sent);
    });
    self_.reset();
  }

  Loop& loop_;
  NodeId peer_;
  std::shared_ptr<Trust> trust_;
  std::shared_ptr<StreamEvents> events_;
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_, outgoing_;
  FrameQueue queue_;
  std::atomic<bool> wrong_peer_{false}, garbled_{false};
  std::shared_ptr<ClientStream> self_;
};

class ClientCall final : public BulkCall, public std::enable_shared_from_this<ClientCall> {
 public:
  using Done = std::function<void(Result<BulkMessage>)>;
  ClientCall(Loop& loop, NodeId peer, std::shared_ptr<Trust> trust, Done done)
      : loop_(loop), peer_(peer), trust_(std::move(trust)), done_(std::move(done)) {}

  void start(grpc::GenericStub& stub, const std::string& method, BulkMessage request,
             Duration timeout) {
    request_ = encode_bulk(request.entry, std::move(request.body));
    context_.set_wait_for_ready(true);
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::ceil<std::chrono::microseconds>(timeout));
    stub.UnaryCall(&context_, method, {}, &request_, &reply_,
                   [self = shared_from_this()](grpc::Status status) { self->finish(status); });
  }
  void cancel() override { context_.TryCancel(); }

 private:
  void finish(const grpc::Status& status) {
    auto result = std::make_shared<Result<BulkMessage>>(outcome(status));
    request_.Clear();
    reply_.Clear();
    loop_.post([self = shared_from_this(), result] {
      Done done = std::move(self->done_);
      done(std::move(*result));
    });
  }
  Result<BulkMessage> outcome(const grpc::Status& status) {
    // Even a refused connection may hide a request that went out, so no error here says "not sent".
    if (!status.ok())
      return fail(ErrorCode::kTimeout, fmt::format("no answer from node {}: {}", short_name(peer_),
                                                   status.error_message()));
    auto node = trust_->identify(*context_.auth_context());
    if (!node || node->id != peer_)
      return fail(ErrorCode::kTimeout, "another node answered at the peer's address");
    auto message = decode_bulk(reply_);
    if (!message) return fail(ErrorCode::kTimeout, "the peer sent a reply that cannot be read");
    return std::move(*message);
  }

  Loop& loop_;
  NodeId peer_;
  std::shared_ptr<Trust> trust_;
  Done done_;
  grpc::ClientContext context_;
  grpc::ByteBuffer request_, reply_;
};

class Channels final : public PeerChannels {
 public:
  Channels(Loop& loop, const TlsMaterial& tls, NodeId peer, const Address& address,
           uint32_t protocol)
      : loop_(loop),
        peer_(peer),
        methods_(protocol),
        trust_(std::make_shared<Trust>(tls.ca_keys)),
        target_(target_of(address)) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = tls.ca_certificates;
    options.pem_cert_chain = tls.certificate;
    options.pem_private_key = tls.private_key;
    credentials_ = grpc::SslCredentials(options);
    grpc::ChannelArguments args = common_arguments(peer);
    args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
    args.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    args.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 8 * kMiB);
    args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    control_ =
        std::make_unique<grpc::GenericStub>(grpc::CreateCustomChannel(target_, credentials_, args));
  }

  std::shared_ptr<FrameStream> open_stream(StreamEvents events) override {
    auto stream = std::make_shared<ClientStream>(loop_, peer_, trust_, std::move(events));
    stream->start(*control_, methods_.frames);
    return stream;
  }

  std::shared_ptr<BulkCall> call(BulkMessage request, Duration timeout,
                                 std::function<void(Result<BulkMessage>)> done) override {
    if (!bulk_) open_bulk();
    auto call = std::make_shared<ClientCall>(loop_, peer_, trust_, std::move(done));
    call->start(*bulk_, methods_.call, std::move(request), timeout);
    return call;
  }

 private:
  // Settings measured for 1 MiB messages; see docs/architecture.md.
  void open_bulk() {
    grpc::ChannelArguments args = common_arguments(peer_);
    args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kBulkKeepaliveTimeoutMs);
    args.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 1 * kMiB);
    args.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 8 * kMiB);
    args.SetInt(GRPC_ARG_HTTP2_WRITE_BUFFER_SIZE, 1 * kMiB);
    args.SetInt(GRPC_ARG_TCP_READ_CHUNK_SIZE, 1 * kMiB);
    args.SetInt(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, 4 * kMiB);
    args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    args.SetInt(GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS, kBulkIdleMs);
    bulk_ =
        std::make_unique<grpc::GenericStub>(grpc::CreateCustomChannel(target_, credentials_, args));
  }

  Loop& loop_;
  NodeId peer_;
  PeerMethods methods_;
  std::shared_ptr<Trust> trust_;
  std::string target_;
  std::shared_ptr<grpc::ChannelCredentials> credentials_;
  std::unique_ptr<grpc::GenericStub> control_, bulk_;
};

}  // namespace

std::unique_ptr<PeerChannels> open_channels(Loop& loop, const TlsMaterial& tls, NodeId peer,
                                            const Address& address, uint32_t protocol) {
  prepare_grpc();
  return std::make_unique<Channels>(loop, tls, peer, address, protocol);
}

}  // namespace covey
