// How Linux schedules the calling thread and the threads that it starts afterwards.
#pragma once

namespace covey {

// As SCHED_BATCH: a thread that becomes ready waits for the one that runs to sleep or to use up its
// slice. A request passes through several threads; without this each of them interrupts the one
// that woke it, and nothing is left to share a frame or a sync.
void schedule_for_throughput();
// As SCHED_OTHER: for a thread that must answer in time whatever the others do.
void schedule_for_latency();

}  // namespace covey
