// Shared by the two files that include gRPC: bytes in and out, the frame queue, channel settings.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/core/codec.h"
#include "node/grpc/transport.h"

namespace covey {

// The paths of both methods name the protocol, so that another one is refused before a message.
struct PeerMethods {
  explicit PeerMethods(uint32_t protocol);
  std::string frames, call;
};
// Why `path` is refused if it is a method of another protocol than `mine`; nullopt: it is not.
std::optional<std::string> other_protocol(const std::string& path, uint32_t mine);

// A slice that keeps `blob` alive instead of copying it.
grpc::Slice slice_of(Blob blob);
// The bytes of a buffer, shared when it is one slice, else joined.
Blob blob_of(const grpc::ByteBuffer& buffer);

// nullopt: not a frame.
std::optional<std::vector<wire::Entry>> decode_frame(const grpc::ByteBuffer& buffer);
grpc::ByteBuffer encode_bulk(const wire::Entry& entry, Blob body);
std::optional<BulkMessage> decode_bulk(const grpc::ByteBuffer& buffer);

// Whom we trust, and who stands at the other end of a connection. Checking a certificate costs two
// signatures, so what was found is kept. Any thread.
class Trust {
 public:
  explicit Trust(std::vector<CaKey> trusted) : trusted_(std::move(trusted)) {}
  void set(std::vector<CaKey> trusted);
  // nullopt: its certificate is none of a node, or not signed by whom we trust now.
  std::optional<CertifiedNode> identify(const grpc::AuthContext& context);
  bool trusts(const CaKey& signer);

 private:
  static constexpr size_t kKnownMax = 1024;
  std::mutex mutex_;
  std::vector<CaKey> trusted_;
  std::unordered_map<std::string, CertifiedNode> known_;  // by PEM
};
// Once, before gRPC is used; more calls do nothing. Its own messages go to our log: a refused
// handshake at most once in 10 s as one line.
void prepare_grpc();

// Entries wait here, already encoded, until the writer is free. Concatenated encodings of a
// repeated field are one message, so a frame is made by appending. Any thread.
class FrameQueue {
 public:
  Status append(const wire::Entry& entry);
  // The next frame if the writer is free and something waits; the writer is busy from then on.
  std::optional<grpc::ByteBuffer> begin_write();
  // The writer is free. True if the stream is closed, so that the caller ends it now.
  bool end_write();
  // True the first time, unless a write is under way: then end_write() says so.
  bool close();
  uint64_t sent_through();

 private:
  struct Chunk {
    std::string bytes;
    uint64_t last_id = 0;
  };
  std::mutex mutex_;
  std::deque<Chunk> chunks_;
  size_t queued_bytes_ = 0;
  uint64_t sent_through_ = 0;
  bool writing_ = false;
  bool closed_ = false;
};

}  // namespace covey
