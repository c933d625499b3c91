// HttpParser: bytes of one connection in, requests out. No sockets, so that it can be fuzzed.
// llhttp does the grammar in its strict mode; this class adds the limits and refuses what proxies
// and servers have been known to read differently: folded headers, bare CR or LF, control
// characters, two Hosts (RFC 9112 sections 2.2, 5.2, 6.3).
#pragma once

#include <llhttp.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "s3gw/http/chunked.h"
#include "s3gw/http/http.h"

namespace covey {

class HttpParser {
 public:
  enum class State { kHead, kBody, kDone, kFailed };

  HttpParser();
  HttpParser(const HttpParser&) = delete;

  // Consumes bytes and returns how many: all of them, or those up to the end of the head or of the
  // message. Pieces of the body are handed to `on_body` (borrowed). After kFailed nothing is
  // consumed.
  struct BodySink {
    virtual ~BodySink() = default;
    virtual void on_body(std::string_view piece) = 0;
  };
  size_t feed(std::string_view bytes, BodySink& sink);

  State state() const { return state_; }
  // Bytes of a head have arrived, but not all.
  bool head_begun() const { return !head_.empty(); }
  // The request whose head is complete. REQUIRES: state() is kBody or kDone.
  HttpRequest& request() { return request_; }
  bool http_1_0() const { return parser_.http_major == 1 && parser_.http_minor == 0; }
  bool keep_alive() const { return keep_alive_; }
  bool expects_continue() const { return expects_continue_; }

  // Why kFailed: the status to answer with.
  int refuse_status() const { return refuse_status_; }
  const std::string& refuse_why() const { return refuse_why_; }

  // For the next request. REQUIRES: state() == kDone.
  void reset();

 private:
  struct Callbacks;
  friend struct Callbacks;

  size_t feed_head(std::string_view bytes);
  bool parse_head(std::string_view head);
  size_t feed_body(std::string_view bytes, BodySink& sink);
  bool accept_head();
  void fail_with(int status, std::string why);

  llhttp_t parser_;
  State state_ = State::kHead;
  std::string head_;  // a head that came in several reads
  HttpRequest request_;
  std::string name_, value_;
  bool in_value_ = false;
  bool head_parsed_ = false, keep_alive_ = false, expects_continue_ = false;
  ChunkedDecoder chunks_;
  uint64_t left_ = 0;  // of a body with a length
  int refuse_status_ = 0;
  std::string refuse_why_;
};

}  // namespace covey
