// HttpConnection: one client connection. It parses a request, runs the handler's coroutine, sends
// the response, then goes on with the next: responses keep the order of pipelined requests because
// requests are taken one at a time.
//
// Loop thread only. Lives as long as its socket is open or a handler runs for it (shared_ptr held
// by both).
#pragma once

#include <uv.h>

#include <coroutine>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/async/event.h"
#include "base/os/uv_loop.h"
#include "s3gw/http/http.h"
#include "s3gw/http/parser.h"
#include "s3gw/http/tls.h"

namespace covey {

struct HttpLimits {
  Duration head = std::chrono::seconds(20);  // from a request's first byte to its last header: 408
  Duration idle = std::chrono::seconds(75);  // between requests
  Duration body_stall = std::chrono::seconds(30);
  uint64_t body_bytes_per_s_min = 1024;  // over body_stall
  // While this says true others wait for the memory that bodies hold which come too slowly: then
  // these are the limits.
  std::function<bool()> hurried;
  Duration hurried_stall = std::chrono::seconds(5);
  uint64_t hurried_bytes_per_s_min = 64 * 1024;
  Duration write_stall = std::chrono::seconds(60);
  Duration linger =
      std::chrono::seconds(2);  // reading on after an early answer, so that the client sees it
  size_t connections_max = 12000;
};

class HttpConnection;

// What a connection needs of its server.
class HttpHost {
 public:
  virtual ~HttpHost() = default;
  virtual UvLoop& loop() = 0;
  virtual HttpHandler& handler() = 0;
  virtual const HttpLimits& limits() const = 0;
  virtual bool draining() const = 0;
  virtual std::string_view date() = 0;
  // Starts the coroutine that answers the connection's request.
  virtual void start(Task<void> task) = 0;
  virtual void closed(HttpConnection& connection) = 0;
};

class HttpConnection : private HttpParser::BodySink,
                       private HttpBody,
                       public std::enable_shared_from_this<HttpConnection> {
 public:
  // `stream` is an accepted uv_tcp_t or uv_pipe_t, owned from here on.
  HttpConnection(HttpHost& host, std::unique_ptr<uv_stream_t, void (*)(uv_stream_t*)> stream,
                 std::string remote, std::shared_ptr<TlsContext> tls);
  ~HttpConnection() override;

  void open();
  // Once a second: ends what took too long.
  void check_time();
  // No request is being answered: for draining.
  bool idle() const { return phase_ == Phase::kIdle; }
  void close();

 private:
  enum class Phase { kIdle, kHead, kAnswering, kLingering, kClosed };

  static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf);
  static void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buf);

  void received(std::string_view bytes);
  void take(std::string_view plain);  // through the parser, as far as it goes now
  void begin_request();
  void peer_ended();
  void on_body(std::string_view piece) override;
  Task<Result<Blob>> next(size_t max_bytes) override;

  Task<void> answer(std::shared_ptr<HttpConnection> self);
  Task<void> drain(std::shared_ptr<HttpConnection> self);
  Task<bool> send_response(HttpResponse response);
  Task<bool> send_stream(HttpResponse& response, std::string head, Blob first, bool chunked);
  Task<bool> send(std::vector<Blob> pieces);
  bool finish_body();  // true: the connection can take another request
  void next_request();
  void linger();
  void refuse(int status, std::string_view why);
  void send_tls_output();
  size_t room() const;
  bool body_stalled(TimePoint now);
  void read_on();
  void hold_back();
  void enter(Phase phase, Duration limit);

  HttpHost& host_;
  std::unique_ptr<uv_stream_t, void (*)(uv_stream_t*)> stream_;
  std::shared_ptr<HttpConnection> keep_;  // while the socket is open
  std::string remote_;
  std::unique_ptr<TlsSession> tls_;
  size_t tls_queued_bytes_ = 0;  // records beside the responses, not yet taken by the socket
  HttpParser parser_;
  Phase phase_ = Phase::kIdle;
  TimePoint deadline_;

  std::string pending_;                 // received, not yet parsed: pipelined requests
  std::shared_ptr<std::string> block_;  // what uv reads into while a large body arrives
  std::string_view reading_;  // the buffer being parsed, part of block_ when block_ is set
  std::deque<Blob> body_;     // parsed, not yet taken by the handler
  size_t body_bytes_ = 0;
  size_t body_room_ = 0;  // what the handler has room for beside it
  uint64_t body_received_ = 0, window_bytes_ = 0;
  Duration window_waited_{};  // for body bytes, since window_bytes_ was taken
  TimePoint waiting_since_;
  Event body_arrived_;
  bool body_wanted_ = false, body_late_ = false;
  bool reading_on_ = false, peer_ended_ = false, continue_sent_ = false, broken_ = false;
  bool close_after_ = false, writing_ = false;
};

}  // namespace covey
