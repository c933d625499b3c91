// Manifests: which blocks make up a body. A body in few runs has its extents in the head; a longer
// one has manifest chunks, immutable attachments of its version, durable before the head names
// them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/async/memory.h"
#include "base/async/runtime.h"
#include "proto/rows.pb.h"
#include "store/block/blocks.h"
#include "store/objects/body.h"
#include "store/register/registers.h"

namespace covey {

// Extents kept in the head itself; more go to manifest chunks of up to this many parts.
inline constexpr size_t kHeadExtentsMax = 4;
inline constexpr size_t kManifestPartsMax = 256;

rows::ChecksumValue to_row(const Checksum& checksum);
Checksum from_row(const rows::ChecksumValue& row);

// Puts `parts` (in order) into `head`: as extents when they are few and small, else as manifest
// chunks returned for put_attachments. Sets chunk_offset, chunk_part.
std::vector<Attachment> place_parts(const std::vector<rows::ManifestPart>& parts, bool multipart,
                                    rows::HeadRow& head);

// The bytes [first, first + length) of the parts: their extents cut to fit.
std::vector<rows::Extent> cut_extents(const std::vector<rows::Extent>& extents, uint64_t first,
                                      uint64_t length);

// Which chunk holds byte `offset`. REQUIRES: head.chunk_offset not empty.
uint32_t chunk_of_offset(const rows::HeadRow& head, uint64_t offset);
uint32_t chunk_of_part(const rows::HeadRow& head, uint32_t part);

Task<Result<rows::ManifestChunk>> read_chunk(Registers& registers, PartitionId partition,
                                             rows::HeadRow head, uint32_t chunk,
                                             TimePoint deadline);

// Every part of an object: from its head or its chunks. For bodies without chunks one part with
// number 0.
Task<Result<std::vector<rows::ManifestPart>>> read_parts(Registers& registers,
                                                         PartitionId partition, rows::HeadRow head,
                                                         TimePoint deadline);

// Reads [first, first + length) of an object, with one or two blocks fetched ahead as long as
// `memory` has room for them. `scope` ends the fetches.
std::unique_ptr<BodyReader> open_body_reader(Runtime runtime, Scope& scope, MemoryShare& memory,
                                             Registers& registers, Blocks& blocks,
                                             PartitionId partition, rows::HeadRow head,
                                             uint64_t first, uint64_t length);

// Reads it to the end. The MD5 in hex, as an ETag shows it.
Task<Result<std::string>> md5_of(BodyReader& body, Pool& cpu);

// A body that is in memory already.
std::unique_ptr<BodyReader> memory_body_reader(Blob body);

}  // namespace covey
