// The listening side: one generic service that takes frames and bulk calls.
#include <grpc/grpc_security.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/resource_quota.h>

#include <unordered_set>

#include "base/core/log.h"
#include "node/grpc/grpc_common.h"

namespace covey {
namespace {

constexpr int kPingIntervalMinMs = 500;  // how often a peer may ping us
constexpr int kKeepaliveMs = 5000;
constexpr int kKeepaliveTimeoutMs = 20'000;  // the answer may wait behind blocks, over a slow link
constexpr int kIdleConnectionMs = 120'000;  // without any call; links keep a stream open
constexpr size_t kGrpcMemoryBytesMax = 96 * kMiB;

using Events = std::shared_ptr<const ServerEvents>;

class ServerStream;
// The streams that are open, to end those that are no longer trusted. Any thread.
class OpenStreams {
 public:
  void add(const std::shared_ptr<ServerStream>& stream);
  void remove(ServerStream* stream);
  std::vector<std::shared_ptr<ServerStream>> all();

 private:
  std::mutex mutex_;
  std::unordered_map<ServerStream*, std::weak_ptr<ServerStream>> streams_;
};

// Certificates for each handshake anew: gRPC asks before every one.
class RenewedCredentials final : public grpc::ServerCredentials {
 public:
  explicit RenewedCredentials(const TlsMaterial& tls) : tls_(tls) {
    auto* options = grpc_ssl_server_credentials_create_options_using_config_fetcher(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, &fetch, this);
    credentials_ = grpc_ssl_server_credentials_create_with_options(options);
  }
  ~RenewedCredentials() override { grpc_server_credentials_release(credentials_); }
  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}
  void renew(const TlsMaterial& tls) {
    std::lock_guard lock(mutex_);
    tls_ = tls, fetched_ = false;
  }

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }
  static grpc_ssl_certificate_config_reload_status fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    return static_cast<RenewedCredentials*>(self)->fetch(config);
  }
  grpc_ssl_certificate_config_reload_status fetch(grpc_ssl_server_certificate_config** config) {
    std::lock_guard lock(mutex_);
    if (fetched_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    grpc_ssl_pem_key_cert_pair pair{tls_.private_key.c_str(), tls_.certificate.c_str()};
    *config = grpc_ssl_server_certificate_config_create(tls_.ca_certificates.c_str(), &pair, 1);
    fetched_ = *config != nullptr;
    return fetched_ ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW
                    : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
  }

  std::mutex mutex_;
  TlsMaterial tls_;
  bool fetched_ = false;
  grpc_server_credentials* credentials_ = nullptr;
};

class ServerStream final : public FrameStream,
                           public grpc::ServerGenericBidiReactor,
                           public std::enable_shared_from_this<ServerStream> {
 public:
  ServerStream(Loop& loop, CertifiedNode from, Events events, std::shared_ptr<OpenStreams> open)
      : loop_(loop),
        from_(from.id),
        signer_(from.signer),
        events_(std::move(events)),
        open_(std::move(open)) {}

  void start() {
    self_ = shared_from_this();
    open_->add(self_);
    StartSendInitialMetadata();  // tells the peer that it was accepted
    StartRead(&incoming_);
  }

  Status append(const wire::Entry& entry) override { return queue_.append(entry); }
  void flush() override {
    if (auto frame = queue_.begin_write()) {
      outgoing_ = std::move(*frame);
      StartWrite(&outgoing_);
    }
  }
  void close() override {
    if (queue_.close()) Finish(grpc::Status::OK);
  }
  const CaKey& signer() const { return signer_; }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return close();
    auto entries = decode_frame(incoming_);
    if (!entries) {
      log_warn("node {} sent a frame that cannot be read; closing its stream", short_name(from_));
      return close();
    }
    auto shared = std::make_shared<std::vector<wire::Entry>>(std::move(*entries));
    loop_.post([self = shared_from_this(), shared] {
      self->events_->frame(self, self->from_, std::move(*shared));
    });
    incoming_.Clear();
    StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    if (queue_.end_write()) return Finish(grpc::Status::OK);
    if (!ok) return close();
    flush();
  }
  void OnCancel() override { close(); }
  void OnDone() override {
    open_->remove(this);
    self_.reset();
  }

  Loop& loop_;
  NodeId from_;
  CaKey signer_;
  Events events_;
  std::shared_ptr<OpenStreams> open_;
  grpc::ByteBuffer incoming_, outgoing_;
  FrameQueue queue_;
  std::shared_ptr<ServerStream> self_;
};

void OpenStreams::add(const std::shared_ptr<ServerStream>& stream) {
  std::lock_guard lock(mutex_);
  streams_.emplace(stream.get(), stream);
}
void OpenStreams::remove(ServerStream* stream) {
  std::lock_guard lock(mutex_);
  streams_.erase(stream);
}
std::vector<std::shared_ptr<ServerStream>> OpenStreams::all() {
  std::vector<std::shared_ptr<ServerStream>> streams;
  std::lock_guard lock(mutex_);
  for (auto& [key, weak] : streams_)
    if (auto stream = weak.lock()) streams.push_back(std::move(stream));
  return streams;
}

