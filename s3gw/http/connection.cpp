#include "s3gw/http/connection.h"

#include <algorithm>

#include "base/core/limits.h"
#include "base/core/log.h"
#include "s3gw/http/response.h"

namespace covey {
namespace {

constexpr size_t kReadBytes = 64 * kKiB;
constexpr size_t kBlockReadBytes = 256 * kKiB;
constexpr size_t kAheadBytesMax = 64 * kKiB;     // received before the handler asks for it
constexpr size_t kPendingBytesMax = 128 * kKiB;  // pipelined ahead
constexpr size_t kDrainBytesMax =
    256 * kKiB;  // an unread body up to this is read away, a longer one costs the connection
constexpr size_t kCopyBytesMax = 16 * kKiB;
constexpr size_t kTlsQueueBytesMax = 64 * kKiB;
constexpr size_t kTurnBytesMax = 1 * kMiB;  // of one body, then others have their turn

// One read at a time on a loop: small reads of all its connections share a buffer.
char* shared_buffer() {
  static thread_local std::unique_ptr<char[]> buffer(new char[kReadBytes]);
  return buffer.get();
}

// A write under way; lives in the frame of send().
struct Write {
  uv_write_t request;
  std::coroutine_handle<> waiter;
  int status = 0;
  bool done = false;
};

// TLS records that belong to no response (handshake, key updates, alerts); frees itself.
struct TlsWrite {
  uv_write_t request;
  std::string bytes;
  std::shared_ptr<HttpConnection> connection;
  size_t* queued;  // a member of `connection`
};

}  // namespace

HttpConnection::HttpConnection(HttpHost& host,
                               std::unique_ptr<uv_stream_t, void (*)(uv_stream_t*)> stream,
                               std::string remote, std::shared_ptr<TlsContext> tls)
    : host_(host), stream_(std::move(stream)), remote_(std::move(remote)) {
  stream_->data = this;
  if (tls) tls_ = std::make_unique<TlsSession>(std::move(tls));
}

HttpConnection::~HttpConnection() = default;

void HttpConnection::open() {
  keep_ = shared_from_this();
  enter(Phase::kIdle, host_.limits().head);  // the first request must come soon
  read_on();
}

void HttpConnection::enter(Phase phase, Duration limit) {
  if (phase_ == Phase::kClosed) return;
  phase_ = phase;
  deadline_ = host_.loop().after(limit);
}

void HttpConnection::read_on() {
  if (reading_on_ || peer_ended_ || phase_ == Phase::kClosed) return;
  reading_on_ = uv_read_start(stream_.get(), on_alloc, on_read) == 0;
}

// For body bytes that are not here yet.
size_t HttpConnection::room() const {
  size_t most = std::max(body_room_, kAheadBytesMax);
  return most - std::min(most, body_bytes_);
}

void HttpConnection::hold_back() {
  if (!reading_on_) return;
  uv_read_stop(stream_.get());
  reading_on_ = false;
}

void HttpConnection::on_alloc(uv_handle_t* handle, size_t, uv_buf_t* buf) {
  auto& self = *static_cast<HttpConnection*>(handle->data);
  size_t size = std::min(kBlockReadBytes, self.room());
  bool large = self.phase_ == Phase::kAnswering && !self.tls_ && size > kReadBytes &&
               self.parser_.state() == HttpParser::State::kBody &&
               self.parser_.request().content_length > static_cast<int64_t>(kReadBytes);
  if (!large) {
    *buf = uv_buf_init(shared_buffer(), kReadBytes);
    return;
  }
  self.block_ = std::make_shared<std::string>();
  self.block_->resize(size);
  *buf = uv_buf_init(self.block_->data(), static_cast<unsigned>(size));
}

void HttpConnection::on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buf) {
  auto& self = *static_cast<HttpConnection*>(stream->data);
  if (size == 0) return;
  std::shared_ptr<HttpConnection> alive = self.shared_from_this();
  if (size < 0) return size == UV_EOF ? self.peer_ended() : self.close();
  self.received({buf->base, static_cast<size_t>(size)});
  self.block_.reset();
}

void HttpConnection::received(std::string_view bytes) {
  if (phase_ == Phase::kLingering || phase_ == Phase::kClosed) return;
  if (!tls_) return take(bytes);
  std::string plain;
  bool good = tls_->receive(bytes, plain);
  send_tls_output();
  if (!good) return close();
  if (!plain.empty()) take(plain);
  if (tls_->peer_finished() && !peer_ended_) peer_ended();
}

