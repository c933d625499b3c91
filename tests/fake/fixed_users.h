// Users that a test names, in memory.
#pragma once

#include <map>
#include <string>

#include "store/objects/users.h"

namespace covey {

class FixedUsers : public Users {
 public:
  void add(std::string access, std::string secret, std::string id, std::string name,
           bool create_buckets = true) {
    AccessKey key;
    key.access_key = access;
    key.secret_key = std::move(secret);
    key.user_id = std::move(id);
    key.display_name = std::move(name);
    key.create_buckets = create_buckets;
    keys_[std::move(access)] = std::move(key);
  }
  std::optional<AccessKey> find(std::string_view access_key) const override {
    auto it = keys_.find(std::string(access_key));
    return it == keys_.end() ? std::nullopt : std::optional(it->second);
  }
  std::optional<std::string> display_name(std::string_view user_id) const override {
    for (const auto& [access, key] : keys_)
      if (key.user_id == user_id) return key.display_name;
    return std::nullopt;
  }
  std::vector<AccessKey> list() const override {
    std::vector<AccessKey> all;
    for (const auto& [access, key] : keys_) all.push_back(key);
    return all;
  }
  Task<Status> confirm(TimePoint) override { co_return Status(); }
  Task<Status> put(AccessKey key, TimePoint) override {
    keys_[key.access_key] = std::move(key);
    co_return Status();
  }
  Task<Status> remove(std::string access_key, TimePoint) override {
    keys_.erase(access_key);
    co_return Status();
  }

 private:
  std::map<std::string, AccessKey> keys_;
};

}  // namespace covey
