#include "base/core/check.h"

#include <cstdio>
#include <cstdlib>

namespace covey {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "covey: bug: CHECK(%s) failed at %s:%d\n", condition, file, line);
  std::abort();
}

}  // namespace covey
