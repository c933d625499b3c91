// Server: one node. start() builds it from the bottom up, stop() takes it down from the top.
#pragma once

#include <memory>
#include <optional>

#include "base/async/runtime.h"
#include "node/admin/admin.h"
#include "node/cluster/cluster.h"
#include "node/cluster/ready_gate.h"
#include "node/config/config.h"
#include "node/gossip_thread.h"
#include "node/grpc/grpc_peers.h"
#include "node/layout_admin.h"
#include "node/member_file.h"
#include "node/memory_guard.h"
#include "node/secret_rotation.h"
#include "node/storage.h"
#include "node/witness/rebirth.h"
#include "node/witness/witness.h"
#include "s3gw/http/server.h"
#include "s3gw/ops/gateway.h"
#include "store/meta/snapshots.h"

namespace covey {

inline constexpr Duration kDrainWithin = std::chrono::seconds(10);

class Server {
 public:
  // Everything outlives it.
  Server(Config config, UvLoop& loop, Pool& cpu, Disk& disk, Rng& rng);
  ~Server();

  // Completes when the node answers commands; it serves S3 once it has a
  // layout. After an error only stop() may follow.
  Task<Status> start();
  // Lets requests under way finish for a while, then ends everything. Idempotent.
  Task<void> stop();
  // SIGHUP: takes over from the file what can change while it runs (server_reload.cpp lists it) and
  // logs what needs a restart. Settings with a mistake change nothing.
  void reload();
  // After stop(): this node's disk forgot, and it is to be started again, under a new id.
  bool reborn() const { return reborn_; }
  // After a start() that failed: this node's metadata is damaged (says how).
  const std::optional<std::string>& damaged() const { return damaged_; }

 private:
  Task<Status> open_folders();
  Task<Status> open_identity();
  Task<Status> open_metadata();
  void open_witness();
  void give_up_identity(const std::string& why);
  bool is_own(const std::string& data_dir) const;
  void keep_identity() const;
  Status start_gossip();
  Task<Status> open_cluster();
  Status start_admin();
  // Serves S3 as soon as this node has a layout.
  Task<void> serve_when_ready();
  Task<void> wait_for_peers();
  Status serve_s3();
  Task<void> watch_space();
  // Tells gossip the seeds' addresses; names that do not resolve yet are tried again.
  Task<void> find_seeds(uint64_t change);
  // Keeps who the others are for the next start, as soon as it is known.
  Task<void> remember_others();
  Task<void> remember_peers();
  Task<void> remember_members();
  Result<std::shared_ptr<TlsContext>> load_tls(const Config& config) const;

  MemberMeta gossip_meta() const;
  Task<void> answer_fallback(NodeId node, uint32_t sequence);
  std::vector<NodeView> node_views() const;
  AdminDeps::Behind behind() const;
  std::vector<std::string> notes() const;
  PartitionHealth partition_health() const;
  // server_secrets.cpp: the cluster's secrets and invitations.
  void open_rotation();
  Status use_secrets(const SecretRing& secrets);
  std::vector<std::string> seeds_to_tell() const;
  Result<std::string> invitation(std::chrono::seconds valid) const;
  Json rotation_json() const;
  std::string rotation_line() const;  // for `covey status`; empty: none is under way
  void answer_stranger(const Address& from, const std::string& datagram);
  Task<Status> measure_space();

  Config config_;
  UvLoop& loop_;
  Runtime runtime_;
  NodeIdentity identity_;
  SecretRing secrets_;
  bool fresh_identity_ = false;  // made at this start
  bool reborn_ = false;
  std::optional<std::string> damaged_;
  std::string failing_;  // why it does not give up its identity once more
  std::optional<Reborn> last_rebirth_;
  uint64_t boot_ = 0, recovered_ = 0;
  uint64_t seeds_change_ = 0;         // counts reloads of the seeds
  Event others_changed_;              // gossip or the layout shows something new
  std::vector<Address> known_peers_;  // as they are kept
  std::vector<KnownMember> known_members_;

  uint64_t capacity_bytes_ = 0, free_bytes_ = 0;
  int lock_fd_ = -1;

  // In the order of their making; destroyed the other way round.
  std::unique_ptr<Kv> kv_;
  std::unique_ptr<Verifier> verifier_;
  std::unique_ptr<Snapshots> snapshots_;
  std::unique_ptr<GrpcPeers> peers_;
  std::unique_ptr<Witness> witness_;  // what everybody calls others through
  GossipThread gossip_;
  std::unique_ptr<GossipMembership> membership_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<SecretRotation> rotation_;
  std::unique_ptr<ReadyGate> register_gate_, control_gate_, block_gate_;
  std::unique_ptr<LayoutAdmin> layout_admin_;
  std::unique_ptr<Admin> admin_;
  std::unique_ptr<Admin::Public> public_admin_;
  std::unique_ptr<Gateway> gateway_;
  std::unique_ptr<MemoryGuard> guard_;
  std::unique_ptr<HttpServer> s3_http_, admin_http_, metrics_http_;
  Scope scope_, snapshot_scope_;
  bool peers_started_ = false, cluster_started_ = false;
};

// Runs a node until SIGTERM or SIGINT; the exit code of `covey serve`.
int serve_node(const Config& config);

}  // namespace covey
