// Stands in for the block store until it is there: objects above kInlineBytesMax are refused.
#pragma once

#include "store/block/blocks.h"

namespace covey {

class InlineOnly final : public Blocks {
 public:
  Task<Status> put(PartitionId, BlockId, BlockOwner, Blob, TimePoint) override {
    co_return fail(ErrorCode::kNotImplemented, "objects above 4 KiB cannot be stored yet");
  }
  Task<Result<Blob>> get(PartitionId, BlockId, uint32_t, uint32_t, TimePoint) override {
    co_return fail(ErrorCode::kNotFound, "objects above 4 KiB cannot be stored yet");
  }
  Task<Status> drop_local(VersionId) override { co_return Status{}; }
  Task<Result<std::vector<LocalVersion>>> local_versions(VersionId, Duration, size_t) override {
    co_return std::vector<LocalVersion>{};
  }
  Usage usage() const override { return {}; }
};

}  // namespace covey
