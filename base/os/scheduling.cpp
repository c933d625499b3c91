#include "base/os/scheduling.h"

#include <sched.h>

namespace covey {
namespace {

// Where it is forbidden (a container's filter) the node is slower, no more.
void set_policy(int policy) {
  sched_param none{};
  (void)sched_setscheduler(0, policy, &none);
}

}  // namespace

void schedule_for_throughput() { set_policy(SCHED_BATCH); }
void schedule_for_latency() { set_policy(SCHED_OTHER); }

}  // namespace covey
