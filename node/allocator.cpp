#include "node/allocator.h"

#ifdef COVEY_JEMALLOC
#include <jemalloc/jemalloc.h>

// Read by jemalloc before main(). More arenas than two cost resident memory on small boxes.
extern "C" const char* malloc_conf;
const char* malloc_conf = "narenas:2,dirty_decay_ms:5000,muzzy_decay_ms:0";
#else
#include <malloc.h>
#endif

namespace covey {

void return_free_memory() {
#ifdef COVEY_JEMALLOC
  constexpr const char* kPurgeAll = "arena.4096.purge";  // 4096: MALLCTL_ARENAS_ALL
  static_assert(MALLCTL_ARENAS_ALL == 4096);
  mallctl(kPurgeAll, nullptr, nullptr, nullptr, 0);
#else
  ::malloc_trim(0);
#endif
}

}  // namespace covey
