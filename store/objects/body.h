// Bodies as they flow between the gateway and the store, in pieces, with bounded memory.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/async/memory.h"
#include "base/async/task.h"
#include "base/core/blob.h"
#include "base/core/result.h"

namespace covey {

// A checksum as S3 shows it: "CRC32C" -> base64.
struct Checksum {
  std::string algorithm;    // CRC32, CRC32C, CRC64NVME, SHA1, SHA256; empty: none
  std::string value;        // base64; composite values end in "-N"
  bool full_object = true;  // false: COMPOSITE
};

struct BodyDigests {
  std::string md5;    // 16 raw bytes
  std::string etag;   // without quotes: the MD5 in hex, or what an encryption mode makes of it
  Checksum checksum;  // the one the client asked for, or none
};

// What a PUT brings. Pull-based: nothing is read from the client before somebody asks.
class BodySource {
 public:
  virtual ~BodySource() = default;
  // The plain length, when the client declared it (aws-chunked: x-amz-decoded-content-length); else
  // -1.
  virtual int64_t declared_bytes() const = 0;
  // The next piece, at most `max_bytes`; an empty Blob at the end. Errors: kIncompleteBody,
  // kBadDigest, kInvalid, kTimeout.
  virtual Task<Result<Blob>> next(size_t max_bytes) = 0;
  // After the end: every digest the client sent was compared with the bytes. An error means that no
  // object may be made.
  virtual Task<Result<BodyDigests>> finish() = 0;

  // Memory for the next piece. A source that goes on using its pieces after it gave them away
  // leaves the lease with them; from others the caller takes it back.
  void lend(MemoryLease lease) { lease_ = std::move(lease); }
  MemoryLease take_lease() { return std::move(lease_); }

 private:
  MemoryLease lease_;
};

// What a GET returns.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  // The next verified piece (up to a block); empty at the end. An error after the first piece: the
  // connection must be closed, never padded.
  virtual Task<Result<Blob>> next() = 0;
};

}  // namespace covey
