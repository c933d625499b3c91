#include "node/metadata_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "store/meta/snapshot_format.h"

namespace covey {
namespace {

// Two more than a store that copies nothing: they wait to be copied.
constexpr size_t kJournalFilesMax = 8;

bool holds(const std::string& folder, bool (*wanted)(std::string_view)) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (wanted(entry.path().filename().string())) return true;
  return false;
}

bool is_journal(std::string_view name) { return name.starts_with("journal-"); }

}  // namespace

std::vector<std::string> journal_dirs(const Config& config) {
  std::vector<std::string> dirs = {config.meta_dir + "/journal"};
  for (const std::string& dir : config.data_dirs) dirs.push_back(MetaFolders(dir).journal());
  return dirs;
}

std::string identity_copy(const Config& config) {
  return MetaFolders(config.data_dirs.front()).top + "/node";
}

KvOptions kv_options(const Config& config) {
  KvOptions options;
  MetaFolders folders(config.data_dirs.front());
  options.dir = config.meta_dir;
  options.journal_dir = config.journal == "meta" ? config.meta_dir + "/journal" : folders.journal();
  options.other_journal_dirs = journal_dirs(config);
  std::erase(options.other_journal_dirs, options.journal_dir);
  options.archive_dir = folders.archive();
  options.journal_files_max = kJournalFilesMax;
  return options;
}

Status metadata_not_lost(const Config& config) {
  if (std::filesystem::exists(config.meta_dir + "/meta.mdb")) return {};
  for (const std::string& dir : config.data_dirs) {
    MetaFolders folders(dir);
    bool there = holds(folders.journal(), is_journal) || holds(folders.archive(), is_journal) ||
                 holds(folders.snapshots(), is_snapshot_name);
    if (!there) continue;
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("{} holds no metadata, but {} was kept by the node that stood here. If the "
                    "other nodes are well, run `covey meta rebuild --node`: this one takes its "
                    "place again under a new id. If most nodes lost their metadata, run `covey "
                    "meta rebuild --cluster` on each of those. To begin as an empty node instead, "
                    "remove {}",
                    config.meta_dir, folders.top, folders.top));
  }
  return {};
}

}  // namespace covey
