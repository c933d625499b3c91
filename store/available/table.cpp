#include "store/available/table.h"

#include <algorithm>

namespace covey {

Result<RegisterTable::Write> AvailableTable::apply(const std::optional<std::string>&,
                                                   const Mutation&) const {
  return fail(ErrorCode::kInvalid, "rows of available buckets are not proposed to");
}

std::optional<std::pair<VersionId, std::string>> AvailableTable::inline_attachment(
    std::string_view row) const {
  auto known = decode_available(row);
  if (!known || !known->current()) return std::nullopt;
  return inner_.inline_attachment(*known->current());
}

std::vector<std::pair<VersionId, std::string>> AvailableTable::attachments(
    std::string_view row) const {
  std::vector<std::pair<VersionId, std::string>> names;
  auto known = decode_available(row);
  if (!known) return names;
  for (const Sibling& one : known->siblings) {
    if (one.tombstone) continue;
    for (auto& name : inner_.attachments(one.row)) names.push_back(std::move(name));
  }
  return names;
}

std::vector<VersionId> AvailableTable::brings(std::string_view row) const {
  std::vector<VersionId> versions;
  auto known = decode_available(row);
  if (!known) return versions;
  for (const Sibling& one : known->siblings) {
    if (one.tombstone) continue;
    for (const VersionId& version : inner_.brings(one.row)) versions.push_back(version);
  }
  return versions;
}

void AvailableTable::on_replace(const RegisterKey& key, std::string_view old,
                                const std::optional<std::string>& fresh, WriteBatch& batch) const {
  auto before = decode_available(old);
  auto after = decode_available(fresh ? std::string_view(*fresh) : std::string_view());
  if (!before || !after) return;
  for (const Sibling& one : before->siblings) {
    bool stays = std::any_of(after->siblings.begin(), after->siblings.end(), [&](const auto& now) {
      return now.dot == one.dot || (versions() && now.version == one.version);
    });
    if (!stays && !one.tombstone) inner_.on_replace(key, one.row, std::nullopt, batch);
  }
  if (!log_ || !versions()) return;
  const Sibling* winner = after->winner();
  for (size_t i = 1; i < after->siblings.size(); ++i) {
    const Sibling& loser = after->siblings[i];
    if (loser.tombstone || loser.version == winner->version) continue;
    bool lost_before = false;
    for (size_t k = 1; k < before->siblings.size(); ++k)
      lost_before = lost_before || before->siblings[k].version == loser.version;
    if (lost_before) continue;
    ConflictEvent event;
    event.kind = ConflictEvent::Kind::kLost;
    event.key = key.key;
    event.winner = winner->version;
    event.winner_deleted = winner->tombstone;
    event.loser = loser.version;
    log_->add(event, batch);
  }
}

Result<RegisterTable::Joined> AvailableTable::join(std::string_view mine,
                                                   std::string_view theirs) const {
  TRY(AvailableRow row, decode_available(mine));
  TRY(AvailableRow other, decode_available(theirs));
  row.join(other);
  return Joined{encode_available(row), row.rank()};
}

}  // namespace covey
