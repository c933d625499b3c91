// AvailableTable: a table of an available bucket over the table that says what its rows mean
// (store/objects). Rows are joined where registers are ranked, so merges and anti-entropy need no
// ballots.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/available/conflict_log.h"
#include "store/available/row.h"
#include "store/register/registers.h"

namespace covey {

class AvailableTable final : public RegisterTable {
 public:
  // Which version a row is; zero where rows are no versions. Then a write replaces all that it saw;
  // otherwise only what was current, and losers stay until somebody removes them.
  using VersionOf = std::function<VersionId(std::string_view row)>;
  // Everything outlives it. `log` may be nullptr.
  AvailableTable(TableId id, const RegisterTable& inner, VersionOf version_of, ConflictLog* log)
      : id_(id), inner_(inner), version_of_(std::move(version_of)), log_(log) {}

  TableId id() const override { return id_; }
  const RegisterTable& inner() const { return inner_; }
  bool versions() const { return version_of_ != nullptr; }
  VersionId version_of(std::string_view row) const {
    return version_of_ ? version_of_(row) : VersionId{};
  }
  ConflictLog* log() const { return log_; }

  // Nobody proposes to these rows.
  bool blind(const Mutation&) const override { return false; }
  Result<Write> apply(const std::optional<std::string>& current,
                      const Mutation& mutation) const override;
  // Of the current sibling.
  std::optional<std::pair<VersionId, std::string>> inline_attachment(
      std::string_view row) const override;
  // Of all siblings.
  std::vector<std::pair<VersionId, std::string>> attachments(std::string_view row) const override;
  std::vector<VersionId> brings(std::string_view row) const override;
  // Garbage for the versions that went, an event for each that lost.
  void on_replace(const RegisterKey& key, std::string_view old,
                  const std::optional<std::string>& fresh, WriteBatch& batch) const override;

  bool joins() const override { return true; }
  Result<Joined> join(std::string_view mine, std::string_view theirs) const override;

 private:
  TableId id_;
  const RegisterTable& inner_;
  VersionOf version_of_;
  ConflictLog* log_;
};

}  // namespace covey
