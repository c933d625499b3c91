// HTTP/1.1 as the S3 gateway and the admin API see it. The server (server.h) is libuv + llhttp; it
// owns connections, limits, keep-alive, pipelining, Expect: 100-continue and TLS. A handler sees
// one request and returns one response.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/async/task.h"
#include "base/core/blob.h"
#include "base/core/result.h"

namespace covey {

// The body of a request as it arrives (transfer coding removed). Reading it sends "100 Continue"
// first when the client waits for one; not reading it holds the client back. Whatever a handler
// leaves unread is drained or the connection closed.
class HttpBody {
 public:
  virtual ~HttpBody() = default;
  // At most `max_bytes`; empty at the end. Errors: kIncompleteBody (the client went away or sent
  // less than it declared), kTimeout (it dripped below the minimum rate), kInvalid (bad chunk
  // framing).
  virtual Task<Result<Blob>> next(size_t max_bytes) = 0;
};

struct HttpRequest {
  std::string method;
  std::string target;  // exactly as on the request line, undecoded: "/b/a%20b?x=1"
  std::vector<std::pair<std::string, std::string>>
      headers;                  // names lower-case, values trimmed, in order
  int64_t content_length = -1;  // -1: none given
  bool chunked = false;
  bool tls = false;
  std::string remote;        // "192.0.2.7:40312"; "unix" for the admin socket
  HttpBody* body = nullptr;  // never null while a handler runs

  // The first header of that (lower-case) name.
  std::optional<std::string_view> header(std::string_view name) const;
  // All values of a repeated header joined by ",".
  std::optional<std::string> joined(std::string_view name) const;
};

// A body produced while it is sent.
class HttpStream {
 public:
  virtual ~HttpStream() = default;
  // Empty at the end. An error closes the connection without completing the response.
  virtual Task<Result<Blob>> next() = 0;
};

struct HttpResponse {
  int status = 200;
  std::vector<std::pair<std::string, std::string>>
      headers;  // names as they are to be sent; no Content-Length, Date, Connection
  Blob body;    // sent with the head in one write
  std::unique_ptr<HttpStream> stream;  // instead of body
  int64_t content_length = -1;         // of `stream` (-1: chunked); for HEAD: what GET would say
  bool close = false;                  // close the connection after this response

  void set(std::string name, std::string value) {
    headers.emplace_back(std::move(name), std::move(value));
  }
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // `request` stays valid until the returned response (its stream too) has been sent.
  virtual Task<HttpResponse> handle(HttpRequest& request) = 0;
  // What to answer when the request could not be parsed or broke a limit (400, 408, 413, 414, 431,
  // 501, 505); the connection is closed afterwards.
  virtual HttpResponse refuse(int status, std::string_view why) = 0;
};

}  // namespace covey
