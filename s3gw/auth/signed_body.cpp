// open_body(): the body of a PUT, unframed and hashed while it flows. A piece is hashed on the pool
// while the next one is read and this one is stored; MD5 and SHA-256 run apart. Small bodies are
// hashed where they are: a hop to the pool would cost more.
#include <sodium.h>

#include <algorithm>
#include <memory>

#include "base/async/event.h"
#include "base/core/ids.h"
#include "base/core/limits.h"
#include "s3gw/auth/auth.h"
#include "s3gw/auth/chunked.h"
#include "s3gw/auth/digests.h"
#include "s3gw/auth/sigv4.h"

namespace covey {
namespace {

constexpr size_t kInlineHashBytesMax = 32 * kKiB;
constexpr size_t kInlineChunksMax = 16;  // each is a signature

constexpr std::pair<const char*, const char*> kChecksumHeaders[] = {
    {"x-amz-checksum-crc32", "CRC32"},
    {"x-amz-checksum-crc32c", "CRC32C"},
    {"x-amz-checksum-crc64nvme", "CRC64NVME"},
    {"x-amz-checksum-sha1", "SHA1"},
    {"x-amz-checksum-sha256", "SHA256"}};

tl::unexpected<Error> invalid(std::string message, std::string code = "InvalidRequest") {
  return fail(ErrorCode::kInvalid, std::move(message), std::move(code));
}

// What the client says its body is.
struct Expected {
  Authenticated who;
  int64_t bytes = -1;
  std::string md5;        // raw, or empty
  std::string algorithm;  // checksum to compute, or empty
  std::string checksum;   // base64 from a header, or empty
  std::string trailer;    // name of the trailer that will carry it
};

// The digests, shared by the source and the jobs on the pool. Only one job of each touches its
// digests at a time.
struct Hashes {
  explicit Hashes(const Expected& expected) : expect(expected), md5(DigestKind::kMd5) {
    if (auto kind = checksum_kind(expected.algorithm)) checksum.emplace(*kind);
    if (expected.who.payload == Payload::kSigned || signed_chunks())
      sha256.emplace(DigestKind::kSha256);
    previous = expected.who.seed_signature;
  }
  bool signed_chunks() const {
    return expect.who.payload == Payload::kStreaming ||
           expect.who.payload == Payload::kStreamingTrailer;
  }
  void update_md5(const Blob& piece) { md5.update(piece.view()); }
  void update_others(const Blob& piece, const std::vector<AwsChunkedDecoder::ChunkEnd>& ends) {
    if (checksum) checksum->update(piece.view());
    if (!sha256) return;
    size_t at = 0;
    for (const auto& end : ends) {
      if (!signed_chunks()) break;
      sha256->update(piece.view().substr(at, end.at - at));
      at = end.at;
      std::string to_sign = "AWS4-HMAC-SHA256-PAYLOAD\n" + expect.who.date + "\n" +
                            expect.who.scope + "\n" + previous + "\n" +
                            std::string(sigv4::kEmptySha256) + "\n" + hex_encode(sha256->finish());
      previous = sigv4::hmac_hex(expect.who.signing_key, to_sign);
      if (!sigv4::equal(previous, end.signature)) bad_signature = true;
    }
    sha256->update(piece.view().substr(at));
  }

  const Expected expect;
  Digest md5;
  std::optional<Digest> sha256, checksum;
  std::string previous;        // signature of the chunk before
  bool bad_signature = false;  // read after the jobs are done
  int jobs = 0;                // on the pool now; loop thread only
  Event idle;
};

class SignedBody : public BodySource {
 public:
  SignedBody(HttpBody& body, Expected expected, Pool& cpu)
      : body_(body), hashes_(std::make_shared<Hashes>(expected)), cpu_(cpu) {
    const Authenticated& who = hashes_->expect.who;
    if (who.payload != Payload::kUnsigned && who.payload != Payload::kSigned) {
      decoder_ = std::make_unique<AwsChunkedDecoder>(hashes_->signed_chunks());
    }
  }

  int64_t declared_bytes() const override { return hashes_->expect.bytes; }

