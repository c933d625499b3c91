#include <malloc.h>

#include "node/cli/cli.h"
#include "node/server.h"

namespace {

// Blocks of 1 MiB come and go with every large request: mapping and unmapping each costs more than
// filling it. Few arenas and an early trim keep what an idle node holds small.
void tune_allocator() {
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
  mallopt(M_TRIM_THRESHOLD, 16 << 20);
  mallopt(M_ARENA_MAX, 2);
}

}  // namespace

int main(int argc, char** argv) {
  tune_allocator();
  return covey::run_cli(argc, argv, covey::serve_node);
}
