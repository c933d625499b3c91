// Logging. One process-wide sink, set up by main(); levels are filtered before formatting.
// A message says what happened and, when something is wrong, what the operator should do.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

namespace covey {

enum class LogLevel : int { kDebug = 1, kInfo = 2, kWarn = 3, kError = 4, kOff = 6 };

// From now on lines go to standard error; before, to standard output.
void log_to_stderr();
// "debug", "info", "warn", "error", "off"; anything else leaves the level unchanged and returns
// false.
bool set_log_level(std::string_view name);
bool log_enabled(LogLevel level);
void log_line(LogLevel level, std::string_view text);

template <class... Args>
void log_at(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(level)) log_line(level, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  log_at(LogLevel::kDebug, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_at(LogLevel::kInfo, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_warn(fmt::format_string<Args...> format, Args&&... args) {
  log_at(LogLevel::kWarn, format, std::forward<Args>(args)...);
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_at(LogLevel::kError, format, std::forward<Args>(args)...);
}

}  // namespace covey