// In order with the responses: whatever the socket does not take now waits behind them.
void HttpConnection::send_tls_output() {
  std::string bytes = tls_->take_output();
  if (bytes.empty() || phase_ == Phase::kClosed) return;
  uv_buf_t out = uv_buf_init(bytes.data(), static_cast<unsigned>(bytes.size()));
  int sent = uv_try_write(stream_.get(), &out, 1);
  if (sent < 0 && sent != UV_EAGAIN) return close();
  if (sent > 0) bytes.erase(0, static_cast<size_t>(sent));
  if (bytes.empty()) return;
  // A peer that makes us talk but does not listen.
  if (tls_queued_bytes_ + bytes.size() > kTlsQueueBytesMax) return close();
  tls_queued_bytes_ += bytes.size();
  auto* write = new TlsWrite{{}, std::move(bytes), shared_from_this(), &tls_queued_bytes_};
  write->request.data = write;
  out = uv_buf_init(write->bytes.data(), static_cast<unsigned>(write->bytes.size()));
  int started = uv_write(&write->request, stream_.get(), &out, 1, [](uv_write_t* request, int) {
    std::unique_ptr<TlsWrite> done(static_cast<TlsWrite*>(request->data));
    *done->queued -= done->bytes.size();
  });
  if (started == 0) return;
  delete write;
  close();
}

void HttpConnection::take(std::string_view plain) {
  if (!pending_.empty()) {
    pending_.append(plain);
    block_.reset();
  }
  std::string joined = std::move(pending_);
  pending_.clear();
  std::string_view bytes = joined.empty() ? plain : std::string_view(joined);
  while (!bytes.empty() && phase_ != Phase::kClosed && phase_ != Phase::kLingering) {
    if (parser_.state() == HttpParser::State::kDone ||
        parser_.state() == HttpParser::State::kFailed)
      break;
    HttpParser::State before = parser_.state();
    bytes.remove_prefix(parser_.feed(bytes, *this));
    if (parser_.state() == HttpParser::State::kFailed)
      return refuse(parser_.refuse_status(), parser_.refuse_why());
    if (before == HttpParser::State::kHead) {
      if (parser_.state() == HttpParser::State::kHead) {
        if (phase_ == Phase::kIdle && parser_.head_begun())
          enter(Phase::kHead, host_.limits().head);
      } else {
        begin_request();
      }
    }
  }
  if (phase_ != Phase::kAnswering) return;
  pending_.append(bytes);
  if (pending_.size() > kPendingBytesMax) hold_back();
  if (!body_.empty() || parser_.state() == HttpParser::State::kDone) body_arrived_.set();
}

void HttpConnection::begin_request() {
  enter(Phase::kAnswering, host_.limits().body_stall);
  HttpRequest& request = parser_.request();
  request.tls = tls_ != nullptr;
  request.remote = remote_;
  request.body = this;
  continue_sent_ = !parser_.expects_continue();
  close_after_ = !parser_.keep_alive() || host_.draining();
  body_received_ = window_bytes_ = 0;
  body_late_ = false;
  body_room_ = 0;
  window_waited_ = Duration::zero();
  // Not from within the parser's caller: the body bytes of this read come first.
  host_.loop().post([self = shared_from_this()] { self->host_.start(self->answer(self)); });
}

void HttpConnection::on_body(std::string_view piece) {
  body_received_ += piece.size();
  continue_sent_ = true;  // the client did not wait
  bool in_block =
      block_ && piece.data() >= block_->data() && piece.data() < block_->data() + block_->size();
  // A slice keeps the whole block: copy what is small beside it.
  body_.push_back(in_block && piece.size() * 2 >= block_->size() ? Blob(block_, piece)
                                                                 : Blob::copy(piece));
  body_bytes_ += piece.size();
  if (room() == 0) hold_back();
}

