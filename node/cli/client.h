// One request to the admin socket. Blocking: commands have nothing else to do.
#pragma once

#include <string>

#include "base/core/result.h"
#include "node/admin/json.h"

namespace covey {

struct AdminReply {
  int status = 0;
  Json json;
};

inline constexpr size_t kAdminReplyBytesMax = 64 << 20;

// Errors: kUnavailable (nobody listens there: says how to start a node), kIo.
Result<AdminReply> ask_admin(const std::string& socket_path, const std::string& method,
                             const std::string& target, const Json& body = {});

}  // namespace covey
