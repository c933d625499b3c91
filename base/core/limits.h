// Every limit has a name here. A parser checks its limit before it allocates; a queue refuses at
// its limit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace covey {

inline constexpr size_t kKiB = 1024;
inline constexpr size_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;

// S3 (AWS's documented limits).
inline constexpr size_t kObjectKeyBytesMax = 1024;
inline constexpr size_t kUserMetadataBytesMax = 2 * kKiB;
inline constexpr size_t kListKeysMax = 1000;
inline constexpr size_t kDeleteObjectsMax = 1000;
inline constexpr uint32_t kPartNumberMax = 10000;
inline constexpr uint64_t kPartBytesMin = 5 * kMiB;
inline constexpr uint64_t kPutBytesMax = 5 * kGiB;
inline constexpr uint64_t kObjectBytesMax = 5 * 1024 * kGiB;

// HTTP.
inline constexpr size_t kHttpUrlBytesMax = 16 * kKiB;
inline constexpr size_t kHttpHeaderBytesMax = 32 * kKiB;  // all headers of one request together
inline constexpr size_t kHttpHeadersMax = 128;
inline constexpr size_t kHttpPipelinedMax = 16;
inline constexpr size_t kHttpConnectionsMax = 12000;
inline constexpr size_t kXmlBodyBytesMax = 4 * kMiB;
inline constexpr size_t kXmlDepthMax = 16;
inline constexpr size_t kPolicyBytesMax = 20 * kKiB;

// Storage.
inline constexpr size_t kInlineBytesMax = 4 * kKiB;  // a body up to this size lives beside its head
inline constexpr size_t kBlockBytes = 1 * kMiB;
inline constexpr size_t kBlockBytesMax = 16 * kMiB;
inline constexpr size_t kSegmentBytes = 64 * kMiB;
inline constexpr size_t kRowBytesMax = 64 * kKiB;  // one row value, attachments apart
inline constexpr size_t kKvKeyBytesMax = 1200;     // a key of the metadata store
inline constexpr size_t kKvValueBytesMax = 1 * kMiB;

// Cluster.
inline constexpr uint32_t kPartitionsDefault = 256;
inline constexpr uint32_t kCopiesMax = 3;
inline constexpr uint32_t kIndexShardsDefault = 8;
inline constexpr size_t kNodesMax = 256;
inline constexpr size_t kPeerMessageBytesMax = 4 * kMiB;
inline constexpr size_t kPeerCallsInFlightMax = 4096;

}  // namespace covey
