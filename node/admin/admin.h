// The admin API: JSON over HTTP. Commands reach it through a Unix socket in the metadata folder
// (mode 0600: root or the same user), so nothing is open by default. /metrics and /health also
// answer on the admin port when one is configured.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/async/runtime.h"
#include "base/core/level.h"
#include "gossip/ring/topology.h"
#include "node/admin/health.h"
#include "node/admin/json.h"
#include "proto/peers.h"
#include "s3gw/http/http.h"
#include "store/available/conflict_log.h"
#include "store/block/blocks.h"
#include "store/meta/snapshots.h"
#include "store/objects/objects.h"
#include "store/objects/users.h"
#include "store/sync/scrub.h"

namespace covey {

inline constexpr size_t kAdminBodyBytesMax = 64 * 1024;
inline constexpr std::chrono::seconds kInvitationMax = std::chrono::hours(24 * 30);
inline constexpr const char* kCoveyVersion = "0.1.0";

// Whatever is null has not started yet; requests for it get 503.
struct AdminDeps {
  Runtime runtime;
  Peers* peers = nullptr;
  const Topology* topology = nullptr;
  ObjectStore* objects = nullptr;
  Users* users = nullptr;
  const Blocks* blocks = nullptr;
  Scrub* scrub = nullptr;
  const BlockRepair* block_repair = nullptr;
  const ConflictLog* conflicts = nullptr;
  Snapshots* snapshots = nullptr;
  Verifier* verifier = nullptr;
  std::function<std::vector<NodeView>()> nodes;     // what gossip knows
  std::function<std::vector<std::string>()> notes;  // what else to tell in status
  // A token for `covey join`. Errors: kUnavailable (the secret is being rotated).
  std::function<Result<std::string>(std::chrono::seconds valid)> invitation;
  std::function<Json()> secret;                    // how the rotation of the secret stands
  std::function<Task<Status>(bool force)> rotate;  // begins or forces one
  // Layout: "plan", "apply" and "revert", with {"remove": [...], "add": [...]}; "check" with
  // {"node": name}.
  std::function<Task<Result<Json>>(std::string verb, Json body)> layout;
  std::function<Json()> change;             // the layout change under way; null: none
  std::function<std::string()> partitions;  // what this node says of its partitions, for "check"
  std::function<size_t()> leaving;          // partitions to be handed over and purged
  // Partitions of this node that are not known to be up to date, and rows known to be lacking.
  struct Behind {
    uint64_t partitions = 0, rows = 0;
    std::string why;  // the last attempt failed; empty: none did
  };
  std::function<Behind()> behind;
  std::function<std::map<std::string, double>()> numbers;  // more metrics: name -> value
  std::function<Levels()> levels;
  std::string region;
};

class Admin final : public HttpHandler, public PeerHandler {
 public:
  explicit Admin(AdminDeps deps) : deps_(std::move(deps)) {}
  // Parts are set as they start. Loop thread only.
  AdminDeps& deps() { return deps_; }

  Task<HttpResponse> handle(HttpRequest& request) override;
  HttpResponse refuse(int status, std::string_view why) override;
  // PeerService::kAdmin: another node collects its status.
  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override;

  // Only what may be open to others: /metrics and /health.
  class Public final : public HttpHandler {
   public:
    explicit Public(Admin& admin) : admin_(admin) {}
    Task<HttpResponse> handle(HttpRequest& request) override;
    HttpResponse refuse(int status, std::string_view why) override {
      return admin_.refuse(status, why);
    }

   private:
    Admin& admin_;
  };

 private:
  friend class Public;
  Task<HttpResponse> status();
  Task<HttpResponse> keys(std::string method, std::string id, std::string body);
  Task<HttpResponse> buckets(std::string method, std::string name, std::string rest,
                             std::string body);
  HttpResponse conflicts(const Bucket& bucket) const;
  Task<HttpResponse> layout(std::string method, std::string verb, std::string body);
  Task<HttpResponse> nodes(std::string method, std::string name, std::string verb);
  Task<HttpResponse> change_layout(std::string verb, Json body);
  Task<HttpResponse> secret(std::string method, std::string body);
  HttpResponse invite(std::string method, std::string body) const;
  HttpResponse show_layout() const;
  HttpResponse snapshots(std::string method);
  HttpResponse repair(std::string method, std::string action);
  HttpResponse metrics() const;
  HttpResponse health() const;
  // Gossip's view completed by what each reachable node says of itself.
  Task<std::vector<NodeView>> collect_nodes();
  std::string own_numbers() const;
  TimePoint deadline() const;

  AdminDeps deps_;
};

}  // namespace covey
