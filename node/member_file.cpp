#include "node/member_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "node/config/config.h"
#include "node/identity/private_file.h"
#include "store/meta/crc32c.h"

namespace covey {
namespace {

constexpr std::string_view kFirstLine = "covey members 1 ";

std::string checksum(std::string_view body) {
  return fmt::format("{:08x}", crc32c_extend(kCrc32cStart, body));
}

}  // namespace

std::string encode_members(const std::vector<KnownMember>& members) {
  std::string body;
  for (const KnownMember& member : members)
    body += fmt::format("{} {} {}\n", member.id.hex(), member.rpc.str(), member.gossip.str());
  return std::string(kFirstLine) + checksum(body) + "\n" + body;
}

std::optional<std::vector<KnownMember>> decode_members(const std::string& text) {
  size_t end = text.find('\n');
  if (!text.starts_with(kFirstLine) || end == std::string::npos) return std::nullopt;
  std::string body = text.substr(end + 1);
  if (text.substr(kFirstLine.size(), end - kFirstLine.size()) != checksum(body))
    return std::nullopt;
  std::vector<KnownMember> members;
  std::istringstream lines(body);
  for (std::string id, rpc, gossip; lines >> id >> rpc >> gossip;) {
    auto node = NodeId::from_hex(id);
    auto at_rpc = parse_listen(rpc), at_gossip = parse_listen(gossip);
    if (!node || !at_rpc || !at_gossip) return std::nullopt;
    members.push_back({*node, *at_rpc, *at_gossip});
  }
  return members;
}

Status save_members(const std::string& path, const std::vector<KnownMember>& members) {
  return replace_private(path, encode_members(members));
}

Result<std::vector<KnownMember>> load_members(const std::string& path) {
  auto text = read_private(path);
  if (text.is(ErrorCode::kNotFound)) return std::vector<KnownMember>();
  if (!text) return tl::unexpected<Error>(text.error());
  auto members = decode_members(*text);
  if (!members) return fail(ErrorCode::kCorrupt, path + " is damaged");
  return std::move(*members);
}

}  // namespace covey
