// open_body(): plain, signed and chunked bodies, with AWS's examples of chunk signatures.
#include <memory>

#include "s3gw/auth/auth.h"
#include "tests/unit/auth/requests.h"
#include "tests/unit/test.h"

using namespace covey;
using namespace covey::testing;

namespace {

struct Upload {
  HttpRequest request;
  Authenticated who;
  std::string body;
};

constexpr char kDate[] = "20130524T000000Z";

Upload upload(std::string payload, std::string names, std::string signature,
              std::vector<std::pair<std::string, std::string>> headers, std::string body) {
  Upload out;
  out.request.method = "PUT";
  out.request.target = "/examplebucket/chunkObject.txt";
  out.request.headers = std::move(headers);
  out.request.headers.emplace_back("host", "s3.amazonaws.com");
  out.request.headers.emplace_back("x-amz-date", kDate);
  out.request.headers.emplace_back("x-amz-content-sha256", std::move(payload));
  out.request.headers.emplace_back("x-amz-storage-class", "REDUCED_REDUNDANCY");
  out.request.headers.emplace_back("content-encoding", "aws-chunked");
  out.request.headers.emplace_back("x-amz-decoded-content-length", "66560");
  out.request.headers.emplace_back(
      "authorization",
      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
      "SignedHeaders=" +
          names + ",Signature=" + signature);
  out.request.content_length = static_cast<int64_t>(body.size());
  out.body = std::move(body);
  FixedUsers users = aws_users();
  auto who = authenticate(out.request, users, AuthSettings{}, at(kDate));
  INFO((who ? std::string() : to_string(who.error())));
  REQUIRE(who);
  out.who = *who;
  return out;
}

std::string chunk(size_t size, const std::string& signature) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string digits;
  for (size_t n = size; n != 0; n /= 16) digits.insert(digits.begin(), kHex[n % 16]);
  if (digits.empty()) digits = "0";
  std::string text = digits + ";chunk-signature=" + signature + "\r\n";
  if (size > 0) text += std::string(size, 'a') + "\r\n";
  return text;
}