Task<Result<Blob>> HttpConnection::next(size_t max_bytes) {
  if (!continue_sent_) {
    continue_sent_ = true;
    std::vector<Blob> go_on;
    go_on.push_back(Blob::copy("HTTP/1.1 100 Continue\r\n\r\n"));
    bool sent = co_await send(std::move(go_on));
    if (!sent) co_return fail(ErrorCode::kIncompleteBody, "the client went away");
  }
  body_room_ = max_bytes;
  while (body_.empty()) {
    if (parser_.state() == HttpParser::State::kDone) break;
    if (parser_.state() == HttpParser::State::kFailed)
      co_return fail(ErrorCode::kInvalid, parser_.refuse_why());
    if (body_late_) co_return fail(ErrorCode::kTimeout, "the body came too slowly");
    if (broken_ || peer_ended_)
      co_return fail(ErrorCode::kIncompleteBody,
                     "the client went away before its body was complete");
    body_arrived_.reset();
    read_on();
    // Only waiting counts against the client, and over all reads together: a drop now and then
    // does not start the measure anew.
    waiting_since_ = host_.loop().now();
    body_wanted_ = true;
    co_await body_arrived_.wait();
    body_wanted_ = false;
    window_waited_ += host_.loop().now() - waiting_since_;
  }
  if (body_.empty()) co_return Blob();
  Blob piece = std::move(body_.front());
  body_.pop_front();
  if (piece.size() > max_bytes) {
    body_.push_front(piece.slice(max_bytes));
    piece = piece.slice(0, max_bytes);
  }
  body_bytes_ -= piece.size();
  body_room_ = max_bytes - piece.size();
  if (room() > 0) read_on();
  co_return piece;
}

Task<void> HttpConnection::answer(std::shared_ptr<HttpConnection> self) {
  HttpResponse response = co_await host_.handler().handle(parser_.request());
  enter(Phase::kAnswering, host_.limits().write_stall);
  if (!finish_body()) close_after_ = true;
  if (response.close) close_after_ = true;
  bool sent = co_await send_response(std::move(response));
  if (!sent || broken_) {
    close();
  } else if (close_after_) {
    linger();
  } else {
    next_request();
  }
}

// May another request follow on this connection? What is left of the body must be here already or
// be little.
bool HttpConnection::finish_body() {
  if (parser_.state() == HttpParser::State::kDone) return true;
  if (parser_.state() != HttpParser::State::kBody || !continue_sent_ || parser_.request().chunked)
    return false;
  int64_t left = parser_.request().content_length - static_cast<int64_t>(body_received_);
  return left <= static_cast<int64_t>(kDrainBytesMax);
}

Task<bool> HttpConnection::send_response(HttpResponse response) {
  Framing framing;
  int status = response.status;
  bool bodyless = status == 204 || status == 304 || status < 200;
  framing.head_only = parser_.request().method == "HEAD" || bodyless;
  bool http_1_0 = parser_.http_1_0();
  Blob first = response.body;
  if (response.stream && !framing.head_only) {
    auto piece = co_await response.stream->next();
    if (!piece) {  // nothing was promised yet
      log_warn("{} {}: {}", parser_.request().method, parser_.request().target,
               to_string(piece.error()));
      response = host_.handler().refuse(503, "The data cannot be read now. Please try again.");
      first = response.body;
      framing.content_length = static_cast<int64_t>(first.size());
    } else {
      first = std::move(*piece);
    }
  }
  if (response.stream) {
    framing.content_length = response.content_length;
    framing.chunked = response.content_length < 0 && !http_1_0 && !framing.head_only;
    if (response.content_length < 0 && http_1_0) close_after_ = true;
  } else if (!bodyless) {
    framing.content_length = framing.head_only && response.content_length >= 0
                                 ? response.content_length
                                 : static_cast<int64_t>(response.body.size());
  }
  framing.close = close_after_;
  framing.say_keep_alive = http_1_0;
  std::string head = format_head(response, framing, host_.date());
  if (response.stream && !framing.head_only) {
    co_return co_await send_stream(response, std::move(head), std::move(first), framing.chunked);
  }
  std::vector<Blob> pieces;
  if (!framing.head_only && first.size() <= kCopyBytesMax) {
    head.append(first.view());
    pieces.push_back(Blob::own(std::move(head)));
  } else {
    pieces.push_back(Blob::own(std::move(head)));
    if (!framing.head_only) pieces.push_back(std::move(first));
  }
  co_return co_await send(std::move(pieces));
}

