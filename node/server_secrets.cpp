// Server: the cluster's secrets while they are rotated, and invitations.
#include <unistd.h>

#include "base/core/log.h"
#include "node/identity/invitation.h"
#include "node/server.h"

namespace covey {

void Server::open_rotation() {
  SecretRotation::Deps deps{runtime_, *peers_, *cluster_, storage_->users(), config_.secret_file,
                            {},       {}};
  deps.use = [this](const SecretRing& secrets) { return use_secrets(secrets); };
  deps.renewed = [this] { return peers_->renewed(); };
  rotation_ = std::make_unique<SecretRotation>(std::move(deps), secrets_);
}

Status Server::use_secrets(const SecretRing& secrets) {
  secrets_ = secrets;
  keep_identity();
  std::vector<std::string> raw = raw_secrets(secrets);
  storage_->users().use_secrets(raw);
  gossip_.gossip().set_secrets(std::move(raw));
  return peers_->set_secrets(secrets);
}

// Gossip addresses of nodes that a new box may turn to, this one first.
std::vector<std::string> Server::seeds_to_tell() const {
  std::vector<std::string> seeds;
  for (const MemberView& member : *gossip_.members()) {
    if (member.state == MemberState::kLeft) continue;
    bool self = member.id == identity_.id;
    Address address = member.meta.gossip;
    if (unspecified(address.host)) {
      char host[256] = "";
      if (!self || ::gethostname(host, sizeof host - 1) != 0) continue;
      address.host = host;
    }
    seeds.insert(self ? seeds.begin() : seeds.end(), address.str());
  }
  if (seeds.size() > kInvitationSeedsMax) seeds.resize(kInvitationSeedsMax);
  return seeds;
}

Result<std::string> Server::invitation(std::chrono::seconds valid) const {
  if (secrets_.phase == SecretRing::Phase::kStaged)
    return fail(ErrorCode::kUnavailable,
                "the cluster's secret is being rotated: invite when that is done (covey status)");
  WallTime expires = loop_.wall_now();
  expires.ms += std::chrono::duration_cast<std::chrono::milliseconds>(valid).count();
  return make_invitation(secrets_.use, expires, seeds_to_tell());
}

Json Server::rotation_json() const {
  SecretRotation::Progress progress = rotation_->progress();
  Json json;
  json["rotating"] = progress.phase != SecretRing::Phase::kSettled;
  json["phase"] = progress.phase == SecretRing::Phase::kSettled  ? "settled"
                  : progress.phase == SecretRing::Phase::kStaged ? "staged"
                                                                 : "active";
  json["forced"] = progress.forced;
  json["waits"] = progress.waits;
  json["away"] = progress.away;
  json["secret_id"] = progress.id;
  // They are told nothing, so they will have to be invited again.
  json["not_members"] = Json::array();
  auto layout = cluster_->layout();
  for (const MemberView& node : *gossip_.members()) {
    bool member =
        layout && (layout->current.find(node.id) || (layout->next && layout->next->find(node.id)));
    if (!member && node.state <= MemberState::kSuspect)
      json["not_members"].push_back(node.meta.name);
  }
  return json;
}

std::string Server::rotation_line() const {
  SecretRotation::Progress progress = rotation_->progress();
  if (progress.phase == SecretRing::Phase::kSettled) return {};
  std::string names;
  for (const std::string& name : progress.waits) names += (names.empty() ? "" : ", ") + name;
  return "secret rotation: " + (names.empty() ? "under way" : "waiting for " + names);
}

void Server::answer_stranger(const Address& from, const std::string& datagram) {
  if (scope_.stop_requested()) return;
  std::string answer = answer_invitation(secrets_, datagram, loop_.wall_now(), seeds_to_tell());
  if (answer.empty()) return;
  bool welcome = static_cast<uint8_t>(answer.front()) == kWelcomeVersion;
  log_info("an invitation was {} from {}", welcome ? "used" : "refused that came", from.str());
  gossip_.gossip().send_unsealed(from, std::move(answer));
}

}  // namespace covey
