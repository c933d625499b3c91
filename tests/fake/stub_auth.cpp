// Stand-in for s3gw/auth until it lands: believes every access key, verifies nothing.
#include <openssl/evp.h>

#include "base/core/ids.h"
#include "s3gw/auth/auth.h"
#include "s3gw/ops/text.h"
#include "store/meta/kv.h"

#define WEAK __attribute__((weak))

namespace covey {

WEAK void WriteBatch::put(std::string key, std::string value) {
  ops_.push_back({std::move(key), std::move(value)});
}
WEAK Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return fail(ErrorCode::kInvalid);
    auto byte = hex_decode(text.substr(i + 1, 2));
    if (!byte) return fail(ErrorCode::kInvalid);
    out += *byte;
    i += 2;
  }
  return out;
}
WEAK Result<QueryParams> parse_query(std::string_view q) {
  QueryParams out;
  while (!q.empty()) {
    size_t end = q.find('&');
    std::string_view pair = q.substr(0, end);
    q = end == std::string_view::npos ? "" : q.substr(end + 1);
    size_t eq = pair.find('=');
    std::string value(eq == std::string_view::npos ? "" : pair.substr(eq + 1));
    for (char& c : value)
      if (c == '+') c = ' ';
    TRY(std::string k, percent_decode(pair.substr(0, eq)));
    TRY(std::string v, percent_decode(value));
    out.emplace_back(k, v);
  }
  return out;
}
WEAK std::string aws_uri_encode(std::string_view text, bool) {
  std::string out;
  append_url_encoded(out, text);
  return out;
}
WEAK Result<Authenticated> authenticate(const HttpRequest& request, const Users& users,
                                        const AuthSettings&, WallTime) {
  Authenticated who;
  std::string text(request.header("authorization").value_or(""));
  size_t at = text.find("Credential=");
  if (at == std::string::npos) {
    text = request.target;
    at = text.find("X-Amz-Credential=");
    if (at == std::string::npos) return who;
    at += 6;
  }
  at += 11;
  std::string access = text.substr(at, text.find_first_of("/%", at) - at);
  auto key = users.find(access);
  if (!key) return fail(ErrorCode::kDenied, "", "InvalidAccessKeyId");
  who.identity = {false, access, key->user_id, key->display_name, key->create_buckets};
  return who;
}

namespace {
class Whole : public BodySource {
 public:
  Whole(HttpRequest& r, std::string checksum) : r_(r), checksum_(std::move(checksum)) {}
  int64_t declared_bytes() const override { return -1; }
  Task<Result<Blob>> next(size_t max) override {
    if (!loaded_) {
      CO_TRY_STATUS(co_await load());
    }
    size_t take = std::min(max, bytes_.size() - at_);
    at_ += take;
    co_return Blob::copy(std::string_view(bytes_).substr(at_ - take, take));
  }
  Task<Result<BodyDigests>> finish() override {
    BodyDigests d;
    unsigned char raw[64];
    unsigned n = 0;
    EVP_Digest(bytes_.data(), bytes_.size(), raw, &n, EVP_md5(), nullptr);
    d.md5.assign(reinterpret_cast<char*>(raw), n);
    d.etag = hex_encode(d.md5);
    for (auto& [k, v] : r_.headers)
      if (k.starts_with("x-amz-checksum-") && k != "x-amz-checksum-type" &&
          k != "x-amz-checksum-mode" && k != "x-amz-checksum-algorithm")
        d.checksum = {upper(k.substr(15)), v, true};
    if (!trailer_.empty()) {
      size_t c = trailer_.find(':');
      d.checksum = {upper(trailer_.substr(15, c - 15)), trailer_.substr(c + 1), true};
    }
    if (d.checksum.algorithm.empty() && !checksum_.empty())
      d.checksum = {checksum_, "AAAAAA==", true};
    co_return d;
  }
  Task<Status> load() {
    std::string raw;
    while (true) {
      CO_TRY(Blob b, co_await r_.body->next(1 << 20));
      if (b.empty()) break;
      raw += b.view();
    }
    loaded_ = true;
    if (!r_.header("x-amz-content-sha256").value_or("").starts_with("STREAMING")) {
      bytes_ = std::move(raw);
      co_return Status();
    }
    size_t p = 0;
    while (true) {
      size_t nl = raw.find("\r\n", p);
      if (nl == std::string::npos) co_return fail(ErrorCode::kIncompleteBody);
      size_t n = std::stoul(raw.substr(p, nl - p), nullptr, 16);
      p = nl + 2;
      if (n == 0) break;
      bytes_ += raw.substr(p, n);
      p += n + 2;
    }
    size_t t = raw.find("x-amz-checksum-", p);
    if (t != std::string::npos) trailer_ = raw.substr(t, raw.find("\r\n", t) - t);
    co_return Status();
  }
  std::string bytes_;

 private:
  static std::string upper(std::string s) {
    for (char& c : s)
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    return s;
  }
  HttpRequest& r_;
  std::string checksum_, trailer_;
  size_t at_ = 0;
  bool loaded_ = false;
};
}  // namespace

WEAK Result<std::unique_ptr<BodySource>> open_body(HttpRequest& request, const Authenticated&,
                                                   std::string checksum, Pool&) {
  return std::unique_ptr<BodySource>(std::make_unique<Whole>(request, std::move(checksum)));
}
WEAK Task<Result<std::string>> read_small_body(HttpRequest& request, Authenticated, size_t, Pool&) {
  Whole whole(request, "");
  CO_TRY_STATUS(co_await whole.load());
  co_return whole.bytes_;
}
WEAK Result<Identity> authenticate_post(const PostForm& form, const Users& users,
                                        const AuthSettings&, WallTime) {
  auto it = form.fields.find("x-amz-credential");
  std::string access = it == form.fields.end() ? "" : it->second.substr(0, it->second.find('/'));
  if (auto a = form.fields.find("awsaccesskeyid"); a != form.fields.end()) access = a->second;
  Identity who;
  if (access.empty()) return who;
  auto key = users.find(access);
  if (!key) return fail(ErrorCode::kDenied, "", "InvalidAccessKeyId");
  return Identity{false, access, key->user_id, key->display_name, key->create_buckets};
}
WEAK Result<PostLimits> check_post_policy(const PostForm&, WallTime) { return PostLimits(); }

}  // namespace covey
