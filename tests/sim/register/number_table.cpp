#include "tests/sim/register/number_table.h"

#include <cstring>

namespace covey {

namespace {

VersionId owner_of(std::string_view row) {
  VersionId id;
  std::memcpy(id.bytes.data(), row.data(), std::min<size_t>(row.size(), VersionId::kSize));
  return id;
}

}  // namespace

bool NumberTable::blind(const Mutation& m) const { return m.body[0] == 'P' || m.body[0] == 'D'; }

Result<RegisterTable::Write> NumberTable::apply(const std::optional<std::string>& current,
                                                const Mutation& m) const {
  Write write;
  write.tombstone = m.body[0] == 'D';
  size_t comma = m.body.find(',');
  write.row = m.body.substr(comma + 1);
  if (m.body[0] == 'C' && current) return fail(ErrorCode::kPreconditionFailed);
  if (m.body[0] == 'X' && current.value_or("0") != m.body.substr(1, comma - 1))
    return fail(ErrorCode::kPreconditionFailed);
  return write;
}

std::optional<std::pair<VersionId, std::string>> NumberTable::inline_attachment(
    std::string_view row) const {
  if (!has_body(std::atoi(std::string(row).c_str()))) return std::nullopt;
  return std::pair(owner_of(row), std::string("b"));
}

Mutation NumberTable::writing(std::string what, int value) {
  Mutation m;
  std::string row = std::to_string(value);
  m.body = std::move(what) + "," + row;
  if (has_body(value)) {
    Attachment body;
    body.owner = owner_of(row);
    body.suffix = "b";
    body.value = body_of(value);
    m.attachments.push_back(std::move(body));
  }
  return m;
}

Mutation NumberTable::put(int value) { return writing("P", value); }
Mutation NumberTable::create(int value) { return writing("C", value); }
Mutation NumberTable::compare_and_set(int expected, int value) {
  return writing("X" + std::to_string(expected), value);
}
Mutation NumberTable::remove() {
  Mutation m;
  m.body = "D,";
  return m;
}

}  // namespace covey
