// Who this node is and how it proves it: its Ed25519 key, the cluster's secret, and the TLS
// certificates made from both. There is no PKI to run: every node that holds the secret derives the
// same CA and signs a certificate for itself.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/core/ids.h"
#include "base/core/result.h"

namespace covey {

// 32 random bytes that all nodes of a cluster share. On disk: 64 hexadecimal digits, mode 0600.
struct ClusterSecret {
  std::array<uint8_t, 32> bytes{};
  std::string hex() const;
  // nullopt unless `text` is 64 hexadecimal digits, white space around them aside.
  static std::optional<ClusterSecret> parse(std::string_view text);
  static ClusterSecret random();
};

// Fixed for ever: a derived key is found again by number and name.
enum class SecretUse : uint64_t { kCertificates = 1, kGossip = 2, kSealing = 3 };
// 32 bytes for one use; one use tells nothing about another. Source: libsodium's crypto_kdf
// (BLAKE2b).
std::string derive_key(const ClusterSecret& secret, SecretUse use);

// Errors: kNotFound, kInvalid (what the file should hold), kDenied (others may read it: says which
// chmod), kIo.
Result<ClusterSecret> load_secret(const std::string& path);
// Errors: kAlreadyExists, kIo.
Status save_secret(const std::string& path, const ClusterSecret& secret);

struct NodeIdentity {
  NodeId id;  // the public key
  std::array<uint8_t, 32> seed{};
};
NodeIdentity new_identity();
// Reads the key at `path` or makes one there (0600, synced) at first start. Errors: kInvalid,
// kDenied, kIo.
Result<NodeIdentity> load_or_create_identity(const std::string& path);

// PEM texts for TLS in both directions. Certificates are valid from 1970 to 2120: a board without a
// clock must be able to join.
struct TlsMaterial {
  std::string ca_certificate;
  std::string certificate;  // subject and DNS name both say the node id
  std::string private_key;
};
Result<TlsMaterial> make_tls(const NodeIdentity& identity, const ClusterSecret& secret);

// The DNS name in a node's certificate: its id in two labels, since a label ends at 63 characters.
std::string tls_name(const NodeId& id);

}  // namespace covey
