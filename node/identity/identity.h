// Who this node is and how it proves it: its Ed25519 key, the cluster's secret, and the TLS
// certificates made from both. There is no PKI to run: every node that holds the secret derives the
// same CA and signs a certificate for itself.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
enum class SecretUse : uint64_t {
  kCertificates = 1,
  kGossip = 2,
  kSealing = 3,
  kInvitations = 4,
  kName = 5,
};
// 32 bytes for one use; one use tells nothing about another. Source: libsodium's crypto_kdf
// (BLAKE2b).
std::string derive_key(const ClusterSecret& secret, SecretUse use);

// A new file; secrets.h reads it. Errors: kAlreadyExists, kIo.
Status save_secret(const std::string& path, const ClusterSecret& secret);

struct NodeIdentity {
  NodeId id;  // the public key
  std::array<uint8_t, 32> seed{};
};
NodeIdentity new_identity();
// Reads the key at `path` or makes one there (0600, synced) at first start. Errors: kInvalid,
// kDenied, kIo.
Result<NodeIdentity> load_or_create_identity(const std::string& path);

struct SecretRing;  // secrets.h

// A copy of the node's key in a data directory, sealed under the cluster secret, for a rebuild of
// the metadata (docs/formats/snapshot.md). Written only if what is there says something else.
// Errors: kNoSpace, kIo.
Status save_identity_copy(const std::string& path, const NodeIdentity& identity,
                          const SecretRing& secrets, const std::string& name);
struct IdentityCopy {
  NodeIdentity identity;
  std::string name;
};
// Errors: kNotFound, kCorrupt (damaged, or sealed under another secret), kInvalid (a format of the
// future), kIo.
Result<IdentityCopy> load_identity_copy(const std::string& path, const SecretRing& secrets);
// Writes a node's key to a file that is not there yet. Errors: kAlreadyExists, kIo.
Status save_identity(const std::string& path, const NodeIdentity& identity);

// PEM texts for TLS in both directions. Certificates are valid from 1970 to 2120: a board without a
// clock must be able to join.
using CaKey = std::array<uint8_t, 32>;  // the public half
struct TlsMaterial {
  std::string ca_certificates;  // of every accepted secret
  std::string certificate;  // subject and DNS name both say the node id; the secret in use signs
  std::string private_key;
  std::vector<CaKey> ca_keys;  // of the certificates, in their order
};
struct Validity {
  int64_t from_s = 0, until_s = 4733510400;  // 1970-01-01, 2120-01-01
};
Result<TlsMaterial> make_tls(const NodeIdentity& identity, const SecretRing& secrets,
                             Validity validity = {});

// Whose certificate this is, and who signed it. A CA's signature alone proves nothing: the key in
// the certificate must be the node's own, since everybody who holds the secret can sign.
struct CertifiedNode {
  NodeId id;
  CaKey signer;
};
// nullopt: not of a node, or signed by none of `trusted`.
std::optional<CertifiedNode> certified_node(std::string_view pem,
                                            const std::vector<CaKey>& trusted);

// The DNS name in a node's certificate: its id in two labels, since a label ends at 63 characters.
std::string tls_name(const NodeId& id);

}  // namespace covey