  Task<Result<Blob>> next(size_t max_bytes) override {
    std::vector<AwsChunkedDecoder::ChunkEnd> ends;
    // Not `a ? co_await b : co_await c`: GCC 12 destroys the result twice.
    Result<Blob> piece = Blob();
    if (decoder_) {
      piece = co_await next_decoded(max_bytes, ends);
    } else {
      piece = co_await next_plain(max_bytes);
    }
    if (!piece) co_return piece;
    received_ += piece->size();
    MemoryLease lease = take_lease();  // the hashes may be the last to use the piece
    lease.shrink(piece->size());
    *piece = leased(std::move(*piece), std::move(lease));
    int64_t declared = hashes_->expect.bytes;
    if (declared >= 0 && received_ > static_cast<uint64_t>(declared)) {
      co_return fail(ErrorCode::kIncompleteBody, "the body is longer than it was declared",
                     "IncompleteBody");
    }
    if (!piece->empty() || !ends.empty()) co_await hash(*piece, std::move(ends));
    co_return piece;
  }

  Task<Result<BodyDigests>> finish() override {
    co_await hashes_idle();
    Hashes& h = *hashes_;
    if (decoder_ && !decoder_->done()) {
      co_return fail(ErrorCode::kIncompleteBody, "the aws-chunked body has no last chunk",
                     "IncompleteBody");
    }
    if (h.expect.bytes >= 0 && received_ != static_cast<uint64_t>(h.expect.bytes)) {
      co_return fail(
          ErrorCode::kIncompleteBody,
          "You did not provide the number of bytes specified by the Content-Length HTTP header",
          "IncompleteBody");
    }
    if (h.bad_signature) co_return bad_signature();
    if (h.expect.who.payload == Payload::kSigned &&
        hex_encode(h.sha256->finish()) != h.expect.who.payload_sha256) {
      co_return invalid(
          "The provided 'x-amz-content-sha256' header does not match what was computed.",
          "XAmzContentSHA256Mismatch");
    }
    std::string checksum = h.expect.checksum;
    if (decoder_) {
      CO_TRY(checksum, read_trailers());
    }
    BodyDigests digests;
    digests.md5 = h.md5.finish();
    digests.etag = hex_encode(digests.md5);
    if (!h.expect.md5.empty() && h.expect.md5 != digests.md5) {
      co_return fail(ErrorCode::kBadDigest,
                     "The Content-MD5 you specified did not match what we received.", "BadDigest");
    }
    if (h.checksum) {
      digests.checksum = {h.expect.algorithm, base64_encode(h.checksum->finish()), true};
      if (!checksum.empty() && checksum != digests.checksum.value) {
        co_return fail(
            ErrorCode::kBadDigest,
            "The " + h.expect.algorithm + " you specified did not match the calculated checksum.",
            "BadDigest");
      }
    }
    co_return digests;
  }

 private:
  static tl::unexpected<Error> bad_signature() {
    return fail(ErrorCode::kDenied,
                "The request signature we calculated does not match the signature you provided.",
                "SignatureDoesNotMatch");
  }

  // Exactly `max_bytes` but at the end: blocks are stored as they come from here.
  Task<Result<Blob>> next_plain(size_t max_bytes) {
    CO_TRY(Blob first, co_await body_.next(max_bytes));
    int64_t left = hashes_->expect.bytes - static_cast<int64_t>(received_) -
                   static_cast<int64_t>(first.size());
    if (first.empty() || first.size() == max_bytes || (hashes_->expect.bytes >= 0 && left <= 0))
      co_return first;
    std::string whole;
    whole.reserve(hashes_->expect.bytes >= 0
                      ? std::min<size_t>(max_bytes, first.size() + static_cast<size_t>(
                                                                       std::max<int64_t>(left, 0)))
                      : max_bytes);
    whole.append(first.view());
    while (whole.size() < max_bytes) {
      CO_TRY(Blob more, co_await body_.next(max_bytes - whole.size()));
      if (more.empty()) break;
      whole.append(more.view());
    }
    co_return Blob::own(std::move(whole));
  }

