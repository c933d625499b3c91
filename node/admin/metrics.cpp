// /metrics in Prometheus' text form, and /health.
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

#include "node/admin/admin.h"

namespace covey {
namespace {

// Resident bytes of this process.
uint64_t resident_bytes() {
  std::ifstream in("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  in >> total >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

void gauge(std::string& out, std::string_view name, double value) {
  fmt::format_to(std::back_inserter(out), "# TYPE covey_{} gauge\ncovey_{} {}\n", name, name,
                 value);
}

HttpResponse text(int status, std::string body) {
  HttpResponse response;
  response.status = status;
  response.set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  response.body = Blob::own(std::move(body));
  return response;
}

}  // namespace

HttpResponse Admin::metrics() const {
  std::string out = fmt::format(
      "# TYPE covey_build_info gauge\ncovey_build_info{{version=\"{}\"}} 1\n", kCoveyVersion);
  gauge(out, "resident_bytes", static_cast<double>(resident_bytes()));
  if (deps_.blocks) {
    Blocks::Usage usage = deps_.blocks->usage();
    gauge(out, "block_used_bytes", static_cast<double>(usage.used_bytes));
    gauge(out, "block_reclaimable_bytes", static_cast<double>(usage.reclaimable_bytes));
    gauge(out, "disk_free_bytes", static_cast<double>(usage.free_bytes));
    gauge(out, "disk_total_bytes", static_cast<double>(usage.total_bytes));
    gauge(out, "copies_owed", static_cast<double>(usage.copies_owed));
    gauge(out, "quarantined_records", static_cast<double>(usage.quarantined));
    gauge(out, "blocks_to_repair", static_cast<double>(usage.to_repair));
    gauge(out, "blocks_repaired", static_cast<double>(usage.repaired));
  }
  if (deps_.behind) {
    AdminDeps::Behind behind = deps_.behind();
    gauge(out, "partitions_behind", static_cast<double>(behind.partitions));
    gauge(out, "rows_behind", static_cast<double>(behind.rows));
  }
  if (deps_.verifier) {
    int64_t age = deps_.runtime.clock.wall_now().ms - deps_.verifier->progress().verified.ms;
    gauge(out, "metadata_verified_age_seconds", static_cast<double>(age) / 1000);
  }
  if (deps_.snapshots) {
    Snapshots::Progress kept = deps_.snapshots->progress();
    gauge(out, "metadata_rebuildable", kept.covered ? 1 : 0);
    gauge(out, "metadata_snapshots", static_cast<double>(kept.kept.size()));
    gauge(out, "metadata_archived_journal_bytes", static_cast<double>(kept.journal_bytes));
    if (auto age = deps_.snapshots->age_ms())
      gauge(out, "metadata_snapshot_age_seconds", static_cast<double>(*age) / 1000);
  }
  auto layout = deps_.topology ? deps_.topology->layout() : nullptr;
  if (layout) {
    size_t alive = 0;
    for (const Member& member : layout->current.members) alive += deps_.topology->alive(member.id);
    gauge(out, "layout_version", static_cast<double>(layout->current.version));
    gauge(out, "members", static_cast<double>(layout->current.members.size()));
    gauge(out, "members_alive", static_cast<double>(alive));
  }
  if (deps_.levels) {
    Levels levels = deps_.levels();
    for (const char* what : {"level", "level_limit"}) {
      out += fmt::format("# TYPE covey_{} gauge\n", what);
      for (const Level& one : levels)
        out += fmt::format("covey_{}{{of=\"{}\"}} {}\n", what, one.name,
                           what == std::string_view("level") ? one.used : one.limit);
    }
  }
  if (deps_.numbers)
    for (const auto& [name, value] : deps_.numbers()) gauge(out, name, value);
  return text(200, std::move(out));
}

HttpResponse Admin::health() const {
  bool serves = deps_.objects && deps_.topology && deps_.topology->layout();
  return serves ? text(200, "ok\n") : text(503, "starting\n");
}

}  // namespace covey
