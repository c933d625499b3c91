#include "store/objects/manifest.h"

#include <algorithm>

#include "base/core/check.h"
#include "base/core/limits.h"
#include "store/objects/keys.h"

namespace covey {

rows::ChecksumValue to_row(const Checksum& checksum) {
  rows::ChecksumValue row;
  row.set_algorithm(checksum.algorithm);
  row.set_value(checksum.value);
  row.set_composite(!checksum.full_object);
  return row;
}

Checksum from_row(const rows::ChecksumValue& row) {
  return {row.algorithm(), row.value(), !row.composite()};
}

namespace {

// A head is below 4 KiB: what it holds itself must be few runs and no bytes.
bool fits_head(const std::vector<rows::ManifestPart>& parts) {
  size_t extents = 0;
  for (const auto& part : parts) {
    for (const auto& extent : part.extents()) {
      if (!extent.inline_body().empty()) return false;
      ++extents;
    }
  }
  return extents <= kHeadExtentsMax;
}

}  // namespace

std::vector<Attachment> place_parts(const std::vector<rows::ManifestPart>& parts, bool multipart,
                                    rows::HeadRow& head) {
  if (!multipart && fits_head(parts)) {
    for (const auto& part : parts) {
      for (const auto& extent : part.extents()) *head.add_extents() = extent;
    }
    return {};
  }
  auto version = VersionId::from_bytes(head.version());
  CHECK(version.has_value());
  std::vector<Attachment> rows;
  rows::ManifestChunk chunk;
  size_t chunk_bytes = 0;
  uint64_t offset = 0;
  auto close = [&] {
    if (chunk.parts().empty()) return;
    head.add_chunk_offset(chunk.offset());
    head.add_chunk_part(chunk.parts(0).number());
    rows.push_back(
        {*version, manifest_suffix(static_cast<uint32_t>(rows.size())), chunk.SerializeAsString()});
    chunk.Clear();
    chunk_bytes = 0;
  };
  for (const auto& part : parts) {
    if (chunk.parts().empty()) chunk.set_offset(offset);
    *chunk.add_parts() = part;
    chunk_bytes += part.ByteSizeLong();
    offset += part.size();
    if (static_cast<size_t>(chunk.parts_size()) >= kManifestPartsMax ||
        chunk_bytes >= kRowBytesMax / 2)
      close();
  }
  close();
  return rows;
}

std::vector<rows::Extent> cut_extents(const std::vector<rows::Extent>& extents, uint64_t first,
                                      uint64_t length) {
  std::vector<rows::Extent> cut;
  uint64_t at = 0;
  for (const auto& extent : extents) {
    uint64_t begin = std::max(at, first), end = std::min(at + extent.size(), first + length);
    if (begin < end) {
      rows::Extent piece = extent;
      if (!extent.inline_body().empty()) {
        piece.set_inline_body(extent.inline_body().substr(begin - at, end - begin));
      } else {
        piece.set_offset(extent.offset() + (begin - at));
      }
      piece.set_size(end - begin);
      cut.push_back(std::move(piece));
    }
    at += extent.size();
  }
  return cut;
}

uint32_t chunk_of_offset(const rows::HeadRow& head, uint64_t offset) {
  auto after = std::upper_bound(head.chunk_offset().begin(), head.chunk_offset().end(), offset);
  return static_cast<uint32_t>(std::max<ptrdiff_t>(1, after - head.chunk_offset().begin())) - 1;
}

uint32_t chunk_of_part(const rows::HeadRow& head, uint32_t part) {
  auto after = std::upper_bound(head.chunk_part().begin(), head.chunk_part().end(), part);
  return static_cast<uint32_t>(std::max<ptrdiff_t>(1, after - head.chunk_part().begin())) - 1;
}

Task<Result<rows::ManifestChunk>> read_chunk(Registers& registers, PartitionId partition,
                                             rows::HeadRow head, uint32_t chunk,
                                             TimePoint deadline) {
  auto version = VersionId::from_bytes(head.version());
  if (!version) co_return fail(ErrorCode::kCorrupt, "a head without a version");
  auto read =
      co_await registers.read_attachment(partition, *version, manifest_suffix(chunk), deadline);
  if (read.is(ErrorCode::kNotFound)) {
    co_return fail(ErrorCode::kNoSuchKey, "the object was replaced while it was read");
  }
  CO_TRY(std::string bytes, std::move(read));
  rows::ManifestChunk message;
  if (!message.ParseFromString(bytes))
    co_return fail(ErrorCode::kCorrupt, "a manifest chunk does not decode");
  co_return message;
}

Task<Result<std::vector<rows::ManifestPart>>> read_parts(Registers& registers,
                                                         PartitionId partition, rows::HeadRow head,
                                                         TimePoint deadline) {
  std::vector<rows::ManifestPart> parts;
  if (head.chunk_offset().empty()) {
    rows::ManifestPart part;
    part.set_size(head.size());
    part.set_etag(head.etag());
    for (const auto& extent : head.extents()) *part.add_extents() = extent;
    parts.push_back(std::move(part));
    co_return parts;
  }
  for (int i = 0; i < head.chunk_offset_size(); ++i) {
    CO_TRY(rows::ManifestChunk chunk,
           co_await read_chunk(registers, partition, head, static_cast<uint32_t>(i), deadline));
    for (auto& part : *chunk.mutable_parts()) parts.push_back(std::move(part));
  }
  co_return parts;
}

}  // namespace covey
