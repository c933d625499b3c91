// CHECK aborts the process, in release builds too, when an invariant of this program does not hold.
// It is for bugs only; whatever input, disk or network can cause is a Result (base/core/result.h).
#pragma once

namespace covey {

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace covey

#define CHECK(condition)                                     \
  do {                                                       \
    if (!(condition)) [[unlikely]]                           \
      ::covey::check_failed(#condition, __FILE__, __LINE__); \
  } while (false)
