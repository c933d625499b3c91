#include "base/core/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <utility>

namespace covey {

void log_to_stderr() {
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("", std::move(sink)));
}

bool set_log_level(std::string_view name) {
  if (name != "debug" && name != "info" && name != "warn" && name != "error" && name != "off")
    return false;
  spdlog::set_level(spdlog::level::from_str(std::string(name)));
  return true;
}

bool log_enabled(LogLevel level) {
  return spdlog::default_logger_raw()->should_log(static_cast<spdlog::level::level_enum>(level));
}

void log_line(LogLevel level, std::string_view text) {
  spdlog::default_logger_raw()->log(static_cast<spdlog::level::level_enum>(level),
                                    spdlog::string_view_t(text.data(), text.size()));
}

}  // namespace covey
