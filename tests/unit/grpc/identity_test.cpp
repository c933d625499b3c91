#include "node/identity/identity.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/unit/test.h"

using namespace covey;

TEST_CASE("a secret survives its file, and files that others may read are refused") {
  char folder[] = "/tmp/covey-identity-XXXXXX";
  REQUIRE(::mkdtemp(folder) != nullptr);
  std::string path = std::string(folder) + "/secret";
  ClusterSecret secret = ClusterSecret::random();
  EXPECT(load_secret(path).is(ErrorCode::kNotFound));
  REQUIRE(save_secret(path, secret).has_value());
  EXPECT(save_secret(path, secret).is(ErrorCode::kAlreadyExists));
  auto again = load_secret(path);
  REQUIRE(again.has_value());
  EXPECT(again->hex() == secret.hex());
  ::chmod(path.c_str(), 0644);
  EXPECT(load_secret(path).is(ErrorCode::kDenied));

  std::string key_path = std::string(folder) + "/identity.key";
  auto first = load_or_create_identity(key_path);
  auto second = load_or_create_identity(key_path);
  REQUIRE((first && second));
  EXPECT(first->id == second->id);
  ::unlink(path.c_str());
  ::unlink(key_path.c_str());
  ::rmdir(folder);
}

TEST_CASE("every node derives the same CA, keys of different uses differ") {
  ClusterSecret secret = ClusterSecret::random();
  auto a = make_tls(new_identity(), secret);
  auto b = make_tls(new_identity(), secret);
  REQUIRE((a && b));
  EXPECT(a->ca_certificate == b->ca_certificate);
  EXPECT(a->certificate != b->certificate);
  EXPECT(derive_key(secret, SecretUse::kGossip) != derive_key(secret, SecretUse::kSealing));
  EXPECT(derive_key(secret, SecretUse::kGossip) == derive_key(secret, SecretUse::kGossip));
}
