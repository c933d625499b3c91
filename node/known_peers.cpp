#include "node/known_peers.h"

#include <algorithm>
#include <string>

#include "base/core/codec.h"
#include "store/meta/node_rows.h"

namespace covey {
namespace {

std::string peers_key() { return node_row_key(kPeersRow); }

}  // namespace

Result<std::vector<Address>> load_known_peers(Kv& kv) {
  TRY(auto stored, kv.get(peers_key()));
  std::vector<Address> peers;
  if (!stored) return peers;
  Reader reader(stored->bytes);
  size_t count = reader.u8();
  for (size_t i = 0; i < count; ++i) {
    Address address;
    address.host = std::string(reader.bytes());
    address.port = reader.u16();
    peers.push_back(std::move(address));
  }
  if (!reader.done())
    return fail(ErrorCode::kCorrupt, "the remembered addresses of other nodes do not decode");
  return peers;
}

Task<Status> save_known_peers(Kv& kv, std::vector<Address> peers) {
  size_t count = std::min(peers.size(), kKnownPeersMax);
  std::string value;
  Writer writer(value);
  writer.u8(static_cast<uint8_t>(count));
  for (size_t i = 0; i < count; ++i) {
    writer.bytes(peers[i].host);
    writer.u16(peers[i].port);
  }
  WriteBatch batch;
  batch.put(peers_key(), std::move(value));
  batch.use_reserve();  // a few bytes, and a full disk is no reason to lose the others
  co_return co_await kv.write(std::move(batch));
}

}  // namespace covey
