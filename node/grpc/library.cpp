#include "node/grpc/library.h"

#include <grpc/grpc.h>

#include <chrono>
#include <thread>

#include "base/core/log.h"

namespace covey {
namespace {

constexpr auto kPause = std::chrono::milliseconds(2);
constexpr int kPausesMax = 500;  // a second: a connection that ends is done long before

}  // namespace

GrpcLibrary::GrpcLibrary() { grpc_init(); }

// Where this is the last that holds gRPC, it ends here. Else an object that a thread of gRPC's own
// still holds is the last, and one more such thread ends it; meanwhile it counts as initialized.
GrpcLibrary::~GrpcLibrary() {
  grpc_shutdown_blocking();
  for (int i = 0; grpc_is_initialized() && i < kPausesMax; ++i) std::this_thread::sleep_for(kPause);
  if (grpc_is_initialized()) log_debug("gRPC is still in use as the process ends");
}

}  // namespace covey
