#include "node/layout_admin.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/core/codec.h"
#include "node/cli/commands.h"

namespace covey {
namespace {

constexpr Duration kCheckWithin = std::chrono::seconds(2);
constexpr uint64_t kHealthPartitionsMax = 65536;

std::vector<std::string> names_of(const Json& body, const char* field) {
  std::vector<std::string> names;
  if (!body.is_object() || !body.contains(field) || !body[field].is_array()) return names;
  for (const Json& name : body[field])
    if (name.is_string()) names.push_back(name.get<std::string>());
  return names;
}

std::string human_left(uint64_t ms) {
  uint64_t seconds = ms / 1000 + 1;
  if (seconds < 100) return fmt::format("about {} s", seconds);
  if (seconds < 6000) return fmt::format("about {} min", seconds / 60 + 1);
  return fmt::format("about {:.1f} h", static_cast<double>(seconds) / 3600);
}

std::string encode(const PartitionHealth& health) {
  std::string out;
  Writer w(out);
  w.varint(health.copies_owed);
  w.varint(health.behind);
  w.varint(health.verified_ago.size());
  for (uint64_t age : health.verified_ago) w.varint(age);
  return out;
}

Result<PartitionHealth> decode_health(std::string_view bytes) {
  Reader r(bytes);
  PartitionHealth health;
  health.copies_owed = r.varint();
  health.behind = r.varint();
  uint64_t count = r.varint();
  for (uint64_t i = 0; i < count && i < kHealthPartitionsMax && r.ok(); ++i)
    health.verified_ago.push_back(r.varint());
  if (!r.done()) return fail(ErrorCode::kInvalid, "a malformed answer about partitions");
  return health;
}

const Member* find(const LayoutState& state, const std::string& name) {
  for (const Layout* layout : {&state.current, state.next ? &*state.next : &state.current})
    for (const Member& member : layout->members)
      if (member.name == name || (name.size() >= 4 && member.id.hex().starts_with(name)))
        return &member;
  return nullptr;
}

// What would be left of each partition without the node.
struct Without {
  uint32_t held = 0;         // partitions it holds
  uint32_t unavailable = 0;  // without a quorum then
  uint32_t no_spare = 0;     // one more failure away from that
  uint32_t unverified = 0;   // with a copy elsewhere that was not compared since its node started
  uint64_t oldest_s = 0;     // the longest time since another copy was compared
};

}  // namespace

Task<Result<Json>> LayoutAdmin::handle(std::string verb, Json body) {
  if (verb == "check") co_return co_await check(text_of(body, "node"));
  Json done;
  Cluster::Wish wish{names_of(body, "remove"), names_of(body, "add")};
  if (verb == "plan") co_return co_await plan(std::move(wish));
  if (verb == "apply") {
    CO_TRY_STATUS(co_await cluster_.apply(std::move(wish)));
    done["started"] = true;
    co_return done;
  }
  if (verb != "revert") co_return fail(ErrorCode::kInvalid, "plan, apply, revert or check");
  CO_TRY_STATUS(co_await cluster_.revert());
  done["taken_back"] = true;
  co_return done;
}

Task<Result<Json>> LayoutAdmin::plan(Cluster::Wish wish) {
  CO_TRY(Cluster::Plan plan, co_await cluster_.plan(std::move(wish)));
  Json json;
  json["what"] = plan.what;
  json["problems"] = plan.problems;
  json["copies"] = plan.next.copies;
  json["partition_copies_to_move"] = plan.moves;
  json["bytes_to_move"] = plan.bytes;
  json["nodes"] = Json::array();
  for (const Cluster::Plan::Node& node : plan.nodes)
    json["nodes"].push_back({{"name", node.name},
                             {"partitions_in", node.in},
                             {"partitions_out", node.out},
                             {"bytes_in", node.in_bytes},
                             {"bytes_out", node.out_bytes}});
  co_return json;
}

Json LayoutAdmin::change() const {
  auto state = cluster_.layout();
  if (!state || !state->joint()) return {};
  Json json;
  json["epoch"] = state->epoch;
  const ChangeView* view = cluster_.change();
  if (!view) return json;
  json["partition_copies_to_move"] = view->moves();
  json["partition_copies_moved"] = view->moves_done();
  json["bytes_to_move"] = view->bytes();
  json["bytes_moved"] = view->bytes_done();
  json["partitions_to_settle"] = view->to_settle;
  json["partitions_settled"] = view->settled;
  json["elapsed_ms"] = view->elapsed_ms;
  json["left_ms"] = view->left_ms;
  json["waits"] = view->waits;
  json["nodes"] = Json::array();
  for (const ChangeView::Node& node : view->nodes) {
    const Member* member = state->next->find(node.id);
    json["nodes"].push_back({{"name", member ? member->name : node.id.hex()},
                             {"away", node.away},
                             {"partitions", node.moves},
                             {"partitions_done", node.moves_done},
                             {"bytes", node.bytes},
                             {"bytes_done", node.bytes_done},
                             {"error", node.error}});
  }
  return json;
}

std::string LayoutAdmin::change_line() const {
  auto state = cluster_.layout();
  if (!state || !state->joint()) return {};
  std::string line = "the layout is changing";
  const ChangeView* view = cluster_.change();
  if (!view) return line;
  line += fmt::format(": {} of {} partition copies moved ({} of {}), {} of {} partitions settled",
                      view->moves_done(), view->moves(), human_size(view->bytes_done()),
                      human_size(view->bytes()), view->settled, view->to_settle);
  if (view->left_ms > 0) line += ", " + human_left(view->left_ms) + " left";
  if (!view->waits.empty()) line += "; " + view->waits;
  for (const ChangeView::Node& node : view->nodes) {
    const Member* member = state->next->find(node.id);
    if (member && !node.error.empty() && node.moves_done < node.moves)
      line += fmt::format("; {}: {}", member->name, node.error);
  }
  return line;
}

std::string LayoutAdmin::partitions() const { return encode(health_()); }

Task<void> LayoutAdmin::ask(NodeId node, std::vector<Asked>& answers) {
  if (node == peers_.self()) {
    answers.push_back({node, health_()});
    co_return;
  }
  PeerMessage request;
  request.head = "partitions";
  auto answer = co_await peers_.call(node, PeerService::kAdmin, std::move(request),
                                     runtime_.clock.after(kCheckWithin));
  if (answer)
    answers.push_back({node, decode_health(answer->head)});
  else
    answers.push_back({node, tl::unexpected<Error>(answer.error())});
}

namespace {

Without without(const LayoutState& state, const NodeId& node,
                const std::map<NodeId, PartitionHealth>& up) {
  Without out;
  for (PartitionId p = 0; p < state.current.partitions(); ++p) {
    ReplicaSets sets = replica_sets(state, p);
    std::vector<NodeId> left;
    for (const NodeId& replica : sets.all())
      if (replica != node && up.contains(replica)) left.push_back(replica);
    if (!has_node(sets.all(), node)) continue;
    ++out.held;
    if (!sets.quorum(left)) ++out.unavailable;
    bool spare = !left.empty();
    for (size_t i = 0; i < left.size() && spare; ++i) {
      std::vector<NodeId> fewer = left;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
      spare = sets.quorum(fewer);
    }
    if (!spare) ++out.no_spare;
    bool verified = true;
    for (const NodeId& replica : left) {
      const auto& ages = up.at(replica).verified_ago;
      uint64_t age = p < ages.size() ? ages[p] : 0;
      if (age == 0) verified = false;
      out.oldest_s = std::max(out.oldest_s, age == 0 ? 0 : age - 1);
    }
    if (!verified) ++out.unverified;
  }
  return out;
}

}  // namespace

// Is it safe to unplug this box?
Task<Result<Json>> LayoutAdmin::check(std::string name) {
  auto layout = cluster_.layout();
  if (!layout) co_return fail(ErrorCode::kUnavailable, "this node has not joined a cluster yet");
  const LayoutState state = *layout;
  const Member* member = find(state, name);
  std::vector<Asked> answers;
  Scope scope;
  for (const Cluster::MemberStatus& one : cluster_.members())
    if (cluster_.alive(one.member.id)) scope.spawn(ask(one.member.id, answers));
  co_await scope.join();
  std::map<NodeId, PartitionHealth> up;
  uint64_t owed = 0, behind = 0;
  for (Asked& one : answers) {
    if (!one.health) continue;
    if (!member || one.node != member->id) behind += one.health->behind;
    owed += one.health->copies_owed;
    up[one.node] = std::move(*one.health);
  }
  Json json;
  json["node"] = name;
  if (!member) {
    json["safe"] = true;
    json["reasons"] = {name + " is no member and holds no data that counts"};
    co_return json;
  }
  Without left = without(state, member->id, up);
  std::vector<std::string> reasons;
  if (left.unavailable > 0)
    reasons.push_back(
        fmt::format("{} of its {} partitions would have no quorum: no reads or writes",
                    left.unavailable, left.held));
  if (owed > 0)
    reasons.push_back(fmt::format("{} copies of blocks are still to be written somewhere", owed));
  if (behind > 0)
    reasons.push_back(
        fmt::format("the others still compare {} partitions, since one of them was away", behind));
  if (state.joint()) reasons.push_back(change_line());
  json["safe"] = reasons.empty();
  json["reasons"] = reasons;
  json["partitions"] = left.held;
  json["without_quorum"] = left.unavailable;
  json["one_copy_short"] = left.held;
  json["no_further_failure"] = left.no_spare;
  json["unverified"] = left.unverified;
  json["verified_within_s"] = left.oldest_s;
  json["copies_owed"] = owed;
  json["changing"] = state.joint();
  co_return json;
}

}  // namespace covey
