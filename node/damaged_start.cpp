#include "node/damaged_start.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/core/log.h"
#include "gossip/ring/layout.h"
#include "node/identity/identity.h"
#include "node/identity/secrets.h"
#include "node/witness/claims.h"
#include "node/witness/rebirth.h"

namespace covey {
namespace {

constexpr Duration kAskTimeout = std::chrono::seconds(1);
constexpr Duration kAskAgain = std::chrono::milliseconds(500);
constexpr size_t kMembersMin = 3;  // of fewer, none can take the place of another
constexpr std::string_view kAdvice =
    "run `covey meta rebuild --cluster --replace` here, which makes the metadata again from the "
    "data directories, or see docs/operations.md, When metadata is lost";

}  // namespace

std::string member_file(const Config& config) { return config.meta_dir + "/members"; }

DamagedStart::DamagedStart(const Config& config, Runtime runtime, std::string why)
    : config_(config), runtime_(runtime), why_(std::move(why)) {}

DamagedStart::~DamagedStart() { CHECK(scope_.running() == 0); }

Status may_give_up_damaged(const Config& config, WallTime now, const std::string& why) {
  TRY(size_t before, damages_of_today(config, now));
  if (before < kDamagesPerDayMax) return {};
  return fail(ErrorCode::kIo,
              fmt::format("this node's metadata is damaged, and was {} times before within a day: "
                          "its disk or memory is failing. Replace it, then {}. ({})",
                          before, kAdvice, why));
}

Status DamagedStart::may_give_up() const {
  TRY_STATUS(may_give_up_damaged(config_, runtime_.clock.wall_now(), why_));
  if (members_.size() >= kMembersMin) return {};
  return fail(ErrorCode::kUnavailable,
              fmt::format("this node's metadata is damaged and no majority of other nodes could "
                          "refill it, so it does not start: {}. ({})",
                          kAdvice, why_));
}

Task<Result<bool>> DamagedStart::run() {
  CO_TRY(NodeIdentity identity, load_or_create_identity(config_.identity_file()));
  CO_TRY(SecretRing secrets, load_secrets(config_.secret_file));
  self_ = identity.id;
  auto members = load_members(member_file(config_));
  if (members) members_ = std::move(*members);
  CO_TRY_STATUS(may_give_up());
  log_error(
      "this node's metadata is damaged, so it does not vote: {}. It asks the other nodes "
      "whether they can refill it",
      why_);
  auto rpc = parse_listen(config_.listen_rpc);
  PeersOptions options{runtime_.loop, runtime_.clock, identity, secrets, *rpc};
  peers_ = make_grpc_peers(std::move(options));
  CO_TRY_STATUS(peers_->start());
  for (const KnownMember& member : members_)
    if (member.id != self_) peers_->set_address(member.id, member.rpc);
  const bool enough = co_await majority_votes();
  co_await scope_.join();
  co_await peers_->stop();
  if (enough) {
    Rebirth rebirth;
    rebirth.why = kDamagedWhy + why_;
    for (const KnownMember& member : members_)
      if (member.id != self_) rebirth.seeds.push_back(member.gossip);
    CO_TRY_STATUS(plan_rebirth(config_, rebirth));
    co_return true;
  }
  if (scope_.stop_requested()) co_return false;
  co_return fail(ErrorCode::kUnavailable,
                 fmt::format("this node's metadata is damaged, and {} of the {} other nodes answer "
                             "and vote, too few to refill it. Start the others, then this one. If "
                             "most nodes lost theirs, {}. ({})",
                             vote_.size(), members_.size() - 1, kAdvice, why_));
}

Task<bool> DamagedStart::majority_votes() {
  std::vector<NodeId> all;
  for (const KnownMember& member : members_) all.push_back(member.id);
  while (session_ == 0) session_ = runtime_.rng.next();
  const TimePoint until = runtime_.clock.after(kOthersWithin);
  while (runtime_.clock.now() < until && !scope_.stop_requested()) {
    vote_.clear();
    Scope round;
    for (const NodeId& member : all)
      if (member != self_) round.spawn(ask(member));
    co_await round.join();
    if (is_majority(all, vote_)) co_return true;
    (void)co_await scope_.sleep(runtime_.clock, kAskAgain);
  }
  co_return false;
}

// The claim of a start that has nothing: whoever remembers this node says that it forgot.
Task<void> DamagedStart::ask(NodeId member) {
  WitnessRequest check;
  check.ask = WitnessAsk::kCheck;
  check.claim.session = session_;
  PeerMessage request;
  request.head = encode(check);
  put_seal(request.head, {session_, 0});
  auto answer = co_await peers_->call(member, PeerService::kWitness, std::move(request),
                                      runtime_.clock.after(kAskTimeout));
  if (!answer || !take_seal(answer->head)) co_return;
  auto reply = decode_witness_reply(answer->head);
  if (reply && reply->cleared) vote_.push_back(member);
}

}  // namespace covey
