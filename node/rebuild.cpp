#include "node/rebuild.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "base/core/codec.h"
#include "node/identity/identity.h"
#include "node/identity/secrets.h"
#include "node/known_peers.h"
#include "node/metadata_place.h"
#include "store/meta/lmdb_target.h"
#include "store/meta/lmdb_thread.h"
#include "store/meta/node_rows.h"
#include "store/meta/restore.h"

namespace covey {
namespace {

namespace fs = std::filesystem;

constexpr size_t kRowsAtOnce = 500;
constexpr size_t kAsideMax = 1000;  // folders of things moved aside
// Beyond whatever a store that lost the end of its journal may have used.
constexpr uint64_t kSequenceLeap = uint64_t{1} << 32;
constexpr uint32_t kStartsLeap = 1 << 20;
constexpr TableId kTablesOfBlocks[] = {TableId::kBlockIndex, TableId::kBlockDebts,
                                       TableId::kSegments, TableId::kRefused,
                                       TableId::kBlockRepairs};

// A store on LMDB of its own folder.
struct LocalStore {
  explicit LocalStore(Loop& loop) : thread(loop) {}
  Result<FoldTarget*> fresh(const std::string& dir) {
    lmdb.reset();
    std::error_code error;
    fs::remove_all(dir, error);
    TRY(lmdb, Lmdb::open(dir + "/meta.mdb", LmdbOptions(), thread));
    return static_cast<FoldTarget*>(lmdb.get());
  }
  // Everything is in LMDB, and found to be sound.
  Task<Status> finish() {
    CO_TRY_STATUS(co_await kv->fold());
    co_await kv->close();
    kv.reset();
    Status sound = lmdb->verify();
    lmdb.reset();
    co_return sound;
  }

  LmdbThread thread;
  std::unique_ptr<Lmdb> lmdb;
  std::unique_ptr<Kv> kv;
};

Status moved(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error)
    return fail(ErrorCode::kIo, fmt::format("cannot move {} to {}: {}", from, to, error.message()));
  return {};
}

Task<Status> keep(Kv& to, WriteBatch batch) {
  WriteBatch again = batch;
  Status kept = to.write_unlogged(std::move(batch));
  if (!kept.is(ErrorCode::kOverloaded)) co_return kept;
  CO_TRY_STATUS(co_await to.fold());
  co_return to.write_unlogged(std::move(again));
}

// The rows in [begin, end).
Task<Status> copy_rows(Kv& from, Kv& to, std::string begin, std::string end) {
  for (bool more = true; more;) {
    WriteBatch batch;
    {
      auto rows = from.scan(begin, end);
      for (; rows->valid() && batch.ops().size() < kRowsAtOnce; rows->next())
        batch.put(std::string(rows->key()), std::string(rows->value()));
      CO_TRY_STATUS(rows->status());
    }
    more = !batch.empty();
    if (!more) break;
    begin = batch.ops().back().key + '\0';
    CO_TRY_STATUS(co_await keep(to, std::move(batch)));
  }
  co_return Status();
}

std::string table_key(TableId table, int after = 0) {
  return std::string(1, static_cast<char>(static_cast<int>(table) + after));
}

// What holds for a node whatever its id: where its blocks are, which were given up, the others'
// addresses. Rows of registers would be votes of a node that never cast them.
Task<Status> copy_what_a_new_id_keeps(Kv& from, Kv& to) {
  for (TableId table : kTablesOfBlocks) {
    CO_TRY_STATUS(co_await copy_rows(from, to, table_key(table), table_key(table, 1)));
  }
  std::string peers = node_row_key(kPeersRow);
  std::string end = peers + '\0';
  co_return co_await copy_rows(from, to, std::move(peers), std::move(end));
}

Task<Status> copy_all(Kv& from, Kv& to) {
  CO_TRY_STATUS(co_await copy_rows(from, to, std::string(1, '\0'), std::string(1, '\xff')));
  WriteBatch leap;
  CO_TRY(auto boot, from.get(node_row_key(kRegisterBootRow)));
  CO_TRY(auto starts, from.get(node_row_key(kStartsRow)));
  if (boot) {
    std::string value;
    Writer(value).u32(Reader(boot->bytes).u32() + kStartsLeap);
    leap.put(node_row_key(kRegisterBootRow), std::move(value));
  }
  if (starts) {
    std::string value;
    Writer(value).u64(Reader(starts->bytes).u64() + kStartsLeap);
    leap.put(node_row_key(kStartsRow), std::move(value));
  }
  co_return co_await to.write(std::move(leap));
}

}  // namespace