class ServerCall final : public grpc::ServerGenericBidiReactor,
                         public std::enable_shared_from_this<ServerCall> {
 public:
  ServerCall(Loop& loop, NodeId from, Events events)
      : loop_(loop), from_(from), events_(std::move(events)) {}

  void start() {
    self_ = shared_from_this();
    StartRead(&buffer_);
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "no request"));
    auto request = decode_bulk(buffer_);
    buffer_.Clear();
    if (!request) return finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "bad request"));
    auto shared = std::make_shared<BulkMessage>(std::move(*request));
    loop_.post([self = shared_from_this(), shared] {
      self->events_->bulk(self->from_, std::move(*shared),
                          [self](BulkMessage reply) { self->answer(std::move(reply)); });
    });
  }
  void answer(BulkMessage reply) {
    if (finished_.exchange(true)) return;  // the caller gave up meanwhile
    buffer_ = encode_bulk(reply.entry, std::move(reply.body));
    StartWriteAndFinish(&buffer_, {}, grpc::Status::OK);
  }
  void finish(grpc::Status status) {
    if (!finished_.exchange(true)) Finish(std::move(status));
  }
  void OnCancel() override { finish(grpc::Status::CANCELLED); }
  void OnDone() override { self_.reset(); }

  Loop& loop_;
  NodeId from_;
  Events events_;
  grpc::ByteBuffer buffer_;
  std::atomic<bool> finished_{false};
  std::shared_ptr<ServerCall> self_;
};

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(grpc::Status status) { Finish(std::move(status)); }
  void OnDone() override { delete this; }
};

class Service final : public grpc::CallbackGenericService {
 public:
  Service(Loop& loop, uint32_t protocol, ServerEvents events)
      : loop_(loop),
        protocol_(protocol),
        methods_(protocol),
        events_(std::make_shared<const ServerEvents>(std::move(events))),
        open_(std::make_shared<OpenStreams>()) {}

  void trust(const TlsMaterial& tls) {
    trust_.set(tls.ca_keys);
    for (auto& stream : open_->all())
      if (!trust_.trusts(stream->signer())) stream->close();
  }

 private:
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    auto from = trust_.identify(*context->auth_context());
    if (!from)
      return new Refusal(grpc::Status(grpc::StatusCode::UNAUTHENTICATED,
                                      "the certificate is not of a node of this cluster"));
    if (context->method() == methods_.frames) {
      auto stream = std::make_shared<ServerStream>(loop_, *from, events_, open_);
      stream->start();
      return stream.get();
    }
    if (context->method() == methods_.call) {
      auto call = std::make_shared<ServerCall>(loop_, from->id, events_);
      call->start();
      return call.get();
    }
    if (auto why = other_protocol(context->method(), protocol_))
      return new Refusal(grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, *why));
    return new Refusal(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no such method"));
  }

  Loop& loop_;
  uint32_t protocol_;
  PeerMethods methods_;
  Events events_;
  Trust trust_{{}};
  std::shared_ptr<OpenStreams> open_;
};

class Server final : public PeerServer {
 public:
  Server(Loop& loop, uint32_t protocol, ServerEvents events)
      : service_(loop, protocol, std::move(events)) {}
  ~Server() override { stop(); }

  Status start(const TlsMaterial& tls, const Address& listen) {
    credentials_ = std::make_shared<RenewedCredentials>(tls);
    service_.trust(tls);
    grpc::ResourceQuota quota("peers");
    quota.Resize(kGrpcMemoryBytesMax);

    grpc::ServerBuilder builder;
    builder.SetResourceQuota(quota);
    builder.AddListeningPort(listen.str(), credentials_, &port_);
    builder.RegisterCallbackGenericService(&service_);
    builder.SetMaxReceiveMessageSize(kGrpcMessageBytesMax);
    builder.SetMaxSendMessageSize(kGrpcMessageBytesMax);
    for (auto [name, value] : std::initializer_list<std::pair<const char*, int>>{
             {GRPC_ARG_ALLOW_REUSEPORT, 0},
             {GRPC_ARG_ENABLE_CHANNELZ, 0},
             {GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs},
             {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs},
             {GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleConnectionMs},
             {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingIntervalMinMs},
             {GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0},
             {GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0},
             {GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1},
             {GRPC_ARG_HTTP2_MAX_FRAME_SIZE, static_cast<int>(1 * kMiB)},
             {GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, static_cast<int>(8 * kMiB)},
             {GRPC_ARG_HTTP2_WRITE_BUFFER_SIZE, static_cast<int>(1 * kMiB)},
             {GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, static_cast<int>(4 * kMiB)},
             {GRPC_ARG_HTTP2_BDP_PROBE, 0}})
      builder.AddChannelArgument(name, value);
    server_ = builder.BuildAndStart();
    if (!server_ || port_ == 0)
      return fail(ErrorCode::kUnavailable,
                  "cannot listen for other nodes on " + listen.str() +
                      ": is the port taken? Change `rpc_listen` in covey.toml");
    return {};
  }

  uint16_t port() const override { return static_cast<uint16_t>(port_); }
  void renew(const TlsMaterial& tls) override {
    credentials_->renew(tls);
    service_.trust(tls);
  }
  void stop() override {
    if (!server_) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }

 private:
  Service service_;
  std::shared_ptr<RenewedCredentials> credentials_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

Result<std::unique_ptr<PeerServer>> start_peer_server(Loop& loop, const TlsMaterial& tls,
                                                      const Address& listen, uint32_t protocol,
                                                      ServerEvents events) {
  prepare_grpc();
  auto server = std::make_unique<Server>(loop, protocol, std::move(events));
  TRY_STATUS(server->start(tls, listen));
  return std::unique_ptr<PeerServer>(std::move(server));
}

}  // namespace covey