  Task<Result<Blob>> next_decoded(size_t max_bytes,
                                  std::vector<AwsChunkedDecoder::ChunkEnd>& ends) {
    std::string whole;
    int64_t left = hashes_->expect.bytes < 0
                       ? static_cast<int64_t>(max_bytes)
                       : hashes_->expect.bytes - static_cast<int64_t>(received_);
    whole.reserve(std::min<size_t>(max_bytes, static_cast<size_t>(std::max<int64_t>(left, 0))));
    while (whole.size() < max_bytes) {
      // Framing comes on top of the data, so a read may give a little less data than asked for,
      // never more.
      CO_TRY(Blob raw, co_await body_.next(max_bytes - whole.size()));
      if (raw.empty()) break;
      CO_TRY_STATUS(decoder_->feed(raw.view(), whole, ends));
    }
    co_return Blob::own(std::move(whole));
  }

  Task<void> hashes_idle() {
    while (hashes_->jobs > 0) {
      hashes_->idle.reset();
      co_await hashes_->idle.wait();
    }
  }

  Task<void> hash(Blob piece, std::vector<AwsChunkedDecoder::ChunkEnd> ends) {
    co_await hashes_idle();  // of the piece before
    Hashes& h = *hashes_;
    if (piece.size() <= kInlineHashBytesMax && ends.size() <= kInlineChunksMax) {
      h.update_md5(piece);
      h.update_others(piece, ends);
      co_return;
    }
    auto done = [shared = hashes_] {
      if (--shared->jobs == 0) shared->idle.set();
    };
    ++h.jobs;
    cpu_.submit([shared = hashes_, piece] { shared->update_md5(piece); }, done);
    if (!h.sha256 && !h.checksum) co_return;
    ++h.jobs;
    cpu_.submit(
        [shared = hashes_, piece, ends = std::move(ends)] { shared->update_others(piece, ends); },
        done);
  }

  // The checksum that came in the trailer, if one was announced.
  Result<std::string> read_trailers() {
    Hashes& h = *hashes_;
    std::string checksum = h.expect.checksum, text, signature;
    for (const auto& [name, value] : decoder_->trailers()) {
      if (name == "x-amz-trailer-signature") {
        signature = value;
        continue;
      }
      text.append(name).append(":").append(value).append("\n");
      if (name == h.expect.trailer) checksum = value;
    }
    if (h.expect.who.payload == Payload::kStreamingTrailer) {
      std::string to_sign = "AWS4-HMAC-SHA256-TRAILER\n" + h.expect.who.date + "\n" +
                            h.expect.who.scope + "\n" + h.previous + "\n" + sigv4::sha256_hex(text);
      if (!sigv4::equal(sigv4::hmac_hex(h.expect.who.signing_key, to_sign), signature))
        return bad_signature();
    }
    if (!h.expect.trailer.empty() && checksum.empty()) {
      return fail(ErrorCode::kInvalid, "The trailer announced by x-amz-trailer did not come",
                  "MalformedTrailerError");
    }
    auto kind = checksum_kind(h.expect.algorithm);
    if (!checksum.empty() && kind && !base64_decode(checksum, digest_bytes(*kind))) {
      return invalid("Value for " + h.expect.trailer + " trailing header is invalid.");
    }
    return checksum;
  }

