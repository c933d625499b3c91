// StorageMover: the storage layers' part in a change of the layout (node/cluster/data_mover.h).
#pragma once

#include "base/async/runtime.h"
#include "node/cluster/data_mover.h"
#include "store/meta/kv.h"
#include "store/sync/block_repair.h"
#include "store/sync/row_sync.h"
#include "store/table/control_store.h"

namespace covey {

class StorageMover final : public DataMover {
 public:
  // Everything outlives it.
  StorageMover(Runtime runtime, Kv& kv, RegisterService& registers, RowSync& rows,
               BlockRepair& blocks, ControlStore& control, const Topology& topology)
      : runtime_(runtime),
        kv_(kv),
        registers_(registers),
        rows_(rows),
        blocks_(blocks),
        control_(control),
        topology_(topology) {}

  Task<Status> catch_up_rows(PartitionId partition, TimePoint deadline) override;
  Task<Status> settle(PartitionId partition, TimePoint deadline) override;
  Task<Status> catch_up_blocks(PartitionId partition, TimePoint deadline) override;
  Task<Status> catch_up_control(TimePoint deadline) override;
  Task<Status> purge_rows(PartitionId partition) override;
  Task<Status> purge_blocks(PartitionId partition, TimePoint deadline) override;
  Task<Result<std::vector<uint64_t>>> sizes() override;

 private:
  Runtime runtime_;
  Kv& kv_;
  RegisterService& registers_;
  RowSync& rows_;
  BlockRepair& blocks_;
  ControlStore& control_;
  const Topology& topology_;
};

}  // namespace covey