Rebuild::Rebuild(Runtime runtime, const Config& config, RebuildWish wish)
    : runtime_(runtime), config_(config), wish_(wish) {}

Status Rebuild::check_place() const {
  if (wish_.replace || !fs::exists(config_.meta_dir + "/meta.mdb")) return {};
  return fail(ErrorCode::kAlreadyExists,
              fmt::format("{} holds metadata; if it is damaged, add --replace: it is moved aside",
                          config_.meta_dir));
}

// Into a folder `where`.N that is not there yet; what is missing is passed over.
Status Rebuild::move_aside(const std::vector<std::string>& paths, const std::string& where) {
  std::string to;
  for (size_t n = 1; n < kAsideMax && (to.empty() || fs::exists(to)); ++n)
    to = fmt::format("{}.{}", where, n);
  bool any = false;
  for (const std::string& path : paths) {
    if (!fs::exists(path)) continue;
    std::error_code error;
    fs::create_directories(to, error);
    if (error) return fail(ErrorCode::kIo, "cannot make " + to + ": " + error.message());
    TRY_STATUS(moved(path, to + "/" + fs::path(path).filename().string()));
    any = true;
  }
  if (any) story_.push_back(fmt::format("what was there is in {}; remove it when all is well", to));
  return {};
}

Status Rebuild::install(const std::string& from) {
  std::error_code error;
  fs::remove(config_.meta_dir + "/meta.mdb-lock", error);
  TRY_STATUS(moved(from + "/meta.mdb", config_.meta_dir + "/meta.mdb"));
  fs::remove_all(config_.meta_dir + "/rebuild", error);
  return {};
}

Task<Status> Rebuild::run() {
  CO_TRY_STATUS(check_place());
  CO_TRY_STATUS(co_await runtime_.disk.make_dir(config_.meta_dir));
  Status done;
  if (wish_.node) done = co_await anew(false);
  if (wish_.cluster) done = co_await as_it_was();
  if (done) done = co_await runtime_.disk.sync_dir(config_.meta_dir);
  co_return done;
}

namespace {

RestoreOptions restore_options(const Config& config, const std::string& into, bool accept_loss) {
  RestoreOptions options;
  options.kv = kv_options(config);
  options.kv.dir = into;
  options.snapshot_dir = MetaFolders(config.data_dirs.front()).snapshots();
  options.accept_loss = accept_loss;
  return options;
}

void tell(std::vector<std::string>& story, const Restored& restored) {
  for (const std::string& line : restored.tried) story.push_back("not used: " + line);
  story.push_back(restored.snapshot.empty()
                      ? "restored from the journals, which reach back to the start"
                      : "restored from " + restored.snapshot + " and the journals since");
  story.push_back(fmt::format("up to batch {}", restored.kv->durable_sequence()));
}

}  // namespace

Task<Status> Rebuild::as_it_was() {
  CO_TRY(SecretRing secrets, load_secrets(config_.secret_file));
  CO_TRY(IdentityCopy copy, load_identity_copy(identity_copy(config_), secrets));
  LocalStore store(runtime_.loop);
  const std::string dir = work_dir("from");
  std::function<Result<FoldTarget*>()> fresh = [&store, dir] { return store.fresh(dir); };
  auto options = restore_options(config_, dir, wish_.accept_loss);
  auto found = co_await restore_kv(std::move(options), runtime_, std::move(fresh));
  if (found.is(ErrorCode::kCorrupt))
    co_return fail(ErrorCode::kCorrupt,
                   found.error().message +
                       "\nIf most of the other nodes could be brought back, use --node here. If "
                       "not, --cluster --accept-loss takes what there is.");
  if (!found) co_return tl::unexpected<Error>(found.error());
  tell(story_, *found);
  if (!found->missing.empty()) {
    story_.push_back("! some of what was acknowledged may be missing: " + found->missing);
    co_await found->kv->close();
    found->kv.reset();
    co_return co_await anew(true);
  }
  store.kv = std::move(found->kv);
  CO_TRY_STATUS(co_await store.finish());
  std::vector<std::string> old = {config_.meta_dir + "/meta.mdb"};
  CO_TRY_STATUS(move_aside(old, config_.meta_dir + "/before-rebuild"));
  if (fs::exists(config_.identity_file())) {
    CO_TRY(NodeIdentity there, load_or_create_identity(config_.identity_file()));
    if (there.id != copy.identity.id) {
      old = {config_.identity_file()};
      CO_TRY_STATUS(move_aside(old, config_.meta_dir + "/before-rebuild"));
    }
  }
  if (!fs::exists(config_.identity_file())) {
    CO_TRY_STATUS(save_identity(config_.identity_file(), copy.identity));
  }
  CO_TRY_STATUS(install(dir));
  story_.push_back(fmt::format("node {} is what it was ({}): covey serve", copy.name,
                               copy.identity.id.hex().substr(0, 8)));
  co_return Status();
}

