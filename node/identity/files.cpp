// The key files: small, private, written once.
#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "base/core/check.h"
#include "node/identity/identity.h"
#include "node/identity/private_file.h"
#include "node/identity/sealed_identity.h"
#include "node/identity/secrets.h"

namespace covey {
namespace {

constexpr size_t kKeyFileBytesMax = 4096;

struct Fd {
  int value = -1;
  ~Fd() {
    if (value >= 0) ::close(value);
  }
};

std::string errno_text() { return std::strerror(errno); }

}  // namespace

Result<std::string> read_private(const std::string& path) {
  Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (fd.value < 0) {
    ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return fail(code, fmt::format("cannot read {}: {}", path, errno_text()));
  }
  struct stat info {};
  if (::fstat(fd.value, &info) != 0) return fail(ErrorCode::kIo, path + ": " + errno_text());
  if ((info.st_mode & 077) != 0)
    return fail(ErrorCode::kDenied,
                fmt::format("{} may be read by others; run: chmod 600 {}", path, path));
  std::string text(kKeyFileBytesMax, '\0');
  ssize_t n = ::read(fd.value, text.data(), text.size());
  if (n < 0) return fail(ErrorCode::kIo, fmt::format("cannot read {}: {}", path, errno_text()));
  text.resize(static_cast<size_t>(n));
  return text;
}

namespace {

Status sync_folder_of(const std::string& path) {
  size_t slash = path.rfind('/');
  std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Fd dir{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (dir.value < 0 || ::fsync(dir.value) != 0)
    return fail(ErrorCode::kIo, fmt::format("cannot sync {}: {}", folder, errno_text()));
  return {};
}

// Under a temporary name first: a crash never leaves half a key under the real one.
Result<std::string> write_beside(const std::string& path, const std::string& text) {
  std::string fresh = path + ".new";
  ::unlink(fresh.c_str());
  Fd fd{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (fd.value < 0) {
    bool denied = errno == EACCES || errno == EPERM || errno == EROFS;
    return fail(denied ? ErrorCode::kDenied : ErrorCode::kIo,
                fmt::format("cannot create {}: {}", fresh, errno_text()));
  }
  if (::write(fd.value, text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fsync(fd.value) != 0) {
    std::string why = errno_text();
    ::unlink(fresh.c_str());
    return fail(ErrorCode::kIo, fmt::format("cannot write {}: {}", fresh, why));
  }
  return fresh;
}

}  // namespace

Status write_private(const std::string& path, const std::string& text) {
  TRY(std::string fresh, write_beside(path, text));
  // link() fails where rename() would replace a key that appeared meanwhile.
  if (::link(fresh.c_str(), path.c_str()) != 0) {
    ErrorCode code = errno == EEXIST ? ErrorCode::kAlreadyExists : ErrorCode::kIo;
    std::string why = errno_text();
    ::unlink(fresh.c_str());
    return fail(code, fmt::format("cannot create {}: {}", path, why));
  }
  ::unlink(fresh.c_str());
  return sync_folder_of(path);
}

Status replace_private(const std::string& path, const std::string& text) {
  TRY(std::string fresh, write_beside(path, text));
  if (::rename(fresh.c_str(), path.c_str()) != 0) {
    std::string why = errno_text();
    ::unlink(fresh.c_str());
    return fail(ErrorCode::kIo, fmt::format("cannot replace {}: {}", path, why));
  }
  return sync_folder_of(path);
}

namespace {

std::string_view trimmed(std::string_view text) {
  size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

template <size_t N>
std::string_view as_text(const std::array<uint8_t, N>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), N};
}

Result<NodeIdentity> identity_from_seed(const std::array<uint8_t, 32>& seed) {
  CHECK(sodium_init() >= 0);
  NodeIdentity identity;
  identity.seed = seed;
  std::array<uint8_t, crypto_sign_SECRETKEYBYTES> secret_key;
  crypto_sign_seed_keypair(identity.id.bytes.data(), secret_key.data(), seed.data());
  sodium_memzero(secret_key.data(), secret_key.size());
  return identity;
}

}  // namespace

std::string ClusterSecret::hex() const { return hex_encode(as_text(bytes)); }

std::optional<ClusterSecret> ClusterSecret::parse(std::string_view text) {
  auto raw = hex_decode(trimmed(text));
  if (!raw || raw->size() != 32) return std::nullopt;
  ClusterSecret secret;
  std::memcpy(secret.bytes.data(), raw->data(), 32);
  return secret;
}

ClusterSecret ClusterSecret::random() {
  CHECK(sodium_init() >= 0);
  ClusterSecret secret;
  randombytes_buf(secret.bytes.data(), secret.bytes.size());
  return secret;
}

std::string derive_key(const ClusterSecret& secret, SecretUse use) {
  CHECK(sodium_init() >= 0);
  static_assert(crypto_kdf_KEYBYTES == 32);
  std::string key(32, '\0');
  crypto_kdf_derive_from_key(reinterpret_cast<uint8_t*>(key.data()), key.size(),
                             static_cast<uint64_t>(use), "coveykey", secret.bytes.data());
  return key;
}

Status save_secret(const std::string& path, const ClusterSecret& secret) {
  return write_private(path, secret.hex() + "\n");
}

NodeIdentity new_identity() { return *identity_from_seed(ClusterSecret::random().bytes); }

Result<NodeIdentity> load_or_create_identity(const std::string& path) {
  auto text = read_private(path);
  if (text.is(ErrorCode::kNotFound)) {
    NodeIdentity fresh = new_identity();
    TRY_STATUS(write_private(path, hex_encode(as_text(fresh.seed)) + "\n"));
    return fresh;
  }
  if (!text) return tl::unexpected<Error>(text.error());
  auto seed = ClusterSecret::parse(*text);
  if (!seed)
    return fail(ErrorCode::kInvalid,
                path +
                    " must hold this node's key as 64 hexadecimal digits; restore it from a "
                    "backup, or remove it together with the metadata to start as a new node");
  return identity_from_seed(seed->bytes);
}

Status save_identity(const std::string& path, const NodeIdentity& identity) {
  return write_private(path, hex_encode(as_text(identity.seed)) + "\n");
}

Status save_identity_copy(const std::string& path, const NodeIdentity& identity,
                          const SecretRing& secrets, const std::string& name) {
  SecretRing only(secrets.use);
  auto there = load_identity_copy(path, only);
  if (there && there->identity.id == identity.id && there->name == name) return {};
  const ClusterSecret random = ClusterSecret::random();
  std::string_view nonce = as_text(random.bytes).substr(0, kSealNonceBytes);
  return replace_private(path, seal_identity(identity, secrets.use, name, nonce));
}

Result<IdentityCopy> load_identity_copy(const std::string& path, const SecretRing& secrets) {
  TRY(std::string text, read_private(path));
  Result<IdentityCopy> copy = fail(ErrorCode::kCorrupt);
  for (const ClusterSecret& secret : secrets.accepted()) {
    copy = open_identity(text, secret);
    if (copy) break;
  }
  if (!copy) return fail(copy.error().code, path + " " + copy.error().message);
  TRY(copy->identity, identity_from_seed(copy->identity.seed));
  return std::move(*copy);
}

std::string tls_name(const NodeId& id) {
  std::string hex = id.hex();
  return hex.substr(0, 32) + "." + hex.substr(32) + ".covey";
}

}  // namespace covey
