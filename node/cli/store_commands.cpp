// key and bucket.
#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include <iostream>

#include "node/cli/commands.h"

namespace covey {
namespace {

void print_json(const Json& json) {
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

// Names in a path are bucket names and access keys: nothing in them needs escaping, and what does
// is refused.
bool plain(const std::string& name) {
  return !name.empty() && name.size() <= 128 &&
         name.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+=@") ==
             std::string::npos;
}
int not_plain(const std::string& name) {
  fmt::print(stderr, "covey: {} is not a valid name\n", name);
  return kExitUsage;
}

void print_new_key(const CliOptions& options, const Json& key) {
  if (options.json) return print_json(key);
  fmt::print(
      "access key  {}\nsecret key  {}\nuser        {} ({})\n\n"
      "The secret is not shown again.\n",
      text_of(key, "access_key"), text_of(key, "secret_key"), text_of(key, "name"),
      text_of(key, "user_id").substr(0, 16));
}

void print_bucket(const Json& bucket) {
  fmt::print("{}: {}, owner {} ({}), made {}\n", text_of(bucket, "name"),
             text_of(bucket, "consistency"), text_of(bucket, "owner_name"),
             text_of(bucket, "owner").substr(0, 16), human_time(number_of(bucket, "created_ms")));
  for (const Json& grant : bucket["grants"])
    fmt::print("  {} ({}) may{}{}{}\n", text_of(grant, "name"),
               text_of(grant, "user_id").substr(0, 16), flag_of(grant, "read") ? " read" : "",
               flag_of(grant, "write") ? " write" : "", flag_of(grant, "owner") ? " own" : "");
}

}  // namespace

int run_key_create(const CliOptions& options) {
  int code = kExitOk;
  Json body;
  body["name"] = options.name;
  body["user_id"] = options.user_id;
  body["create_buckets"] = !options.no_buckets;
  Json key = request(options, "POST", "/v1/keys", body, code);
  if (code == kExitOk) print_new_key(options, key);
  return code;
}

int run_key_import(const CliOptions& options) {
  std::string secret;
  if (!options.secret_on_stdin && ::isatty(0)) fmt::print(stderr, "secret key: ");
  std::getline(std::cin, secret);
  while (!secret.empty() && (secret.back() == '\r' || secret.back() == ' ')) secret.pop_back();
  if (secret.empty()) {
    fmt::print(stderr, "covey: give the secret key on standard input\n");
    return kExitUsage;
  }
  int code = kExitOk;
  Json body;
  body["name"] = options.name;
  body["access_key"] = options.access_key;
  body["secret_key"] = secret;
  body["user_id"] = options.user_id;
  body["create_buckets"] = !options.no_buckets;
  Json key = request(options, "POST", "/v1/keys", body, code);
  if (code != kExitOk) return code;
  key.erase("secret_key");
  if (options.json)
    print_json(key);
  else
    fmt::print("imported {} for {}\n", text_of(key, "access_key"), text_of(key, "name"));
  return code;
}

int run_key_list(const CliOptions& options) {
  int code = kExitOk;
  Json keys = request(options, "GET", "/v1/keys", {}, code);
  if (code != kExitOk) return code;
  if (options.json) return print_json(keys), code;
  TextTable table({"ACCESS KEY", "NAME", "USER", "MAY CREATE BUCKETS", "MADE"});
  for (const Json& key : keys)
    table.add({text_of(key, "access_key"), text_of(key, "name"),
               text_of(key, "user_id").substr(0, 16), flag_of(key, "create_buckets") ? "yes" : "no",
               human_time(number_of(key, "created_ms"))});
  fmt::print("{}", table.str());
  return code;
}

int run_key_show(const CliOptions& options) {
  if (!plain(options.access_key)) return not_plain(options.access_key);
  int code = kExitOk;
  Json key = request(options, "GET", "/v1/keys/" + options.access_key, {}, code);
  if (code != kExitOk) return code;
  if (options.json) return print_json(key), code;
  fmt::print("access key  {}\nname        {}\nuser        {}\nbuckets     {}\nmade        {}\n",
             text_of(key, "access_key"), text_of(key, "name"), text_of(key, "user_id"),
             flag_of(key, "create_buckets") ? "may create" : "may not create",
             human_time(number_of(key, "created_ms")));
  return code;
}

int run_key_delete(const CliOptions& options) {
  if (!plain(options.access_key)) return not_plain(options.access_key);
  int code = kExitOk;
  Json key = request(options, "DELETE", "/v1/keys/" + options.access_key, {}, code);
  if (code != kExitOk) return code;
  if (options.json) return print_json(key), code;
  fmt::print("deleted {} of {}\n", text_of(key, "access_key"), text_of(key, "name"));
  return code;
}

int run_bucket_create(const CliOptions& options) {
  if (!plain(options.bucket)) return not_plain(options.bucket);
  int code = kExitOk;
  Json body;
  body["key"] = options.key;
  body["consistency"] = options.consistency;
  Json bucket = request(options, "POST", "/v1/buckets/" + options.bucket, body, code);
  if (code != kExitOk) return code;
  options.json ? print_json(bucket) : print_bucket(bucket);
  return code;
}

int run_bucket_list(const CliOptions& options) {
  int code = kExitOk;
  Json buckets = request(options, "GET", "/v1/buckets", {}, code);
  if (code != kExitOk) return code;
  if (options.json) return print_json(buckets), code;
  TextTable table({"BUCKET", "OWNER", "CONSISTENCY", "GRANTS", "MADE"});
  for (const Json& bucket : buckets)
    table.add({text_of(bucket, "name"), text_of(bucket, "owner_name"),
               text_of(bucket, "consistency"), std::to_string(bucket["grants"].size()),
               human_time(number_of(bucket, "created_ms"))});
  fmt::print("{}", table.str());
  return code;
}

int run_bucket_show(const CliOptions& options) {
  if (!plain(options.bucket)) return not_plain(options.bucket);
  int code = kExitOk;
  Json bucket = request(options, "GET", "/v1/buckets/" + options.bucket, {}, code);
  if (code != kExitOk) return code;
  options.json ? print_json(bucket) : print_bucket(bucket);
  return code;
}

int run_bucket_delete(const CliOptions& options) {
  if (!plain(options.bucket)) return not_plain(options.bucket);
  int code = kExitOk;
  Json reply = request(options, "DELETE", "/v1/buckets/" + options.bucket, {}, code);
  if (code != kExitOk) return code;
  options.json ? print_json(reply) : fmt::print("deleted {}\n", options.bucket);
  return code;
}

int run_bucket_conflicts(const CliOptions& options) {
  if (!plain(options.bucket)) return not_plain(options.bucket);
  int code = kExitOk;
  Json events = request(options, "GET", "/v1/buckets/" + options.bucket + "/conflicts", {}, code);
  if (code != kExitOk) return code;
  if (options.json) return print_json(events), code;
  TextTable table({"WHEN", "KEY", "VERSION", "WHAT", "CURRENT THEN"});
  for (const Json& event : events)
    table.add({human_time(number_of(event, "at_ms")), text_of(event, "key"),
               text_of(event, "version"), text_of(event, "what"), text_of(event, "winner")});
  fmt::print("{}", table.str());
  return code;
}

int run_bucket_allow(const CliOptions& options) {
  if (!plain(options.bucket)) return not_plain(options.bucket);
  int code = kExitOk;
  Json body;
  body["key"] = options.key;
  body["user_id"] = options.user_id;
  body["read"] = options.read, body["write"] = options.write, body["owner"] = options.owner;
  Json bucket = request(options, "POST", "/v1/buckets/" + options.bucket + "/grants", body, code);
  if (code != kExitOk) return code;
  options.json ? print_json(bucket) : print_bucket(bucket);
  return code;
}

}  // namespace covey
