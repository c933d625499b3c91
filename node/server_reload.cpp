// Server: what changes while it runs. SIGHUP takes over log_level, memory_cap, seeds and the TLS
// certificate; everything else needs a restart.
#include <algorithm>
#include <array>

#include "base/core/log.h"
#include "node/damaged_start.h"
#include "node/known_peers.h"
#include "node/server.h"

namespace covey {
namespace {

constexpr Duration kResolveAgain = std::chrono::seconds(15);
constexpr Duration kRememberAgain = std::chrono::seconds(15);  // what could not be kept
constexpr std::array<std::string_view, 5> kReloaded = {"log_level", "memory_cap", "seeds",
                                                       "tls_certificate", "tls_key"};

struct Seeds {
  std::vector<Address> addresses;
  std::string unresolved;  // why, for each that has none
};

// Blocks as long as the resolver does.
Seeds resolve_seeds(const std::vector<std::string>& names) {
  Seeds seeds;
  for (const std::string& name : names) {
    auto address = resolve_address(name);
    if (address)
      seeds.addresses.push_back(*address);
    else
      seeds.unresolved += (seeds.unresolved.empty() ? "" : "; ") + address.error().message;
  }
  return seeds;
}

}  // namespace

// A box may start before its resolver does: what does not resolve is tried again.
Task<void> Server::find_seeds(uint64_t change) {
  bool told = false;
  while (change == seeds_change_ && !scope_.stop_requested()) {
    auto resolve = [names = config_.seeds] { return resolve_seeds(names); };
    Seeds seeds = co_await runtime_.cpu.run(std::move(resolve));
    if (change != seeds_change_ || scope_.stop_requested()) co_return;
    seeds.addresses.insert(seeds.addresses.end(), known_peers_.begin(), known_peers_.end());
    gossip_.gossip().set_seeds(std::move(seeds.addresses));
    if (seeds.unresolved.empty()) co_return;
    if (!told) log_warn("{}; trying again every 15 s", seeds.unresolved);
    told = true;
    bool go_on = co_await scope_.sleep(loop_, kResolveAgain);
    if (!go_on) co_return;
  }
}

Task<void> Server::remember_others() {
  while (!scope_.stop_requested()) {
    others_changed_.reset();
    co_await loop_.yield();  // a layout that is adopted shows in the next turn
    co_await remember_peers();
    co_await remember_members();
    co_await others_changed_.wait_until(loop_, loop_.after(kRememberAgain));
  }
}

Task<void> Server::remember_peers() {
  std::vector<Address> peers;
  for (const MemberView& member : *gossip_.members())
    if (member.id != identity_.id && member.state != MemberState::kLeft)
      peers.push_back(member.meta.gossip);
  bool as_known = std::all_of(peers.begin(), peers.end(), [this](const Address& peer) {
    return std::find(known_peers_.begin(), known_peers_.end(), peer) != known_peers_.end();
  });
  if (as_known) co_return;
  for (const Address& old : known_peers_)  // not seen since this node started
    if (peers.size() < kKnownPeersMax && std::find(peers.begin(), peers.end(), old) == peers.end())
      peers.push_back(old);
  Status saved = co_await save_known_peers(*kv_, peers);
  if (saved) known_peers_ = std::move(peers);
  if (!saved) log_warn("the others' addresses are not kept: {}", to_string(saved.error()));
}

// For a start at which the metadata turns out to be damaged (damaged_start.h).
Task<void> Server::remember_members() {
  std::vector<KnownMember> members;
  auto layout = cluster_->layout();
  auto views = gossip_.members();
  for (const MemberView& view : *views) {
    if (!layout || !layout->current.find(view.id)) continue;
    Address rpc = view.meta.rpc, gossip = view.meta.gossip;
    if (unspecified(rpc.host)) rpc.host = gossip.host;
    members.push_back({view.id, rpc, gossip});
  }
  // One that is away is not seen after a start, but is a member all the same.
  bool all = layout && members.size() == layout->current.members.size();
  if (!all || members == known_members_) co_return;
  std::string path = member_file(config_);
  auto save = [path, members] { return save_members(path, members); };
  Status kept = co_await runtime_.cpu.run(std::move(save));
  if (kept) known_members_ = std::move(members);
  if (!kept) log_warn("the members are not kept: {}", kept.error().message);
}

void Server::reload() {
  auto fresh = load_config(config_.file);
  if (!fresh) {
    log_error("the settings were not reloaded, nothing changes: {}", fresh.error().message);
    return;
  }
  auto tls = load_tls(*fresh);
  if (!tls) {
    log_error("the settings were not reloaded, nothing changes: {}", tls.error().message);
    return;
  }
  std::string waiting;
  for (std::string_view name : changed_settings(config_, *fresh))
    if (std::find(kReloaded.begin(), kReloaded.end(), name) == kReloaded.end())
      waiting.append(waiting.empty() ? "" : ", ").append(name);
  set_log_level(fresh->log_level);
  if (guard_) guard_->set_cap(fresh->memory_cap_bytes);
  storage_->memory().set_cap(fresh->memory_cap_bytes);
  // A socket that speaks TLS never falls back to plain while it is open, nor the other way round.
  bool switches = config_.tls_certificate.empty() != fresh->tls_certificate.empty();
  if (switches) waiting.append(waiting.empty() ? "" : ", ").append("tls_certificate");
  if (s3_http_ && !switches) s3_http_->set_tls(std::move(*tls));
  if (config_.seeds != fresh->seeds && !scope_.stop_requested()) {
    config_.seeds = fresh->seeds;
    scope_.spawn(find_seeds(++seeds_change_));
  }
  config_.log_level = fresh->log_level;
  config_.memory_cap_bytes = fresh->memory_cap_bytes;
  if (!switches) config_.tls_certificate = fresh->tls_certificate, config_.tls_key = fresh->tls_key;
  log_info("reloaded log_level, memory_cap, seeds and the TLS certificate from {}{}", config_.file,
           waiting.empty() ? std::string() : "; a restart is needed for " + waiting);
}

}  // namespace covey
