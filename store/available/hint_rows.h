// Hints: rows of partitions that this node does not replicate, kept until their replicas have them.
// Format: docs/formats/registers.md.
#pragma once

#include <string>
#include <string_view>

#include "store/available/row.h"
#include "store/register/registers.h"

namespace covey {

struct Hint {
  uint64_t actor = 0;  // of writes that this node coordinated; 0: none
  AvailableRow row;
};

std::string hint_prefix(TableId table, PartitionId partition);
std::string hint_key(const RegisterKey& key);
// Errors: kCorrupt.
Result<RegisterKey> key_of_hint(std::string_view hint_key);
std::string encode_hint(const Hint& hint);
Result<Hint> decode_hint(std::string_view bytes);

}  // namespace covey
