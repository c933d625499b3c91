#include "s3gw/http/parser.h"

#include <strings.h>

#include <algorithm>

#include "base/core/limits.h"

namespace covey {
namespace {

constexpr size_t kHeadBytesMax = kHttpUrlBytesMax + kHttpHeaderBytesMax + 256;

// What llhttp accepts or joins, but others read in another way.
const char* ambiguous(std::string_view head) {
  for (size_t i = 0; i < head.size(); ++i) {
    unsigned char c = static_cast<unsigned char>(head[i]);
    if (c >= 0x20 && c != 0x7f) continue;
    if (c == '\t') continue;
    if (c == '\r') {
      if (i + 1 == head.size() || head[i + 1] != '\n') return "a bare CR";
      if (i + 2 < head.size() && (head[i + 2] == ' ' || head[i + 2] == '\t'))
        return "a folded header";
      ++i;
      continue;
    }
    return c == '\n' ? "a bare LF" : "a control character";
  }
  return nullptr;
}

// "METHOD target VERSION", single spaces, nothing else: llhttp lets more pass.
bool exact_request_line(std::string_view line) {
  size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == 0 || last <= first + 1) return false;
  std::string_view target = line.substr(first + 1, last - first - 1);
  return last + 1 < line.size() && target.find_first_of(" \t") == std::string_view::npos;
}

void append(std::string& to, const char* at, size_t size) { to.append(at, size); }

}  // namespace

struct HttpParser::Callbacks {
  static HttpParser& self(llhttp_t* p) { return *static_cast<HttpParser*>(p->data); }

  static int url(llhttp_t* p, const char* at, size_t size) {
    append(self(p).request_.target, at, size);
    return 0;
  }
  static int field(llhttp_t* p, const char* at, size_t size) {
    HttpParser& me = self(p);
    if (me.in_value_) flush(me);
    append(me.name_, at, size);
    return 0;
  }
  static int value(llhttp_t* p, const char* at, size_t size) {
    HttpParser& me = self(p);
    me.in_value_ = true;
    append(me.value_, at, size);
    return 0;
  }
  static int value_complete(llhttp_t* p) {
    HttpParser& me = self(p);
    me.in_value_ = true;
    return 0;
  }
  static int headers_complete(llhttp_t* p) {
    HttpParser& me = self(p);
    if (me.in_value_) flush(me);
    me.head_parsed_ = true;
    me.keep_alive_ = llhttp_should_keep_alive(p) != 0;
    me.request_.method = llhttp_method_name(static_cast<llhttp_method_t>(p->method));
    me.request_.chunked = (p->flags & F_CHUNKED) != 0;
    if (p->flags & F_CONTENT_LENGTH)
      me.request_.content_length = static_cast<int64_t>(p->content_length);
    return HPE_PAUSED;  // the body does not go through llhttp
  }
  static void flush(HttpParser& me) {
    std::transform(me.name_.begin(), me.name_.end(), me.name_.begin(), [](unsigned char c) {
      return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    });
    while (!me.value_.empty() && (me.value_.back() == ' ' || me.value_.back() == '\t'))
      me.value_.pop_back();
    me.request_.headers.emplace_back(std::move(me.name_), std::move(me.value_));
    me.name_.clear();
    me.value_.clear();
    me.in_value_ = false;
  }
  static const llhttp_settings_t& settings() {
    static const llhttp_settings_t shared = [] {
      llhttp_settings_t s;
      llhttp_settings_init(&s);
      s.on_url = url;
      s.on_header_field = field;
      s.on_header_value = value;
      s.on_header_value_complete = value_complete;
      s.on_headers_complete = headers_complete;
      return s;
    }();
    return shared;
  }
};

HttpParser::HttpParser() {
  llhttp_init(&parser_, HTTP_REQUEST, &Callbacks::settings());
  parser_.data = this;
}

void HttpParser::reset() {
  llhttp_init(&parser_, HTTP_REQUEST, &Callbacks::settings());
  parser_.data = this;
  state_ = State::kHead;
  head_.clear();
  request_ = HttpRequest();
  name_.clear();
  value_.clear();
  in_value_ = head_parsed_ = keep_alive_ = expects_continue_ = false;
  chunks_ = ChunkedDecoder();
  left_ = 0;
}

void HttpParser::fail_with(int status, std::string why) {
  state_ = State::kFailed;
  refuse_status_ = status;
  refuse_why_ = std::move(why);
}

size_t HttpParser::feed(std::string_view bytes, BodySink& sink) {
  if (state_ == State::kHead) return feed_head(bytes);
  if (state_ == State::kBody) return feed_body(bytes, sink);
  return 0;
}

