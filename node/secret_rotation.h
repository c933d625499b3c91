// SecretRotation: takes a cluster from one secret to the next without a pause. Every node decides
// for itself from what the members say of themselves; nobody leads, nothing else is stored than
// each node's ring of secrets (node/identity/secrets.h):
//
// - One member makes the new secret, stages it, and hands it to the others over connections on
//   which each has proved its own key: a stranger who knows the old secret gets nothing. Who is
//   staged hands it on to who is not.
// - A node that sees *every* member staged (or further) makes the new one its own. A node that was
//   staged and finds others ahead follows, also when it learns it from gossip alone.
// - A node that sees every member use the new one, and no access key sealed under the old one, lets
//   go of the old one.
//
// So a member that is away holds the rotation up, in a state in which it can come back as if
// nothing had happened. `force` goes on without those that are not up; one that was not staged by
// then must be given the new secret by hand.
//
// Two rotations begun at the same time: a node that is only staged changes over to the one whose id
// is lower, never back; whoever begins one is staged itself first. So when all members have been
// seen staged with one secret, no other is left. New nodes are not taken into the layout meanwhile.
//
// Loop thread only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/async/runtime.h"
#include "gossip/ring/topology.h"
#include "node/identity/secrets.h"
#include "proto/peers.h"
#include "store/objects/key_users.h"

namespace covey {

class SecretRotation final : public PeerHandler {
 public:
  struct Deps {
    Runtime runtime;
    Peers& peers;
    const Topology& topology;
    KeyUsers& users;
    std::string secret_file;
    // Everything that uses a secret takes these. Called on the loop, after they are on disk.
    std::function<Status(const SecretRing&)> use;
    // Whether its connections to others have been made anew since.
    std::function<bool()> renewed;
  };
  // Everything handed in outlives it. Registers PeerService::kSecrets.
  SecretRotation(Deps deps, SecretRing ring);

  struct Progress {
    SecretRing::Phase phase = SecretRing::Phase::kSettled;
    bool forced = false;
    std::vector<std::string> waits;  // per member that is waited for: name and why
    bool away = false;               // some of them are not up
    std::string id;                  // of the secret in use, hexadecimal
  };
  Progress progress() const;
  // Begins a rotation, or looks at the one under way. `force`: it shall not wait for members that
  // are not up. Errors: kUnavailable (no layout yet, or it is changing), kDenied, kIo (the file).
  Task<Status> rotate(bool force);
  bool under_way() const { return !ring_.settled(); }
  const SecretRing& ring() const { return ring_; }
  // Somebody seals gossip with this accepted secret that is not in use here.
  void in_use_elsewhere(const std::string& raw);

  // Until the scope stops.
  Task<void> run(Scope& scope);
  Task<Result<PeerMessage>> serve(NodeId from, PeerMessage request) override;

 private:
  struct State {
    SecretRing::Phase phase = SecretRing::Phase::kSettled;
    bool forced = false;
    std::string use, other;  // ids
    uint64_t to_reseal = 0;
    bool renewed = false;  // its connections
  };
  struct Member {
    NodeId id;
    std::string name;
    std::optional<State> state;
    std::string error;
  };

  Task<void> step();
  Task<void> spread(std::vector<Member>& members);
  Task<void> finish(std::vector<Member>& members);
  Task<std::vector<Member>> ask_members() const;
  Task<void> ask(Member& member, std::string request) const;
  Task<Status> change(SecretRing from, SecretRing to);
  Task<Status> take(std::string_view from_id, ClusterSecret next);
  bool is_member(const NodeId& node) const;
  bool skips(const Member& member) const;
  State own_state() const;
  std::string stage_request() const;

  Deps deps_;
  SecretRing ring_;
  std::vector<std::string> waits_;
  bool away_ = false;
  bool changing_ = false;     // the file is being written
  bool next_in_use_ = false;  // by somebody, as gossip shows
  std::optional<TimePoint> reseal_at_;
};

}  // namespace covey
