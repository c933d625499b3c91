#include "node/grpc/grpc_common.h"

#include <absl/synchronization/mutex.h>
#include <fmt/format.h>
#include <grpc/grpc_security_constants.h>
#include <grpc/support/log.h>

#include <algorithm>
#include <atomic>
#include <ctime>

#include "base/core/log.h"

namespace covey {
namespace {
constexpr std::string_view kPeerPath = "/covey.Peer.";
}  // namespace

PeerMethods::PeerMethods(uint32_t protocol)
    : frames(fmt::format("{}{}/Frames", kPeerPath, protocol)),
      call(fmt::format("{}{}/Call", kPeerPath, protocol)) {}

std::optional<std::string> other_protocol(const std::string& path, uint32_t mine) {
  if (!path.starts_with(kPeerPath)) return std::nullopt;
  size_t end = path.find('/', kPeerPath.size());
  return fmt::format(
      "its release of covey speaks protocol {}, this one's {}: run the same release on all nodes",
      mine, path.substr(kPeerPath.size(), end - kPeerPath.size()));
}

grpc::Slice slice_of(Blob blob) {
  if (blob.empty()) return grpc::Slice();
  auto* kept = new Blob(std::move(blob));
  return grpc::Slice(
      const_cast<char*>(kept->data()), kept->size(),
      [](void* user) { delete static_cast<Blob*>(user); }, kept);
}

Blob blob_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok() || slices.empty()) return {};
  if (slices.size() == 1) {
    auto kept = std::make_shared<grpc::Slice>(std::move(slices[0]));
    std::string_view view(reinterpret_cast<const char*>(kept->begin()), kept->size());
    return Blob(std::move(kept), view);
  }
  std::string joined;
  joined.reserve(buffer.Length());
  for (const grpc::Slice& s : slices)
    joined.append(reinterpret_cast<const char*>(s.begin()), s.size());
  return Blob::own(std::move(joined));
}

std::optional<std::vector<wire::Entry>> decode_frame(const grpc::ByteBuffer& buffer) {
  Blob bytes = blob_of(buffer);
  wire::Frame frame;
  if (!frame.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
  std::vector<wire::Entry> entries;
  entries.reserve(static_cast<size_t>(frame.entries_size()));
  for (wire::Entry& entry : *frame.mutable_entries()) entries.push_back(std::move(entry));
  return entries;
}

grpc::ByteBuffer encode_bulk(const wire::Entry& entry, Blob body) {
  std::string head;
  Writer writer(head);
  writer.u32(static_cast<uint32_t>(entry.ByteSizeLong()));
  entry.AppendToString(&head);
  grpc::Slice slices[2] = {slice_of(Blob::own(std::move(head))), slice_of(std::move(body))};
  return grpc::ByteBuffer(slices, slices[1].size() > 0 ? 2 : 1);
}

std::optional<BulkMessage> decode_bulk(const grpc::ByteBuffer& buffer) {
  Blob bytes = blob_of(buffer);
  Reader reader(bytes.view());
  std::string_view head = reader.raw(reader.u32());
  BulkMessage message;
  if (!reader.ok() || !message.entry.ParseFromArray(head.data(), static_cast<int>(head.size())))
    return std::nullopt;
  message.body = bytes.slice(bytes.size() - reader.rest().size());
  return message;
}

void Trust::set(std::vector<CaKey> trusted) {
  std::lock_guard lock(mutex_);
  trusted_ = std::move(trusted);
  known_.clear();
}

bool Trust::trusts(const CaKey& signer) {
  std::lock_guard lock(mutex_);
  return std::find(trusted_.begin(), trusted_.end(), signer) != trusted_.end();
}

std::optional<CertifiedNode> Trust::identify(const grpc::AuthContext& context) {
  if (!context.IsPeerAuthenticated()) return std::nullopt;
  auto certificates = context.FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (certificates.size() != 1) return std::nullopt;
  std::string pem(certificates[0].data(), certificates[0].size());
  std::lock_guard lock(mutex_);
  if (auto it = known_.find(pem); it != known_.end()) return it->second;
  auto node = certified_node(pem, trusted_);
  if (!node) return std::nullopt;
  if (known_.size() >= kKnownMax) known_.clear();
  known_.emplace(std::move(pem), *node);
  return node;
}

namespace {

void on_grpc_log(gpr_log_func_args* args) {
  std::string_view text = args->message;
  if (text.find("andshake") == std::string_view::npos) {
    log_debug("gRPC: {}", text);
    return;
  }
  static std::atomic<int64_t> quiet_until{0};
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t until = quiet_until.load();
  if (now.tv_sec < until || !quiet_until.compare_exchange_strong(until, now.tv_sec + 10)) return;
  log_warn(
      "a node was refused in the TLS handshake: it does not hold this cluster's secret "
      "(compare the secret files of both nodes; one that was away while the secret was rotated "
      "needs a copy of the new file) ({})",
      text);
}

}  // namespace

void prepare_grpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Debian builds Abseil with its checks: each lock of gRPC would be looked up in one graph of
    // all locks, behind one lock.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
    gpr_set_log_function(on_grpc_log);
  });
}

Status FrameQueue::append(const wire::Entry& entry) {
  size_t size = entry.ByteSizeLong();
  std::lock_guard lock(mutex_);
  if (closed_) return fail(ErrorCode::kUnavailable, "the connection to the peer ended");
  if (queued_bytes_ + size > kStreamQueueBytesMax)
    return fail(ErrorCode::kOverloaded, "too much waits for this peer");
  if (chunks_.empty() || chunks_.back().bytes.size() + size > kFrameBytes) chunks_.emplace_back();
  Chunk& chunk = chunks_.back();
  size_t before = chunk.bytes.size();
  Writer writer(chunk.bytes);
  writer.u8(0x0A);  // field 1, length-delimited: Frame.entries
  writer.varint(size);
  entry.AppendToString(&chunk.bytes);
  queued_bytes_ += chunk.bytes.size() - before;
  if (entry.id() > chunk.last_id) chunk.last_id = entry.id();
  return {};
}

std::optional<grpc::ByteBuffer> FrameQueue::begin_write() {
  std::unique_lock lock(mutex_);
  if (writing_ || closed_ || chunks_.empty()) return std::nullopt;
  Chunk chunk = std::move(chunks_.front());
  chunks_.pop_front();
  queued_bytes_ -= chunk.bytes.size();
  if (chunk.last_id > sent_through_) sent_through_ = chunk.last_id;
  writing_ = true;
  lock.unlock();
  grpc::Slice slice = slice_of(Blob::own(std::move(chunk.bytes)));
  return grpc::ByteBuffer(&slice, 1);
}

bool FrameQueue::end_write() {
  std::lock_guard lock(mutex_);
  writing_ = false;
  return closed_;
}

bool FrameQueue::close() {
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  closed_ = true;
  return !writing_;
}

uint64_t FrameQueue::sent_through() {
  std::lock_guard lock(mutex_);
  return sent_through_;
}

}  // namespace covey