Task<bool> HttpConnection::send_stream(HttpResponse& response, std::string head, Blob first,
                                       bool chunked) {
  uint64_t left =
      response.content_length < 0 ? UINT64_MAX : static_cast<uint64_t>(response.content_length);
  std::string lead = std::move(head);
  Blob piece = std::move(first);
  size_t turn_bytes = 0;
  while (true) {
    bool end = piece.empty();
    if (!chunked && response.content_length >= 0) {
      if (piece.size() > left || (end && left > 0)) co_return false;  // never pad, never overrun
      left -= piece.size();
    }
    std::vector<Blob> pieces;
    if (chunked) {
      char size[32];
      std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
      lead.append(size);
    }
    if (!lead.empty()) pieces.push_back(Blob::own(std::move(lead)));
    lead.clear();
    turn_bytes += piece.size();
    if (!end) pieces.push_back(std::move(piece));
    if (chunked) pieces.push_back(Blob::copy("\r\n"));
    if (!pieces.empty()) {
      bool sent = co_await send(std::move(pieces));
      if (!sent) co_return false;
    }
    if (end || left == 0) co_return true;
    if (turn_bytes >= kTurnBytesMax) {
      turn_bytes = 0;
      co_await host_.loop().yield();
    }
    auto more = co_await response.stream->next();
    if (!more) {
      log_warn("{} {} was cut off: {}", parser_.request().method, parser_.request().target,
               to_string(more.error()));
      co_return false;
    }
    piece = std::move(*more);
  }
}

Task<bool> HttpConnection::send(std::vector<Blob> pieces) {
  if (broken_ || phase_ == Phase::kClosed) co_return false;
  if (tls_) {
    for (const Blob& piece : pieces) {
      if (!tls_->send(piece.view())) co_return false;
    }
    pieces.clear();
    pieces.push_back(Blob::own(tls_->take_output()));
  }
  std::vector<uv_buf_t> bufs;
  size_t total = 0;
  for (const Blob& piece : pieces) {
    bufs.push_back(
        uv_buf_init(const_cast<char*>(piece.data()), static_cast<unsigned>(piece.size())));
    total += piece.size();
  }
  int sent = uv_try_write(stream_.get(), bufs.data(), static_cast<unsigned>(bufs.size()));
  if (sent < 0 && sent != UV_EAGAIN) co_return broken_ = true, false;
  size_t skip = sent > 0 ? static_cast<size_t>(sent) : 0;
  if (skip == total) co_return true;
  size_t from = 0;
  while (skip >= bufs[from].len) skip -= bufs[from++].len;
  bufs[from].base += skip;
  bufs[from].len -= skip;
  struct Awaiter {
    uv_stream_t* stream;
    const uv_buf_t* bufs;
    unsigned count;
    Write& write;
    bool await_ready() noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> waiter) {
      write.waiter = waiter;
      write.request.data = &write;
      int started =
          uv_write(&write.request, stream, bufs, count, [](uv_write_t* request, int status) {
            auto& done = *static_cast<Write*>(request->data);
            done.status = status;
            done.waiter.resume();
          });
      if (started != 0) write.status = started;
      return started == 0;
    }
    void await_resume() noexcept {}
  };
  Write write;
  enter(Phase::kAnswering, host_.limits().write_stall);
  writing_ = true;
  co_await Awaiter{stream_.get(), bufs.data() + from, static_cast<unsigned>(bufs.size() - from),
                   write};
  writing_ = false;
  if (write.status != 0) broken_ = true;
  co_return write.status == 0;
}

void HttpConnection::next_request() {
  if (phase_ == Phase::kClosed) return;
  body_.clear();
  body_bytes_ = 0;
  if (parser_.state() == HttpParser::State::kBody) {
    // A little of the unread body is still to come: it is read away as the body of an answered
    // request.
    host_.loop().post([self = shared_from_this()] { self->host_.start(self->drain(self)); });
    return;
  }
  if (host_.draining() || peer_ended_) {
    if (pending_.empty()) return close();
  }
  parser_.reset();
  enter(Phase::kIdle, host_.limits().idle);
  read_on();
  if (!pending_.empty()) {
    std::string bytes = std::move(pending_);
    pending_.clear();
    take(bytes);
  }
  if (peer_ended_ && phase_ != Phase::kAnswering) close();
}

Task<void> HttpConnection::drain(std::shared_ptr<HttpConnection> self) {
  while (true) {
    auto piece = co_await next(kReadBytes);
    if (!piece) {
      close();
      co_return;
    }
    if (piece->empty()) break;
  }
  next_request();
}