Task<Status> Rebuild::anew(bool all_rows) {
  // What there is, if it can be read.
  LocalStore old(runtime_.loop), store(runtime_.loop);
  const std::string dir = work_dir("from"), to = work_dir("to");
  std::function<Result<FoldTarget*>()> fresh = [&old, dir] { return old.fresh(dir); };
  auto options = restore_options(config_, dir, true);
  auto found = co_await restore_kv(std::move(options), runtime_, std::move(fresh));
  if (!found && (all_rows || found.is(ErrorCode::kIo)))
    co_return tl::unexpected<Error>(found.error());
  if (found) old.kv = std::move(found->kv);

  const std::string data = config_.data_dirs.front(), rebuilt = data + "/metadata.rebuilt";
  const bool in_meta = config_.journal == "meta";
  std::error_code error;
  fs::remove_all(rebuilt, error);
  CO_TRY_STATUS(co_await runtime_.disk.make_dir(rebuilt));
  KvOptions kv;
  kv.dir = to;
  kv.journal_dir = in_meta ? work_dir("journal") : rebuilt + "/journal";
  fs::remove_all(kv.journal_dir, error);
  if (old.kv) kv.first_sequence = old.kv->durable_sequence() + kSequenceLeap;
  CO_TRY(FoldTarget * target, store.fresh(to));
  CO_TRY(store.kv, co_await open_kv(std::move(kv), runtime_, *target));
  Status copied;
  if (old.kv && all_rows) copied = co_await copy_all(*old.kv, *store.kv);
  if (old.kv && !all_rows) copied = co_await copy_what_a_new_id_keeps(*old.kv, *store.kv);
  if (copied && !all_rows && config_.seeds.empty()) {
    CO_TRY(std::vector<Address> peers, load_known_peers(*store.kv));
    if (peers.empty())
      copied = fail(ErrorCode::kInvalid,
                    "no address of another node is known: set `seeds` in " + config_.file);
  }
  if (old.kv) co_await old.kv->close();
  old.kv.reset();
  if (copied) {
    copied = co_await store.finish();
  } else {
    co_await store.kv->close();
    store.kv.reset();
  }
  CO_TRY_STATUS(std::move(copied));
  CO_TRY_STATUS(switch_to(all_rows));
  if (all_rows) {
    story_.push_back("what was found stands under the old id, with a new journal: covey serve");
  } else {
    story_.push_back(found ? "blocks were found; everything else comes from the other nodes"
                           : "nothing could be restored: blocks are found by reading the "
                             "segments, the rest comes from the other nodes");
    story_.push_back("the node takes its place under a new id when it starts: covey serve");
  }
  co_return Status();
}

// From here on the old store is history.
Status Rebuild::switch_to(bool same_id) {
  const std::string& meta = config_.meta_dir;
  std::vector<std::string> old = {meta + "/meta.mdb", meta + "/journal"};
  if (!same_id) old.push_back(config_.identity_file());
  TRY(SecretRing secrets, load_secrets(config_.secret_file));
  if (same_id && !fs::exists(config_.identity_file())) {
    TRY(IdentityCopy copy, load_identity_copy(identity_copy(config_), secrets));
    TRY_STATUS(save_identity(config_.identity_file(), copy.identity));
  }
  TRY_STATUS(move_aside(old, meta + "/before-rebuild"));
  for (const std::string& dir : config_.data_dirs) {
    TRY_STATUS(move_aside({MetaFolders(dir).top}, dir + "/before-rebuild"));
  }
  const std::string data = config_.data_dirs.front();
  TRY_STATUS(moved(data + "/metadata.rebuilt", MetaFolders(data).top));
  if (config_.journal == "meta") {
    TRY_STATUS(moved(work_dir("journal"), meta + "/journal"));
  }
  return install(work_dir("to"));
}

}  // namespace covey
