// MemberFile: who the members of this node's layout are and where they are reached, in a small file
// beside the metadata: a node whose metadata is damaged finds the others by it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/async/net.h"
#include "base/core/ids.h"
#include "base/core/result.h"

namespace covey {

inline constexpr size_t kMemberFileBytesMax = 256 * 1024;

struct KnownMember {
  NodeId id;
  Address rpc, gossip;
  bool operator==(const KnownMember&) const = default;
};

// This node is among them. docs/formats/metadata.md has the bytes. Pure.
std::string encode_members(const std::vector<KnownMember>& members);
std::optional<std::vector<KnownMember>> decode_members(const std::string& text);

// Synced. Errors: kIo, kDenied.
Status save_members(const std::string& path, const std::vector<KnownMember>& members);
// Empty: the node was no member yet. Errors: kCorrupt, kIo.
Result<std::vector<KnownMember>> load_members(const std::string& path);

}  // namespace covey