void HttpConnection::refuse(int status, std::string_view why) {
  if (phase_ == Phase::kAnswering) {
    // The body's framing is bad: the handler hears of it and answers.
    close_after_ = true;
    body_arrived_.set();
    return;
  }
  HttpResponse response = host_.handler().refuse(status, why);
  Framing framing;
  framing.close = true;
  framing.content_length = static_cast<int64_t>(response.body.size());
  std::string bytes = format_head(response, framing, host_.date());
  bytes.append(response.body.view());
  if (tls_) {
    tls_->send(bytes);
    send_tls_output();
  } else {
    // A client whose buffer is full of our answers does not get this one.
    uv_buf_t out = uv_buf_init(bytes.data(), static_cast<unsigned>(bytes.size()));
    uv_try_write(stream_.get(), &out, 1);
  }
  linger();
}

// The answer is out and the connection ends: closing with unread bytes would reset it and could
// take the answer along.
void HttpConnection::linger() {
  if (phase_ == Phase::kClosed) return;
  if (tls_) {
    tls_->finish();
    send_tls_output();
    if (phase_ == Phase::kClosed) return;
  }
  if (peer_ended_ || (parser_.state() == HttpParser::State::kDone && pending_.empty()))
    return close();
  enter(Phase::kLingering, host_.limits().linger);
  auto* request = new uv_shutdown_t;
  if (uv_shutdown(request, stream_.get(), [](uv_shutdown_t* done, int) { delete done; }) != 0) {
    delete request;
    return close();
  }
  read_on();
}

void HttpConnection::peer_ended() {
  peer_ended_ = true;
  hold_back();
  switch (phase_) {
    case Phase::kAnswering: body_arrived_.set(); break;  // it may still want its answer
    default: close();
  }
}

// Too little came in the time that was spent waiting for it; looked at when that is long enough.
bool HttpConnection::body_stalled(TimePoint now) {
  const HttpLimits& limits = host_.limits();
  Duration stall = limits.body_stall;
  uint64_t per_second = limits.body_bytes_per_s_min;
  bool large = parser_.request().content_length < 0 ||
               parser_.request().content_length > static_cast<int64_t>(kReadBytes);
  if (large && limits.hurried && limits.hurried()) {
    stall = std::min(stall, limits.hurried_stall);
    per_second = limits.hurried_bytes_per_s_min;
  }
  Duration waited = window_waited_ + (now - waiting_since_);
  if (waited < stall) return false;
  auto seconds = std::chrono::duration_cast<std::chrono::seconds>(waited).count();
  if (body_received_ - window_bytes_ < per_second * static_cast<uint64_t>(seconds)) return true;
  window_waited_ = Duration::zero();
  waiting_since_ = now;
  window_bytes_ = body_received_;
  return false;
}

void HttpConnection::check_time() {
  TimePoint now = host_.loop().now();
  if (phase_ == Phase::kAnswering) {
    if (writing_ && now >= deadline_) return close();
    if (body_wanted_ && body_stalled(now)) {
      body_late_ = close_after_ = true;
      body_arrived_.set();
    }
    return;
  }
  if (now < deadline_) return;
  if (phase_ == Phase::kHead) return refuse(408, "the head of the request came too slowly");
  close();
}

void HttpConnection::close() {
  if (phase_ == Phase::kClosed) return;
  bool between_requests = phase_ == Phase::kIdle;
  phase_ = Phase::kClosed;
  if (tls_ && between_requests && !broken_) {
    tls_->finish();
    std::string bytes = tls_->take_output();
    uv_buf_t out = uv_buf_init(bytes.data(), static_cast<unsigned>(bytes.size()));
    if (!bytes.empty()) uv_try_write(stream_.get(), &out, 1);
  }
  broken_ = true;
  reading_on_ = false;
  std::shared_ptr<HttpConnection> self = std::move(keep_);
  if (!self) self = shared_from_this();
  body_arrived_.set();
  host_.closed(*this);
  auto* kept = new std::shared_ptr<HttpConnection>(std::move(self));
  stream_->data = kept;
  uv_close(reinterpret_cast<uv_handle_t*>(stream_.get()), [](uv_handle_t* handle) {
    delete static_cast<std::shared_ptr<HttpConnection>*>(handle->data);
  });
}

}  // namespace covey
