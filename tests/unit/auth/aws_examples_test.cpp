// The examples of AWS's documentation of Signature Version 4, and what must be refused.
#include "s3gw/auth/auth.h"
#include "tests/unit/auth/requests.h"
#include "tests/unit/test.h"

using namespace covey;
using namespace covey::testing;

namespace {

constexpr char kDate[] = "20130524T000000Z";
constexpr char kEmpty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
using Headers = std::vector<std::pair<std::string, std::string>>;

HttpRequest request(std::string method, std::string target, Headers headers,
                    const std::string& names, const std::string& signature) {
  HttpRequest out;
  out.method = std::move(method);
  out.target = std::move(target);
  out.headers = std::move(headers);
  out.headers.emplace_back("host", "examplebucket.s3.amazonaws.com");
  out.headers.emplace_back("x-amz-date", kDate);
  out.headers.emplace_back("authorization",
                           "AWS4-HMAC-SHA256 Credential=" + std::string(kAwsAccessKey) +
                               "/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + names +
                               ",Signature=" + signature);
  return out;
}

HttpRequest get_object() {
  return request("GET", "/test.txt", {{"range", "bytes=0-9"}, {"x-amz-content-sha256", kEmpty}},
                 "host;range;x-amz-content-sha256;x-amz-date",
                 "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

Result<Authenticated> check(const HttpRequest& request, std::string_view now = kDate) {
  FixedUsers users = aws_users();
  return authenticate(request, users, AuthSettings{}, at(now));
}
std::string refusal(const HttpRequest& request, std::string_view now = kDate) {
  auto result = check(request, now);
  return result ? "accepted" : result.error().detail;
}

}  // namespace

TEST_CASE("the documented header examples") {
  const std::string plain = "host;x-amz-content-sha256;x-amz-date";
  EXPECT(refusal(get_object()) == "accepted");
  EXPECT(refusal(request("PUT", "/test%24file.text",
                         {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                          {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
                          {"x-amz-content-sha256",
                           "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"}},
                         "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")) ==
         "accepted");
  EXPECT(refusal(request("GET", "/?lifecycle", {{"x-amz-content-sha256", kEmpty}}, plain,
                         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")) ==
         "accepted");
  // The order on the wire is not the canonical one.
  EXPECT(refusal(request("GET", "/?prefix=J&max-keys=2", {{"x-amz-content-sha256", kEmpty}}, plain,
                         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")) ==
         "accepted");
}

TEST_CASE("who was authenticated") {
  auto who = check(get_object());
  REQUIRE(who);
  EXPECT_FALSE(who->identity.anonymous);
  EXPECT(who->identity.user_id == "id");
  EXPECT(who->payload == Payload::kSigned);
  EXPECT(who->scope == "20130524/us-east-1/s3/aws4_request");
  HttpRequest nobody;
  nobody.method = "GET";
  nobody.target = "/";
  auto anonymous = check(nobody);
  REQUIRE(anonymous);
  EXPECT(anonymous->identity.anonymous);
}

TEST_CASE("any change to what was signed is noticed") {
  HttpRequest changed = get_object();
  changed.target = "/test.txt?x=1";
  EXPECT(refusal(changed) == "SignatureDoesNotMatch");
  changed = get_object();
  changed.method = "HEAD";
  EXPECT(refusal(changed) == "SignatureDoesNotMatch");
  changed = get_object();
  changed.headers[0].second = "bytes=0-10";
  EXPECT(refusal(changed) == "SignatureDoesNotMatch");
  changed.headers[0].second = "  bytes=0-9 ";  // spaces do not count
  EXPECT(refusal(changed) == "accepted");
  changed = get_object();
  changed.headers.emplace_back("x-amz-acl", "public-read");
  EXPECT(refusal(changed) == "AccessDenied");
}

TEST_CASE("clocks may differ by a quarter of an hour") {
  EXPECT(refusal(get_object(), "20130524T001500Z") == "accepted");
  EXPECT(refusal(get_object(), "20130523T234500Z") == "accepted");
  EXPECT(refusal(get_object(), "20130524T001501Z") == "RequestTimeTooSkewed");
  EXPECT(refusal(get_object(), "20130523T234459Z") == "RequestTimeTooSkewed");
}

TEST_CASE("another region is named with the right one") {
  FixedUsers users = aws_users();
  AuthSettings settings;
  settings.region = "eu-west-1";
  auto result = authenticate(get_object(), users, settings, at(kDate));
  REQUIRE_FALSE(result);
  EXPECT(result.error().detail == "AuthorizationHeaderMalformed");
  EXPECT(result.error().message ==
         "The authorization header is malformed; the region 'us-east-1' is wrong; expecting "
         "'eu-west-1'");
}

TEST_CASE("a header named twice cannot blow the canonical request up") {
  std::string names = "host";
  for (int i = 0; i < 5000; ++i) names += ";a";
  EXPECT(refusal(request("GET", "/", {{"x-amz-content-sha256", kEmpty}}, names, kEmpty)) ==
         "AuthorizationHeaderMalformed");
}

TEST_CASE("the documented presigned URL") {
  HttpRequest url;
  url.method = "GET";
  url.target =
      "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524"
      "%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&"
      "X-Amz-SignedHeaders=host&X-Amz-Signature="
      "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
  url.headers = {{"host", "examplebucket.s3.amazonaws.com"}};
  EXPECT(refusal(url) == "accepted");
  EXPECT(refusal(url, "20130525T000000Z") == "accepted");
  EXPECT(refusal(url, "20130525T000001Z") == "AccessDenied");
  EXPECT(refusal(url, "20130523T000000Z") == "AccessDenied");
  HttpRequest both = url;
  both.headers.emplace_back("authorization", "AWS4-HMAC-SHA256 Credential=x");
  EXPECT(refusal(both) == "InvalidArgument");
  HttpRequest longer = url;
  longer.target.replace(longer.target.find("86400"), 5, "604801");
  EXPECT(refusal(longer) == "AccessDenied");  // not the signature: the period is judged first
}

TEST_CASE("percent escapes") {
  EXPECT(*percent_decode("a%20b%2f+") == "a b/+");
  for (std::string_view bad : {"%", "%2", "%zz", "a%2"}) EXPECT_FALSE(percent_decode(bad));
  EXPECT(aws_uri_encode("a b/~*+", true) == "a%20b/~%2A%2B");
  EXPECT(aws_uri_encode("/", false) == "%2F");
  auto query = parse_query("a=1&b&c=x%20y+z&=");
  REQUIRE(query);
  EXPECT(query->at(1).second.empty());
  EXPECT(query->at(2).second == "x y z");
}

TEST_CASE("a URL presigned by Version 2, as AWS's documentation has it") {
  FixedUsers users = aws_users();
  HttpRequest get;
  get.method = "GET";
  get.target = "/photos/puppy.jpg?AWSAccessKeyId=" + std::string(kAwsAccessKey) +
               "&Expires=1175139620&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D";
  get.headers.emplace_back("host", "johnsmith.s3.amazonaws.com");
  AuthSettings settings;
  auto ask = [&](int64_t now_s) {
    auto who = authenticate(get, users, settings, WallTime{now_s * 1000});
    return who ? who->identity.access_key : who.error().detail;
  };
  EXPECT(ask(1175139620) == "SignatureDoesNotMatch");  // signed for the bucket of a host
  settings.host_bucket = "johnsmith";
  EXPECT(ask(1175139620) == kAwsAccessKey);
  EXPECT(ask(1175139621) == "AccessDenied");
}
