// gRPC as a library of the process, without naming a gRPC type.
#pragma once

namespace covey {

// Held by the process while it talks to peers, longer than any of them. When it goes, gRPC's own
// threads have ended: one that the process left behind would outlive what OpenSSL keeps for it,
// since exit handlers run meanwhile.
class GrpcLibrary {
 public:
  GrpcLibrary();
  ~GrpcLibrary();
  GrpcLibrary(const GrpcLibrary&) = delete;
  GrpcLibrary& operator=(const GrpcLibrary&) = delete;
};

}  // namespace covey
