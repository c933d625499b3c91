// Small helpers over nlohmann::json that never throw.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "s3gw/http/http.h"

namespace covey {

using Json = nlohmann::ordered_json;

inline std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}
// Null unless `text` is JSON.
inline Json parse_json(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json() : json;
}
inline std::string text_of(const Json& json, const char* name, std::string fallback = {}) {
  if (!json.is_object()) return fallback;
  auto it = json.find(name);
  return it != json.end() && it->is_string() ? it->get<std::string>() : fallback;
}
inline uint64_t number_of(const Json& json, const char* name, uint64_t fallback = 0) {
  if (!json.is_object()) return fallback;
  auto it = json.find(name);
  return it != json.end() && it->is_number_unsigned() ? it->get<uint64_t>() : fallback;
}
inline bool flag_of(const Json& json, const char* name, bool fallback = false) {
  if (!json.is_object()) return fallback;
  auto it = json.find(name);
  return it != json.end() && it->is_boolean() ? it->get<bool>() : fallback;
}

}  // namespace covey
