// NumberTable: a register table whose rows are decimal numbers, for simulations and scenarios.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "store/register/registers.h"

namespace covey {

// Bodies: "P,value" put, "C,value" create, "X expected,value" compare and set (absent counts as 0),
// "D," delete. A number that three divides has its text as an inline attachment, and an Accept of
// it brings that along.
class NumberTable final : public RegisterTable {
 public:
  TableId id() const override { return TableId::kHeads; }
  bool blind(const Mutation& mutation) const override;
  Result<Write> apply(const std::optional<std::string>& current,
                      const Mutation& mutation) const override;
  std::optional<std::pair<VersionId, std::string>> inline_attachment(
      std::string_view row) const override;
  void on_replace(const RegisterKey&, std::string_view, const std::optional<std::string>&,
                  WriteBatch&) const override {}

  static bool has_body(int value) { return value != 0 && value % 3 == 0; }
  static std::string body_of(int value) { return "body of " + std::to_string(value); }
  static Mutation put(int value);
  static Mutation create(int value);
  static Mutation compare_and_set(int expected, int value);
  static Mutation remove();

 private:
  static Mutation writing(std::string what, int value);
};

}  // namespace covey
