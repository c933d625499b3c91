// Small files that only their owner may read.
#pragma once

#include <string>

#include "base/core/result.h"

namespace covey {

// Errors: kNotFound, kDenied (others may read it), kIo.
Result<std::string> read_private(const std::string& path);
// Synced, with its folder; a crash leaves all of it or nothing. Errors: kAlreadyExists, kIo.
Status write_private(const std::string& path, const std::string& text);
// The same in place of a file. Errors: kDenied (no right to write in the folder), kIo.
Status replace_private(const std::string& path, const std::string& text);

}  // namespace covey