  HttpBody& body_;
  std::shared_ptr<Hashes> hashes_;
  Pool& cpu_;
  std::unique_ptr<AwsChunkedDecoder> decoder_;
  uint64_t received_ = 0;
};

Result<int64_t> parse_length(std::string_view text) {
  int64_t value = 0;
  if (text.empty() || text.size() > 18)
    return invalid("a length is not a number", "InvalidArgument");
  for (char c : text) {
    if (c < '0' || c > '9') return invalid("a length is not a number", "InvalidArgument");
    value = value * 10 + (c - '0');
  }
  return value;
}

// The checksum a client sends, as a header or announced as a trailer.
Status read_checksum(const HttpRequest& request, Expected& expected) {
  for (const auto& [header, algorithm] : kChecksumHeaders) {
    auto value = request.header(header);
    if (!value) continue;
    if (!expected.checksum.empty())
      return invalid(
          "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.");
    if (!base64_decode(*value, digest_bytes(*checksum_kind(algorithm)))) {
      return invalid("Value for " + std::string(header) + " header is invalid.");
    }
    expected.algorithm = algorithm;
    expected.checksum = std::string(*value);
  }
  auto trailer = request.header("x-amz-trailer");
  if (trailer) {
    std::string name(*trailer);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    auto known = std::find_if(std::begin(kChecksumHeaders), std::end(kChecksumHeaders),
                              [&](const auto& entry) { return name == entry.first; });
    if (known == std::end(kChecksumHeaders))
      return invalid("The value specified in the x-amz-trailer header is not supported");
    if (!expected.checksum.empty())
      return invalid(
          "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.");
    expected.trailer = name;
    expected.algorithm = known->second;
  }
  auto announced = request.header("x-amz-sdk-checksum-algorithm");
  if (announced) {
    std::string name(*announced);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    if (!checksum_kind(name))
      return invalid(
          "Checksum algorithm provided is unsupported. Please try again with any of the valid "
          "types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]");
    if (expected.algorithm.empty()) {
      return invalid(
          "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or "
          "x-amz-trailer headers were found.");
    }
    if (name != expected.algorithm)
      return invalid("Value for x-amz-sdk-checksum-algorithm header is invalid.");
  }
  return {};
}

Result<Expected> read_expected(const HttpRequest& request, const Authenticated& who) {
  Expected expected;
  expected.who = who;
  bool framed = who.payload != Payload::kUnsigned && who.payload != Payload::kSigned;
  if (framed) {
    auto decoded = request.header("x-amz-decoded-content-length");
    if (!decoded)
      return invalid("You must provide the Content-Length HTTP header.", "MissingContentLength");
    TRY(expected.bytes, parse_length(*decoded));
  } else {
    if (request.content_length < 0 && !request.chunked) {
      return invalid("You must provide the Content-Length HTTP header.", "MissingContentLength");
    }
    expected.bytes = request.content_length;
  }
  if (auto md5 = request.header("content-md5")) {
    auto raw = base64_decode(*md5, 16);
    if (!raw) return invalid("The Content-MD5 you specified was invalid.", "InvalidDigest");
    expected.md5 = *raw;
  }
  TRY_STATUS(read_checksum(request, expected));
  bool trailers =
      who.payload == Payload::kStreamingTrailer || who.payload == Payload::kUnsignedTrailer;
  if (!trailers && !expected.trailer.empty())
    return invalid("x-amz-trailer needs a payload with a trailer");
  return expected;
}

}  // namespace

Result<std::unique_ptr<BodySource>> open_body(HttpRequest& request, const Authenticated& who,
                                              std::string default_checksum, Pool& cpu) {
  TRY(Expected expected, read_expected(request, who));
  if (expected.algorithm.empty()) expected.algorithm = std::move(default_checksum);
  return std::unique_ptr<BodySource>(
      std::make_unique<SignedBody>(*request.body, std::move(expected), cpu));
}

Task<Result<std::string>> read_small_body(HttpRequest& request, Authenticated who, size_t max_bytes,
                                          Pool& cpu) {
  if (request.content_length > static_cast<int64_t>(max_bytes)) {
    co_return fail(ErrorCode::kTooLarge, "the body is too large for this request",
                   "MaxMessageLengthExceeded");
  }
  Expected expected;
  if (request.content_length < 0 && !request.chunked) {
    HttpRequest empty;  // no body at all is an empty one here
    empty.headers = request.headers;
    empty.content_length = 0;
    CO_TRY(expected, read_expected(empty, who));
  } else {
    CO_TRY(expected, read_expected(request, who));
  }
  SignedBody body(*request.body, std::move(expected), cpu);
  std::string text;
  while (true) {
    CO_TRY(Blob piece, co_await body.next(64 * kKiB));
    if (piece.empty()) break;
    if (text.size() + piece.size() > max_bytes) {
      co_return fail(ErrorCode::kTooLarge, "the body is too large for this request",
                     "MaxMessageLengthExceeded");
    }
    text.append(piece.view());
  }
  CO_TRY(BodyDigests digests, co_await body.finish());
  co_return text;
}

}  // namespace covey
