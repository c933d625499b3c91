// SEEDED_BUG("name"): a mistake that a simulation can put into the code, to show that its checkers
// see it. Where the condition stands, the code says what would go wrong without the rule beside it.
//
//   if (!SEEDED_BUG("register-relay-skipped")) ...
//
// In what we ship it is the constant `false`: nothing of it is compiled. Only the test-only
// variants of our libraries (`*_seeded_lib` in meson.build, built with COVEY_SEEDED_BUGS) have it;
// one bug at a time is in, by its name. docs/testing.md lists all of them; names start with the
// layer.
#pragma once

#ifdef COVEY_SEEDED_BUGS

#include <string_view>

namespace covey {
// The name of the bug that is in; empty: none. Set before anything runs.
inline std::string_view seeded_bug;
}  // namespace covey

#define SEEDED_BUG(name) (::covey::seeded_bug == std::string_view(name))

#else

#define SEEDED_BUG(name) false

#endif
