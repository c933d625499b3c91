#include "node/identity/private_file.h"
#include "node/identity/secrets.h"

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
  EXPECT(load_secrets(path).is(ErrorCode::kNotFound));
  REQUIRE(save_secret(path, secret).has_value());
  EXPECT(save_secret(path, secret).is(ErrorCode::kAlreadyExists));
  auto again = load_secrets(path);
  REQUIRE(again.has_value());
  EXPECT(again->settled());
  EXPECT(again->use.hex() == secret.hex());
  ::chmod(path.c_str(), 0644);
  EXPECT(load_secrets(path).is(ErrorCode::kDenied));

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
  EXPECT(a->ca_certificates == b->ca_certificates);
  EXPECT(a->certificate != b->certificate);
  EXPECT(derive_key(secret, SecretUse::kGossip) != derive_key(secret, SecretUse::kSealing));
  EXPECT(derive_key(secret, SecretUse::kGossip) == derive_key(secret, SecretUse::kGossip));
}

TEST_CASE("a ring of secrets survives its file in every phase, and nothing else is taken for one") {
  char folder[] = "/tmp/covey-identity-XXXXXX";
  REQUIRE(::mkdtemp(folder) != nullptr);
  std::string path = std::string(folder) + "/secret";
  ClusterSecret old_one = ClusterSecret::random(), new_one = ClusterSecret::random();
  REQUIRE(save_secret(path, old_one).has_value());
  SecretRing ring = *load_secrets(path);
  ring = ring.staged(new_one);
  ring.forced = true;
  for (SecretRing next : {ring, ring.activated(), ring.activated().settled_down()}) {
    REQUIRE(replace_secrets(path, next).has_value());
    auto again = load_secrets(path);
    REQUIRE(again.has_value());
    EXPECT((again->phase == next.phase && again->forced == next.forced));
    EXPECT(again->use.hex() == next.use.hex());
    if (!next.settled()) EXPECT(again->other.hex() == next.other.hex());
    EXPECT(again->accepted().size() == (next.settled() ? 1 : 2));
    struct stat info {};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    EXPECT((info.st_mode & 0777) == 0600);
  }
  EXPECT(load_secrets(path)->use.hex() == new_one.hex());
  std::string a = old_one.hex(), b = new_one.hex();
  for (std::string text : {a + "\n" + b + "\n", a + "\nnext\n", a + "\nnext " + b.substr(2) + "\n",
                           a + "\nnext " + b + "\nx\n", "next " + b + "\n", std::string()}) {
    REQUIRE(replace_private(path, text).has_value());
    EXPECT(load_secrets(path).is(ErrorCode::kInvalid));
  }
  EXPECT(secret_id(old_one) != secret_id(new_one));
  EXPECT(replace_secrets("/proc/no/secret", ring).has_value() == false);
  ::unlink(path.c_str());
  ::rmdir(folder);
}

TEST_CASE("a certificate proves the node's own key and an accepted secret") {
  ClusterSecret one = ClusterSecret::random(), two = ClusterSecret::random();
  NodeIdentity node = new_identity();
  auto tls = make_tls(node, one);
  REQUIRE(tls);
  auto proved = certified_node(tls->certificate, tls->ca_keys);
  REQUIRE(proved);
  EXPECT(proved->id == node.id);
  EXPECT(proved->signer == tls->ca_keys.front());
  auto both = make_tls(new_identity(), SecretRing(two).staged(one));
  REQUIRE(both);
  EXPECT(both->ca_keys.size() == 2);
  EXPECT(certified_node(tls->certificate, both->ca_keys));
  EXPECT_FALSE(certified_node(tls->certificate, make_tls(node, two)->ca_keys));
  EXPECT_FALSE(certified_node(tls->ca_certificates, tls->ca_keys));
  EXPECT_FALSE(certified_node("no certificate", tls->ca_keys));
  NodeIdentity liar = new_identity();
  liar.id = node.id;  // holds the secret, so it signs whatever it likes; the key is not the node's
  EXPECT_FALSE(certified_node(make_tls(liar, one)->certificate, tls->ca_keys));
}
