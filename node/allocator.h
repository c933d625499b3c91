// The allocator behind malloc. Release builds link jemalloc: requests allocate much and briefly,
// and it serves that with a third of the C library's work, from few arenas that give memory back
// within seconds. Sanitizers bring an allocator of their own.
#pragma once

namespace covey {

// What is freed but still held goes back to the system now.
void return_free_memory();

}  // namespace covey
