#include "node/config/config.h"

#include "tests/unit/test.h"

using namespace covey;

TEST_CASE("the template is a valid configuration, also with everything in it active") {
  auto plain = parse_config(config_template({}), "/etc/covey/covey.toml");
  REQUIRE(plain.has_value());
  EXPECT(plain->meta_dir == "/etc/covey/meta");
  EXPECT(plain->listen_s3 == "0.0.0.0:3900");

  std::string text = config_template({});
  std::string active;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    std::string line = text.substr(at, end - at);
    if (line.size() > 1 && line[0] == '#' && line[1] != ' ') line.erase(0, 1);
    active += line + "\n";
    at = end + 1;
  }
  auto all = parse_config(active, "covey.toml");
  INFO((all ? std::string() : all.error().message));
  REQUIRE(all.has_value());
  EXPECT(all->capacity_bytes == 200'000'000'000ull);
  EXPECT(all->upload_expiry == std::chrono::hours(168));

  ChosenSettings chosen;
  chosen.name = "n2";
  chosen.seeds = {"127.0.0.1:1", "[::1]:2"};
  auto some = parse_config(config_template(chosen), "covey.toml");
  REQUIRE(some.has_value());
  EXPECT(some->name == "n2");
  EXPECT(some->seeds.size() == 2);
}

TEST_CASE("a wrong setting is named with its line and what is allowed") {
  auto result = parse_config("zone = \"a\"\nnaem = \"x\"\n\ns3_listen = 3900\n", "covey.toml");
  REQUIRE(result.is(ErrorCode::kInvalid));
  const std::string& message = result.error().message;
  EXPECT(message.find("covey.toml:2: unknown setting `naem`; did you mean `name`?") !=
         std::string::npos);
  EXPECT(message.find("covey.toml:4: `s3_listen` must be address:port") != std::string::npos);
  EXPECT(parse_config("zone = ", "c").is(ErrorCode::kInvalid));
  EXPECT(parse_config("capacity = \"10 bananas\"", "c").is(ErrorCode::kInvalid));
  EXPECT(parse_config("tls_key = \"k\"", "c").is(ErrorCode::kInvalid));
  EXPECT(parse_config("data_dirs = []", "c").is(ErrorCode::kInvalid));
}

TEST_CASE("sizes, durations and addresses") {
  EXPECT(parse_size("1.5KiB") == 1536u);
  EXPECT(parse_size("2 GB") == 2'000'000'000u);
  EXPECT_FALSE(parse_size("-1"));
  EXPECT_FALSE(parse_size("1e300TB"));
  EXPECT_FALSE(parse_size("nan"));
  EXPECT(parse_duration("2h") == std::chrono::hours(2));
  EXPECT_FALSE(parse_duration("2"));
  EXPECT(parse_listen("[::1]:80")->host == "::1");
  EXPECT_FALSE(parse_listen("::1:80"));
  EXPECT_FALSE(parse_listen("localhost:80"));
  EXPECT_FALSE(parse_listen("127.0.0.1:70000"));
}