size_t HttpParser::feed_head(std::string_view bytes) {
  size_t skipped = 0;
  if (head_.empty()) {  // empty lines before a request are allowed
    while (bytes.size() >= 2 && bytes[0] == '\r' && bytes[1] == '\n') {
      bytes.remove_prefix(2);
      skipped += 2;
    }
    size_t end = bytes.find("\r\n\r\n");
    if (end != std::string_view::npos && end + 4 <= kHeadBytesMax) {
      parse_head(bytes.substr(0, end + 4));
      return skipped + end + 4;
    }
  }
  size_t before = head_.size();
  head_.append(bytes.substr(0, kHeadBytesMax + 1 - std::min(before, kHeadBytesMax + 1)));
  size_t blank = 0;  // an empty line that came in two reads
  for (; head_.starts_with("\r\n"); blank += 2) head_.erase(0, 2);
  size_t end = head_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
  if (end != std::string::npos) {
    std::string head = head_.substr(0, end + 4);
    parse_head(head);
    return skipped + blank + end + 4 - before;
  }
  if (head_.size() > kHeadBytesMax) {
    bool in_line = head_.find("\r\n") == std::string::npos;
    fail_with(in_line ? 414 : 431,
              in_line ? "the request line is too long" : "the headers are too long");
  } else if (head_.find('\n') != std::string::npos && head_.find("\r\n") == std::string::npos) {
    fail_with(400, "a bare LF");
  }
  return skipped + bytes.size();
}

bool HttpParser::parse_head(std::string_view head) {
  if (const char* what = ambiguous(head)) return fail_with(400, what), false;
  size_t line = head.find("\r\n");
  if (line > kHttpUrlBytesMax) return fail_with(414, "the request line is too long"), false;
  if (head.size() - line > kHttpHeaderBytesMax)
    return fail_with(431, "the headers are too long"), false;
  if (!exact_request_line(head.substr(0, line)))
    return fail_with(400, "a malformed request line"), false;
  llhttp_errno_t result = llhttp_execute(&parser_, head.data(), head.size());
  head_.clear();
  if (result == HPE_PAUSED_UPGRADE || parser_.upgrade)
    return fail_with(501, "this method or upgrade is not supported"), false;
  if (result == HPE_INVALID_METHOD) return fail_with(501, "an unknown method"), false;
  if (result == HPE_INVALID_VERSION)
    return fail_with(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"), false;
  if (result != HPE_OK && result != HPE_PAUSED)
    return fail_with(400, llhttp_get_error_reason(&parser_)), false;
  if (!head_parsed_) return fail_with(400, "a malformed head"), false;
  if (parser_.http_major != 1)
    return fail_with(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"), false;
  if (!accept_head()) return false;
  left_ = static_cast<uint64_t>(std::max<int64_t>(request_.content_length, 0));
  state_ = request_.chunked || left_ > 0 ? State::kBody : State::kDone;
  return true;
}

bool HttpParser::accept_head() {
  if (request_.headers.size() > kHttpHeadersMax) return fail_with(431, "too many headers"), false;
  int hosts = 0, lengths = 0;
  bool transfer = false;
  for (const auto& [name, value] : request_.headers) {
    if (name.empty()) return fail_with(400, "a header without a name"), false;
    if (name == "host") ++hosts;
    if (name == "content-length") ++lengths;
    if (name == "transfer-encoding") {
      if (transfer || strcasecmp(value.c_str(), "chunked") != 0) {
        return fail_with(501, "only the chunked transfer coding is supported"), false;
      }
      transfer = true;
    }
    if (name == "expect" && strcasecmp(value.c_str(), "100-continue") == 0)
      expects_continue_ = true;
  }
  if (hosts > 1 || (hosts == 0 && !http_1_0()))
    return fail_with(400, "exactly one Host header is needed"), false;
  if (lengths > 1) return fail_with(400, "more than one Content-Length"), false;
  if (transfer && (lengths > 0 || http_1_0()))
    return fail_with(400, "Transfer-Encoding where it may not stand"), false;
  if (transfer && !request_.chunked)
    return fail_with(501, "only the chunked transfer coding is supported"), false;
  return true;
}

size_t HttpParser::feed_body(std::string_view bytes, BodySink& sink) {
  if (!request_.chunked) {
    std::string_view piece = bytes.substr(0, std::min<uint64_t>(left_, bytes.size()));
    left_ -= piece.size();
    if (left_ == 0) state_ = State::kDone;
    if (!piece.empty()) sink.on_body(piece);
    return piece.size();
  }
  size_t used = 0;
  while (used < bytes.size() && !chunks_.done() && !chunks_.failed()) {
    ChunkedDecoder::Piece piece = chunks_.next(bytes.substr(used));
    used += piece.used;
    if (!piece.content.empty()) sink.on_body(piece.content);
  }
  if (chunks_.failed()) fail_with(400, chunks_.why());
  if (chunks_.done()) state_ = State::kDone;
  return used;
}

}  // namespace covey
