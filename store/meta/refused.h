// Versions whose blocks this node reclaimed, or is about to: it takes neither such a block nor a
// row that brings it. The value is empty when that is final; else store/sync/orphans.h may take it
// back.
#pragma once

#include <string>

#include "base/core/ids.h"
#include "store/meta/keyspace.h"

namespace covey {

inline std::string refused_store_key(const VersionId& version) {
  return table_begin(TableId::kRefused).append(version.view());
}

}  // namespace covey
