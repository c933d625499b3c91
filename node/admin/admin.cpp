#include "node/admin/admin.h"

#include <fmt/format.h>

#include <algorithm>

#include "node/admin/json.h"
#include "s3gw/ops/names.h"
#include "s3gw/ops/text.h"
#include "store/objects/key_users.h"

namespace covey {
namespace {

using namespace std::chrono_literals;
constexpr Duration kCallTimeout = 5s;
constexpr Duration kCollectTimeout = 1500ms;

HttpResponse reply(int status, const Json& json) {
  HttpResponse response;
  response.status = status;
  response.set("Content-Type", "application/json");
  response.body = Blob::own(dump(json) + "\n");
  return response;
}
HttpResponse error_reply(const Error& error) {
  int status = 500;
  switch (error.code) {
    case ErrorCode::kInvalid:
    case ErrorCode::kInvalidArgument: status = 400; break;
    case ErrorCode::kNotFound:
    case ErrorCode::kNoSuchBucket: status = 404; break;
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kBucketAlreadyExists:
    case ErrorCode::kBucketAlreadyOwnedByYou:
    case ErrorCode::kBucketNotEmpty:
    case ErrorCode::kConflict: status = 409; break;
    case ErrorCode::kDenied: status = 403; break;
    case ErrorCode::kNotImplemented: status = 501; break;
    case ErrorCode::kUnavailable:
    case ErrorCode::kTimeout:
    case ErrorCode::kUnknownOutcome:
    case ErrorCode::kOverloaded: status = 503; break;
    case ErrorCode::kNoSpace: status = 507; break;
    default: break;
  }
  Json json;
  json["error"] = std::string(error_name(error.code));
  json["message"] = error.message.empty() ? std::string(error_name(error.code)) : error.message;
  return reply(status, json);
}
HttpResponse error_reply(ErrorCode code, std::string message) {
  return error_reply(Error{code, std::move(message), {}});
}
HttpResponse bucket_error(const std::string& name, Error error) {
  std::string what = error.message.empty() ? std::string(error_name(error.code)) : error.message;
  error.message = fmt::format("bucket {}: {}", name, what);
  return error_reply(error);
}
HttpResponse not_started(std::string_view what) {
  return error_reply(ErrorCode::kUnavailable,
                     fmt::format("{} has not started yet; try again in a moment", what));
}

// A fresh key pair, or the one that is imported.
Result<AccessKey> key_from(const Json& json, WallTime now) {
  std::string name = text_of(json, "name");
  if (name.empty() || name.size() > 128)
    return fail(ErrorCode::kInvalid, "give the key a name of 1 to 128 characters: --name alice");
  AccessKey key = KeyUsers::generate(name, now);
  std::string access = text_of(json, "access_key"), secret = text_of(json, "secret_key");
  if (access.empty() != secret.empty())
    return fail(ErrorCode::kInvalid, "an imported key needs both its access key and its secret");
  if (!access.empty()) key.access_key = access, key.secret_key = secret;
  if (std::string user = text_of(json, "user_id"); !user.empty()) key.user_id = user;
  key.create_buckets = flag_of(json, "create_buckets", true);
  return key;
}

Json to_json(const AccessKey& key, bool with_secret) {
  Json json;
  json["access_key"] = key.access_key;
  if (with_secret) json["secret_key"] = key.secret_key;
  json["name"] = key.display_name;
  json["user_id"] = key.user_id;
  json["create_buckets"] = key.create_buckets;
  json["created_ms"] = key.created.ms;
  return json;
}

Json to_json(const Bucket& bucket, const Users* users) {
  Json json;
  json["name"] = bucket.name;
  json["id"] = bucket.id.hex();
  json["owner"] = bucket.owner;
  if (users) json["owner_name"] = users->display_name(bucket.owner).value_or("");
  json["created_ms"] = bucket.created.ms;
  json["region"] = bucket.region;
  json["generation"] = bucket.generation;
  json["consistency"] = consistency_name(bucket.consistency);
  json["grants"] = Json::array();
  for (const auto& [user, grant] : bucket.grants) {
    Json g;
    g["user_id"] = user;
    if (users) g["name"] = users->display_name(user).value_or("");
    g["read"] = grant.read, g["write"] = grant.write, g["owner"] = grant.owner;
    json["grants"].push_back(std::move(g));
  }
  return json;
}

Json to_json(const NodeView& node, const NodeId& self) {
  Json json;
  json["id"] = node.id.hex();
  json["name"] = node.name;
  json["zone"] = node.zone;
  json["address"] = node.address;
  json["version"] = node.version;
  json["state"] = node.state;
  json["self"] = node.id == self;
  json["member"] = node.member;
  json["answers"] = node.reachable() && !node.silent;
  json["last_seen_ms"] =
      std::chrono::duration_cast<std::chrono::milliseconds>(node.since_seen).count();
  json["capacity_bytes"] = node.capacity_bytes;
  json["used_bytes"] = node.used_bytes;
  json["free_bytes"] = node.free_bytes;
  json["copies_owed"] = node.copies_owed;
  json["partitions_behind"] = node.partitions_behind;
  json["rows_behind"] = node.rows_behind;
  json["behind_because"] = node.behind_because;
  json["quarantined"] = node.quarantined;
  json["role"] = node.role;
  json["partitions_to_hand_over"] = node.leaving;
  json["to_repair"] = node.to_repair;
  return json;
}

Json layout_json(const Layout& layout) {
  Json json;
  json["version"] = layout.version;
  json["copies"] = layout.copies;
  json["partitions"] = layout.partitions();
  std::vector<uint32_t> held(layout.members.size()), first(layout.members.size());
  for (const auto& replicas : layout.assignment)
    for (size_t i = 0; i < replicas.size(); ++i) ++held[replicas[i]], first[replicas[i]] += i == 0;
  json["members"] = Json::array();
  for (size_t i = 0; i < layout.members.size(); ++i) {
    const Member& member = layout.members[i];
    Json m;
    m["id"] = member.id.hex(), m["name"] = member.name, m["zone"] = member.zone;
    m["capacity_bytes"] = member.capacity_bytes;
    m["partitions"] = held[i], m["first_in"] = first[i];
    json["members"].push_back(std::move(m));
  }
  return json;
}

Json metadata_check_json(const Verifier::Progress& check) {
  using std::chrono::milliseconds;
  Json json;
  json["running"] = check.running;
  json["passes"] = check.passes;
  json["verified_ms"] = check.verified.ms;
  json["took_ms"] = std::chrono::duration_cast<milliseconds>(check.took).count();
  json["trouble"] = check.trouble;
  return json;
}

Task<Result<std::string>> read_body(HttpRequest& request) {
  std::string body;
  for (;;) {
    CO_TRY(Blob piece, co_await request.body->next(kAdminBodyBytesMax));
    if (piece.empty()) co_return body;
    if (body.size() + piece.size() > kAdminBodyBytesMax)
      co_return fail(ErrorCode::kInvalid, "the request is larger than 64 KiB");
    body.append(piece.view());
  }
}

// "/v1/buckets/photos/grants" -> {"v1", "buckets", "photos", "grants"}
std::vector<std::string> split_path(std::string_view target) {
  target = target.substr(0, target.find('?'));
  std::vector<std::string> parts;
  while (!target.empty() && parts.size() < 8) {
    target.remove_prefix(target.front() == '/' ? 1 : 0);
    size_t end = std::min(target.find('/'), target.size());
    if (end > 0) parts.emplace_back(target.substr(0, end));
    target.remove_prefix(end);
  }
  parts.resize(std::max<size_t>(parts.size(), 4));
  return parts;
}

Task<void> ask(Peers& peers, NodeView& node, TimePoint deadline) {
  PeerMessage request;
  request.head = "numbers";
  auto answer = co_await peers.call(node.id, PeerService::kAdmin, std::move(request), deadline);
  node.silent = !answer;
  if (!answer) co_return;
  Json json = parse_json(answer->head);
  node.version = text_of(json, "version", node.version);
  node.used_bytes = number_of(json, "used_bytes");
  node.free_bytes = number_of(json, "free_bytes", node.free_bytes);
  node.copies_owed = number_of(json, "copies_owed");
  node.partitions_behind = number_of(json, "partitions_behind");
  node.rows_behind = number_of(json, "rows_behind");
  node.behind_because = text_of(json, "behind_because");
  node.quarantined = number_of(json, "quarantined");
  node.to_repair = number_of(json, "to_repair");
  node.leaving = number_of(json, "leaving");
}

NodeView& add_member(std::vector<NodeView>& nodes, const Member& member, const char* role) {
  auto it = std::find_if(nodes.begin(), nodes.end(),
                         [&](const NodeView& n) { return n.id == member.id; });
  if (it == nodes.end()) {  // gossip has not heard of it since this node started
    NodeView missing;
    missing.id = member.id;
    missing.state = "dead";
    nodes.push_back(std::move(missing));
    it = std::prev(nodes.end());
  }
  it->name = member.name, it->zone = member.zone, it->role = role;
  it->capacity_bytes = member.capacity_bytes;
  return *it;
}

}  // namespace

TimePoint Admin::deadline() const { return deps_.runtime.clock.after(kCallTimeout); }

HttpResponse Admin::refuse(int status, std::string_view why) {
  HttpResponse response = reply(status, Json{{"error", "invalid"}, {"message", std::string(why)}});
  response.close = true;
  return response;
}

Task<HttpResponse> Admin::handle(HttpRequest& request) {
  std::vector<std::string> path = split_path(request.target);
  if (path[0] == "metrics") co_return metrics();
  if (path[0] == "health") co_return health();
  std::string method = request.method;
  auto body = co_await read_body(request);
  if (!body) co_return error_reply(body.error());
  if (path[0] == "v1") {
    if (path[1] == "status" && method == "GET") co_return co_await status();
    if (path[1] == "keys") co_return co_await keys(method, path[2], std::move(*body));
    if (path[1] == "buckets")
      co_return co_await buckets(method, path[2], path[3], std::move(*body));
    if (path[1] == "snapshots") co_return snapshots(method);
    if (path[1] == "repair") co_return repair(method, path[2]);
    if (path[1] == "layout") co_return co_await layout(method, path[2], std::move(*body));
    if (path[1] == "nodes") co_return co_await nodes(method, path[2], path[3]);
    if (path[1] == "invite") co_return invite(method, std::move(*body));
    if (path[1] == "secret") co_return co_await secret(method, std::move(*body));
  }
  co_return error_reply(ErrorCode::kNotFound,
                        fmt::format("the admin API has no {} {}", method, request.target));
}

Task<HttpResponse> Admin::Public::handle(HttpRequest& request) {
  std::vector<std::string> path = split_path(request.target);
  if (path[0] == "metrics") co_return admin_.metrics();
  if (path[0] == "health") co_return admin_.health();
  co_return error_reply(ErrorCode::kNotFound,
                        "only /metrics and /health answer here; use the covey command");
}

std::string Admin::own_numbers() const {
  Json json;
  json["version"] = kCoveyVersion;
  if (deps_.blocks) {
    Blocks::Usage usage = deps_.blocks->usage();
    json["used_bytes"] = usage.used_bytes;
    json["free_bytes"] = usage.free_bytes;
    json["copies_owed"] = usage.copies_owed;
    json["quarantined"] = usage.quarantined;
    json["to_repair"] = usage.to_repair;
  }
  if (deps_.behind) {
    AdminDeps::Behind behind = deps_.behind();
    json["partitions_behind"] = behind.partitions;
    json["rows_behind"] = behind.rows;
    json["behind_because"] = behind.why;
  }
  if (deps_.leaving) json["leaving"] = deps_.leaving();
  return dump(json);
}

Task<Result<PeerMessage>> Admin::serve(NodeId from, PeerMessage request) {
  PeerMessage answer;
  if (request.head == "partitions")
    answer.head = deps_.partitions ? deps_.partitions() : std::string();
  else
    answer.head = own_numbers();
  co_return answer;
}

Task<std::vector<NodeView>> Admin::collect_nodes() {
  std::vector<NodeView> nodes;
  if (deps_.nodes) nodes = deps_.nodes();
  Scope scope;
  TimePoint until = deps_.runtime.clock.after(kCollectTimeout);
  if (deps_.peers)
    for (NodeView& node : nodes)
      if (node.reachable()) scope.spawn(ask(*deps_.peers, node, until));
  co_await scope.join();
  if (!deps_.topology || !deps_.topology->layout()) co_return nodes;
  auto layout = deps_.topology->layout();
  std::erase_if(nodes, [&](const NodeView& node) {  // taken out, and gone
    return !node.reachable() && layout->has_departed(node.id);
  });
  for (NodeView& node : nodes)
    if (layout->has_departed(node.id)) node.role = "out";
  if (layout->next)
    for (const Member& member : layout->next->members) add_member(nodes, member, "joins");
  for (const Member& member : layout->current.members) {
    bool stays = !layout->next || layout->next->find(member.id);
    add_member(nodes, member, stays ? "member" : "leaves").member = true;
  }
  co_return nodes;
}

Task<HttpResponse> Admin::status() {
  std::vector<NodeView> nodes = co_await collect_nodes();
  std::shared_ptr<const LayoutState> layout;
  NodeId self;
  if (deps_.topology) layout = deps_.topology->layout(), self = deps_.topology->self();
  Health health = judge_health(layout.get(), nodes);
  if (deps_.notes)
    for (std::string& note : deps_.notes()) health.problems.push_back(std::move(note));
  Json rotation = deps_.secret ? deps_.secret() : Json();
  if (flag_of(rotation, "away"))
    health.next.push_back(
        "start the nodes that the secret rotation waits for, or go on without "
        "them: covey secret rotate --force");
  Json json;
  if (flag_of(rotation, "rotating")) json["secret_rotation"] = std::move(rotation);
  json["healthy"] = health.healthy;
  json["summary"] = health.summary;
  json["problems"] = health.problems;
  json["next"] = health.next;
  json["version"] = kCoveyVersion;
  json["self"] = self.hex();
  json["region"] = deps_.region;
  uint64_t owed = 0;
  for (const NodeView& node : nodes) owed += node.copies_owed + node.to_repair;
  json["copies_to_repair"] = owed;
  uint64_t partitions = 0, rows = 0;
  for (const NodeView& node : nodes) partitions += node.partitions_behind, rows += node.rows_behind;
  json["partitions_to_compare"] = partitions;
  json["rows_to_repair"] = rows;
  if (layout) {
    json["cluster"] = layout->cluster.hex();
    json["layout"] = {{"version", layout->current.version},
                      {"epoch", layout->epoch},
                      {"copies", layout->current.copies},
                      {"partitions", layout->current.partitions()},
                      {"changing", layout->joint()}};
    Json change = deps_.change ? deps_.change() : Json();
    if (!change.is_null()) json["change"] = std::move(change);
  }
  json["nodes"] = Json::array();
  for (const NodeView& node : nodes) json["nodes"].push_back(to_json(node, self));
  co_return reply(200, json);
}

// What this node keeps for a rebuild of its metadata; POST begins a snapshot.
HttpResponse Admin::snapshots(std::string method) {
  if (!deps_.snapshots) return not_started("the metadata store");
  if (method == "POST") deps_.snapshots->ask();
  Snapshots::Progress progress = deps_.snapshots->progress();
  Json json;
  json["covered"] = progress.covered, json["running"] = progress.running;
  json["journal_bytes"] = progress.journal_bytes;
  json["attempts"] = progress.attempts;
  json["trouble"] = progress.trouble;
  json["snapshots"] = Json::array();
  const int64_t now = deps_.runtime.clock.wall_now().ms;
  for (const SnapshotFile& file : progress.kept)
    json["snapshots"].push_back({{"name", file.name},
                                 {"made_ms", file.covers.made_ms},
                                 {"age_ms", std::max<int64_t>(0, now - file.covers.made_ms)},
                                 {"bytes", file.covers.bytes},
                                 {"sequence", file.covers.sequence}});
  return reply(200, json);
}

// This node's own scrub and repairs.
HttpResponse Admin::repair(std::string method, std::string action) {
  if (!deps_.scrub || !deps_.blocks || !deps_.block_repair) return not_started("the block store");
  if (method == "POST") {
    if (action == "start") {
      deps_.scrub->start();
      if (deps_.verifier) deps_.verifier->ask();
    } else if (action == "pause" || action == "resume") {
      deps_.scrub->pause(action == "pause");
    } else {
      return error_reply(ErrorCode::kInvalid, "repair takes start, pause and resume");
    }
  }
  Scrub::Progress scrub = deps_.scrub->progress();
  BlockRepair::Progress catch_up = deps_.block_repair->progress();
  Blocks::Usage usage = deps_.blocks->usage();
  Json json;
  json["running"] = scrub.running, json["paused"] = scrub.paused;
  json["passes"] = scrub.passes;
  json["checked_blocks"] = scrub.checked_blocks, json["checked_bytes"] = scrub.checked_bytes;
  json["total_bytes"] = scrub.total_bytes;
  json["bad_blocks"] = scrub.bad_blocks;
  json["started_ms"] = scrub.started.ms, json["finished_ms"] = scrub.finished.ms;
  json["quarantined"] = usage.quarantined;
  json["to_repair"] = usage.to_repair, json["repaired"] = usage.repaired;
  json["copies_owed"] = usage.copies_owed;
  if (deps_.verifier) json["metadata"] = metadata_check_json(deps_.verifier->progress());
  json["catching_up"] = {
      {"partitions", catch_up.partitions},       {"blocks_missing", catch_up.blocks_missing},
      {"bytes_missing", catch_up.bytes_missing}, {"blocks_fetched", catch_up.blocks_fetched},
      {"bytes_fetched", catch_up.bytes_fetched}, {"blocks_lost", catch_up.blocks_lost}};
  return reply(200, json);
}

HttpResponse Admin::invite(std::string method, std::string body) const {
  if (method != "POST") return error_reply(ErrorCode::kInvalid, "invite takes POST");
  if (!deps_.invitation) return not_started("the cluster");
  Json json = parse_json(body);
  std::chrono::seconds valid(number_of(json, "expires_s"));
  if (valid < 1s || valid > kInvitationMax)
    return error_reply(ErrorCode::kInvalid, "an invitation is good for 1s to 30d: --expires 1h");
  auto token = deps_.invitation(valid);
  if (!token) return error_reply(token.error());
  return reply(200, Json{{"token", *token}, {"expires_s", valid.count()}});
}

Task<HttpResponse> Admin::secret(std::string method, std::string body) {
  if (!deps_.secret || !deps_.rotate) co_return not_started("the cluster");
  if (method == "POST") {
    bool force = flag_of(parse_json(body), "force");
    Status begun = co_await deps_.rotate(force);
    if (!begun) co_return error_reply(begun.error());
  } else if (method != "GET") {
    co_return error_reply(ErrorCode::kInvalid, "secret takes GET and POST");
  }
  co_return reply(200, deps_.secret());
}

HttpResponse Admin::show_layout() const {
  auto layout = deps_.topology ? deps_.topology->layout() : nullptr;
  if (!layout) return not_started("the cluster");
  Json json;
  json["cluster"] = layout->cluster.hex();
  json["epoch"] = layout->epoch;
  json["current"] = layout_json(layout->current);
  if (layout->next) json["next"] = layout_json(*layout->next);
  Json change = deps_.change ? deps_.change() : Json();
  if (!change.is_null()) json["change"] = std::move(change);
  json["taken_out"] = Json::array();
  for (const NodeId& node : layout->departed) json["taken_out"].push_back(node.hex());
  return reply(200, json);
}

Task<HttpResponse> Admin::layout(std::string method, std::string verb, std::string body) {
  if (method == "GET" && verb.empty()) co_return show_layout();
  if (method == "POST" && (verb == "plan" || verb == "apply" || verb == "revert"))
    co_return co_await change_layout(verb, parse_json(body));
  co_return error_reply(ErrorCode::kInvalid,
                        "GET layout, or POST layout/plan, layout/apply or layout/revert");
}

Task<HttpResponse> Admin::nodes(std::string method, std::string name, std::string verb) {
  Json body;
  if (method == "GET" && verb == "check") {
    body["node"] = name;
    co_return co_await change_layout("check", std::move(body));
  }
  if (method == "DELETE" && verb.empty()) {
    body["remove"].push_back(name);
    co_return co_await change_layout("apply", std::move(body));
  }
  co_return error_reply(ErrorCode::kInvalid, "DELETE nodes/NAME, or GET nodes/NAME/check");
}

Task<HttpResponse> Admin::change_layout(std::string verb, Json body) {
  if (!deps_.layout) co_return not_started("the cluster");
  auto done = co_await deps_.layout(std::move(verb), std::move(body));
  if (!done) co_return error_reply(done.error());
  co_return reply(200, *done);
}

Task<HttpResponse> Admin::keys(std::string method, std::string id, std::string body) {
  if (!deps_.users) co_return not_started("the store of keys");
  Users& users = *deps_.users;
  if (method == "GET" && id.empty()) {
    Json json = Json::array();
    for (const AccessKey& key : users.list()) json.push_back(to_json(key, false));
    co_return reply(200, json);
  }
  if (method == "POST" && id.empty()) {
    auto key = key_from(parse_json(body), deps_.runtime.clock.wall_now());
    if (!key) co_return error_reply(key.error());
    AccessKey made = *key;
    auto stored = co_await users.put(std::move(made), deadline());
    if (!stored) co_return error_reply(stored.error());
    co_return reply(200, to_json(*key, true));
  }
  Status sure = co_await users.confirm(deadline());
  if (!sure) co_return error_reply(sure.error());
  auto key = users.find(id);
  if (!key) co_return error_reply(ErrorCode::kNotFound, "there is no key " + id);
  if (method == "GET") co_return reply(200, to_json(*key, false));
  if (method == "DELETE") {
    auto removed = co_await users.remove(id, deadline());
    if (!removed) co_return error_reply(removed.error());
    co_return reply(200, to_json(*key, false));
  }
  co_return error_reply(ErrorCode::kInvalid, "keys take GET, POST and DELETE");
}

// What this node saw of concurrent writes, the newest first. Keys may hold any bytes: they are
// shown as in a URL.
HttpResponse Admin::conflicts(const Bucket& bucket) const {
  if (!deps_.conflicts) return not_started("the object store");
  auto events = deps_.conflicts->list(kConflictEventsMax);
  if (!events) return error_reply(events.error());
  Json list = Json::array();
  for (const ConflictEvent& event : *events) {
    if (event.bucket() != bucket.id) continue;
    std::string key;
    append_url_encoded(key, event.object_key());
    Json json;
    json["at_ms"] = event.at.ms;
    json["key"] = key;
    json["what"] = event.kind == ConflictEvent::Kind::kDropped ? "dropped" : "lost";
    json["version"] = event.loser.hex();
    json["winner"] = event.winner.hex();
    json["winner_is_deletion"] = event.winner_deleted;
    list.push_back(std::move(json));
  }
  return reply(200, list);
}

Task<HttpResponse> Admin::buckets(std::string method, std::string name, std::string rest,
                                  std::string body) {
  if (!deps_.objects || !deps_.users) co_return not_started("the object store");
  ObjectStore& objects = *deps_.objects;
  Json json = parse_json(body);
  if (method == "GET" && name.empty()) {
    auto all = co_await objects.buckets(deadline());
    if (!all) co_return error_reply(all.error());
    Json list = Json::array();
    for (const Bucket& bucket : *all) list.push_back(to_json(bucket, deps_.users));
    co_return reply(200, list);
  }
  if (name.empty()) name = text_of(json, "name");
  Result<Bucket> bucket = fail(ErrorCode::kInvalid, "buckets take GET, POST and DELETE");
  if (method == "GET") {
    bucket = co_await objects.bucket(name, deadline(), Freshness::kNow);
    if (bucket && rest == "conflicts") co_return conflicts(*bucket);
  } else if (method == "POST") {
    // Whom it concerns: an access key of theirs, or their user id.
    std::string user = text_of(json, "user_id");
    if (auto key = deps_.users->find(text_of(json, "key"))) user = key->user_id;
    if (user.empty())
      co_return error_reply(ErrorCode::kInvalid,
                            "name an existing access key with --key (covey key list)");
    if (rest == "grants") {
      Grant grant{flag_of(json, "read"), flag_of(json, "write"), flag_of(json, "owner")};
      bucket = co_await objects.grant_bucket(name, user, grant, deadline());
    } else if (!valid_bucket_name(name)) {
      co_return error_reply(ErrorCode::kInvalid,
                            "a bucket's name has 3 to 63 of a-z, 0-9, '.' and '-', and begins and "
                            "ends with a letter or digit");
    } else {
      std::string wanted = text_of(json, "consistency");
      auto consistency = wanted.empty() ? Consistency::kStrong : consistency_named(wanted);
      if (!consistency)
        co_return error_reply(ErrorCode::kInvalid, "a bucket's consistency is strong or available");
      bucket = co_await objects.create_bucket(name, user, deps_.region, deadline(), *consistency);
    }
  } else if (method == "DELETE") {
    auto removed = co_await objects.delete_bucket(name, deadline());
    if (!removed) co_return bucket_error(name, removed.error());
    co_return reply(200, Json{{"name", name}});
  }
  if (!bucket) co_return bucket_error(name, bucket.error());
  co_return reply(200, to_json(*bucket, deps_.users));
}

}  // namespace covey