// The documentation's "upload 65 KB in chunks of 64 KB".
Upload aws_chunked() {
  std::string body =
      chunk(65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648") +
      chunk(1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497") +
      chunk(0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9") + "\r\n";
  return upload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
                "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"
                "x-amz-decoded-content-length;x-amz-storage-class",
                "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
                {{"content-length", "66824"}}, body);
}

// The same with a CRC32C in a signed trailer.
Upload aws_trailer(const std::string& line_end = "\r\n") {
  std::string body =
      chunk(65536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2") +
      chunk(1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7") +
      chunk(0, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992") +
      "x-amz-checksum-crc32c:sOO8/Q==" + line_end +
      "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
      "\r\n\r\n";
  return upload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
                "content-encoding;host;x-amz-content-sha256;x-amz-date;"
                "x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
                "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
                {{"x-amz-trailer", "x-amz-checksum-crc32c"}}, body);
}

Result<Read> receive(Upload& upload, size_t piece, size_t max_bytes = 1 << 20) {
  TextBody body(upload.body, piece);
  InlinePool pool;
  upload.request.body = &body;
  auto source = open_body(upload.request, upload.who, "", pool);
  if (!source) return fail(source.code(), source.error().message, source.error().detail);
  return run(read_all(**source, max_bytes));
}
std::string refusal(Upload upload, size_t piece = 777) {
  auto read = receive(upload, piece);
  return read ? "accepted" : read.error().detail;
}

Upload plain(std::string body, std::vector<std::pair<std::string, std::string>> headers) {
  Upload out;
  out.request.headers = std::move(headers);
  out.request.content_length = static_cast<int64_t>(body.size());
  out.body = std::move(body);
  return out;
}

}  // namespace

TEST_CASE("AWS's chunk signatures verify, however the bytes are cut") {
  for (size_t piece : {1u, 7u, 4096u, 65537u, 1u << 20}) {
    for (size_t max_bytes : {1000u, 65536u, 1u << 20}) {
      Upload upload = aws_chunked();
      auto read = receive(upload, piece, max_bytes);
      REQUIRE(read);
      EXPECT(read->bytes == std::string(66560, 'a'));
    }
  }
}

TEST_CASE("AWS's signed trailer verifies, with either line end") {
  for (const char* line_end : {"\r\n", "\n\r\n"}) {
    Upload upload = aws_trailer(line_end);
    auto read = receive(upload, 1000);
    INFO((read ? std::string() : to_string(read.error())));
    REQUIRE(read);
    EXPECT(read->digests.checksum.algorithm == "CRC32C");
    EXPECT(read->digests.checksum.value == "sOO8/Q==");
  }
}

TEST_CASE("a changed byte or signature is found in every chunk and in the trailer") {
  for (size_t at : {100u, 66000u}) {
    Upload changed = aws_chunked();
    changed.body[at] = 'b';
    EXPECT(refusal(changed) == "SignatureDoesNotMatch");
  }
  Upload changed = aws_chunked();
  changed.body[changed.body.rfind("b6c6")] = 'a';
  EXPECT(refusal(changed) == "SignatureDoesNotMatch");
  changed = aws_trailer();
  changed.body[changed.body.rfind("d81f")] = 'e';
  EXPECT(refusal(changed) == "SignatureDoesNotMatch");
}

TEST_CASE("a chunked body cut anywhere is incomplete") {
  const Upload whole = aws_trailer();
  size_t size = whole.body.size();
  for (size_t keep = size - 1; keep > size - 400; --keep) {
    Upload cut = whole;
    cut.body.resize(keep);
    CAPTURE(size - keep);
    EXPECT(refusal(cut) == "IncompleteBody");
  }
}

TEST_CASE("digests in headers") {
  EXPECT(refusal(plain("hello", {{"content-md5", "XUFAKrxLKna5cZ2REBfFkg=="}})) == "accepted");
  EXPECT(refusal(plain("hellO", {{"content-md5", "XUFAKrxLKna5cZ2REBfFkg=="}})) == "BadDigest");
  EXPECT(refusal(plain("hello", {{"content-md5", "XUFAKrxLKna5cZ2REBfFkg"}})) == "InvalidDigest");
  EXPECT(refusal(plain("hello", {{"x-amz-checksum-crc32", "NhCmhg=="}})) == "accepted");
  EXPECT(refusal(plain("hellO", {{"x-amz-checksum-crc32", "NhCmhg=="}})) == "BadDigest");
  EXPECT(refusal(plain("hello", {{"x-amz-checksum-crc32", "NhCmhg="}})) == "InvalidRequest");
  EXPECT(refusal(plain("hello", {{"x-amz-checksum-crc32", "NhCmhg=="},
                                 {"x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00="}})) ==
         "InvalidRequest");
  EXPECT(refusal(plain("hello", {{"x-amz-sdk-checksum-algorithm", "SHA1"},
                                 {"x-amz-checksum-crc32", "NhCmhg=="}})) == "InvalidRequest");
}

TEST_CASE("a signed payload is what was signed") {
  Upload upload = plain("hello", {});
  upload.who.payload = Payload::kSigned;
  upload.who.payload_sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
  EXPECT(refusal(upload) == "accepted");
  upload.body = "hellO";
  EXPECT(refusal(upload) == "XAmzContentSHA256Mismatch");
}

TEST_CASE("a large plain body comes in the sizes that were asked for") {
  std::string bytes(3'000'001, 'x');
  Upload upload = plain(bytes, {});
  auto read = receive(upload, 65536, 1 << 20);
  REQUIRE(read);
  EXPECT(read->bytes == bytes);
  EXPECT(read->digests.etag.size() == 32);
}

TEST_CASE("a small body has a limit") {
  InlinePool pool;
  for (bool chunked : {false, true}) {
    TextBody body(std::string(5000, 'x'), 100);
    HttpRequest request;
    request.body = &body;
    request.chunked = chunked;
    request.content_length = chunked ? -1 : 5000;
    auto text = run(read_small_body(request, Authenticated{}, 4999, pool));
    EXPECT(text.is(ErrorCode::kTooLarge));
  }
}
