#include "base/core/limits.h"
#include "s3gw/ops/errors.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/names.h"
#include "s3gw/ops/text.h"
#include "s3gw/xml/xml.h"
#include "tests/unit/test.h"

using namespace covey;

TEST_CASE("XML reads back what was written, whatever the text") {
  XmlWriter xml("Delete");
  xml.element("Key", "a<b>&\"'ü\t");
  auto root = parse_xml(xml.take());
  REQUIRE(root.has_value());
  EXPECT(root->name == "Delete");
  EXPECT(root->child("Key")->text == "a<b>&\"'ü\t");
}

TEST_CASE("XML that only an attacker sends is refused") {
  std::string deep, wide = "<a>";
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  for (size_t i = 0; i <= kXmlNodesMax; ++i) wide += "<b/>";
  for (std::string bad :
       {std::string("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>"), std::string("<?php x?><a/>"),
        std::string("<a>"), std::string(), std::string("<a/>x"), deep, wide + "</a>"}) {
    auto root = parse_xml(bad);
    REQUIRE_FALSE(root.has_value());
    EXPECT(root.error().detail == "MalformedXML");
  }
  EXPECT(parse_xml(std::string(kXmlBodyBytesMax + 1, ' ')).is(ErrorCode::kTooLarge));
}

TEST_CASE("every error code of the layers below has an answer") {
  EXPECT(answer_of({ErrorCode::kConflict, {}, {}}, true).code == "ConditionalRequestConflict");
  EXPECT(answer_of({ErrorCode::kConflict, {}, {}}, false).status == 503);
  EXPECT(answer_of({ErrorCode::kNoSpace, {}, {}}, false).status == 507);
  EXPECT(answer_of({ErrorCode::kUnknownOutcome, {}, {}}, true).code == "ServiceUnavailable");
  EXPECT(answer_of({ErrorCode::kDenied, {}, "SignatureDoesNotMatch"}, false).status == 403);
  EXPECT(answer_of({ErrorCode::kDenied, {}, "no such code"}, false).code == "AccessDenied");
  // The table is sorted, or the first and last would not be found.
  for (auto code : {"AccessDenied", "NoSuchKey", "XAmzContentSHA256Mismatch", "KeyTooLongError"})
    EXPECT(find_s3_error(code).code == code);
}

TEST_CASE("dates") {
  WallTime time{1795234506000};
  EXPECT(iso8601(time) == "2026-11-21T04:15:06.000Z");
  EXPECT(parse_date("Sat, 21 Nov 2026 04:15:06 GMT") == time);
  EXPECT(parse_date("Saturday, 21-Nov-26 04:15:06 GMT") == time);
  EXPECT(parse_date("Sat Nov 21 04:15:06 2026") == time);
  EXPECT(parse_date("2026-11-21T04:15:06Z") == time);
  EXPECT_FALSE(parse_date("yesterday"));
  EXPECT(iso8601({951782400000}) == "2000-02-29T00:00:00.000Z");
}

TEST_CASE("ranges") {
  EXPECT(read_range("bytes=0-0")->last == 0);
  EXPECT(read_range("bytes=5-")->first == 5);
  EXPECT(read_range("bytes=-3")->suffix == 3);
  for (auto bad :
       {"bytes=", "bytes=-", "bytes=2-1", "bytes=a-b", "0-1", "bytes=0-1,3-4", "bytes=1"})
    EXPECT_FALSE(read_range(bad));
}

TEST_CASE("bucket names by AWS's rules") {
  for (auto good : {"abc", "a.b-c", "123", "my-bucket.2026"}) EXPECT(valid_bucket_name(good));
  for (auto bad :
       {"ab", "Abc", "a_b", "-ab", "ab-", "a..b", "192.168.5.4", "xn--abc", "ab-s3alias"})
    EXPECT_FALSE(valid_bucket_name(bad));
  EXPECT_FALSE(valid_bucket_name(std::string(64, 'a')));
}

TEST_CASE("tags, ETags, encodings") {
  auto tags = parse_tag_header("a=1&b=c%20d+e");
  REQUIRE(tags.has_value());
  EXPECT(tags->at("b") == "c d e");
  EXPECT_FALSE(parse_tag_header("a=1&a=2").has_value());
  EXPECT_FALSE(parse_tag_header("a=%2").has_value());
  EXPECT(unquote_etag(" W/\"x\" ") == "x");
  std::string out;
  append_url_encoded(out, "a b+c/ü");
  EXPECT(out == "a%20b%2Bc/%C3%BC");
  EXPECT(is_utf8("ü€😀"));
  for (auto bad : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xe2\x82", "\xf4\x90\x80\x80"})
    EXPECT_FALSE(is_utf8(bad));
}
