#include "node/grpc/link.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/core/log.h"

namespace covey {
namespace {
constexpr Duration kLogEvery = std::chrono::seconds(10);

wire::Entry make_entry(wire::Entry::Kind kind, uint64_t id, PeerService service, std::string head) {
  wire::Entry entry;
  entry.set_kind(kind);
  entry.set_id(id);
  entry.set_service(static_cast<uint32_t>(service));
  entry.set_head(std::move(head));
  return entry;
}
}  // namespace

PeerMessage message_of(wire::Entry& entry) {
  PeerMessage message;
  message.head = std::move(*entry.mutable_head());
  if (!entry.body().empty()) message.body = Blob::own(std::move(*entry.mutable_body()));
  return message;
}

Result<PeerMessage> result_of(wire::Entry& entry, Blob body) {
  if (entry.error() != 0)
    return fail(static_cast<ErrorCode>(entry.error()), std::move(*entry.mutable_message()),
                std::move(*entry.mutable_detail()));
  PeerMessage message = message_of(entry);
  if (!body.empty()) message.body = std::move(body);
  return message;
}

Link::Link(Context context, NodeId peer) : context_(std::move(context)), peer_(peer) {
  settled_.set();
  idle_.set();
  last_logged_ = context_.clock.now() - kLogEvery;
}

Link::~Link() { CHECK(callers_ == 0 && streams_open_ == 0); }

void Link::set_address(Address address) {
  if (state_ == State::kStopped || (state_ != State::kNoAddress && address == address_)) return;
  address_ = std::move(address);
  if (stream_) {
    auto old = std::move(stream_);
    uint64_t number = stream_number_;
    old->close();
    on_down(number, "its address changed", ~0ull);
  }
  channels_ = open_channels(context_.loop, *context_.tls, peer_, address_, context_.protocol);
  ever_failed_ = false;
  backoff_ = kReconnectMin;
  last_wanted_ = context_.clock.now();
  if (reconnect_timer_ != 0) context_.clock.cancel(std::exchange(reconnect_timer_, 0));
  connect();
}

void Link::connect() {
  state_ = State::kConnecting;
  settled_.reset();
  connecting_since_ = context_.clock.now();
  uint64_t number = ++stream_number_;
  StreamEvents events;
  events.up = [this, number] { on_up(number); };
  events.frame = [this, number](std::vector<wire::Entry> entries) {
    on_frame(number, std::move(entries));
  };
  events.down = [this, number](std::string why, uint64_t sent_through) {
    --streams_open_;
    on_down(number, std::move(why), sent_through);
    if (streams_open_ == 0 && callers_ == 0) idle_.set();
  };
  ++streams_open_;
  idle_.reset();
  stream_ = channels_->open_stream(std::move(events));
}

void Link::on_up(uint64_t stream) {
  if (stream != stream_number_ || state_ != State::kConnecting) return;
  state_ = State::kUp;
  backoff_ = kReconnectMin;
  last_failure_.clear();
  log_debug("connected to node {} at {}", short_name(peer_), address_.str());
  settled_.set();
}

void Link::on_frame(uint64_t stream, std::vector<wire::Entry> entries) {
  if (stream != stream_number_) return;  // answers to calls that have failed already
  for (wire::Entry& entry : entries) {
    auto it = pending_.find(entry.id());
    if (it == pending_.end()) continue;  // past its deadline
    Pending& pending = *it->second;
    pending_.erase(it);
    pending.result = result_of(entry, {});
    pending.done.set();
  }
}

void Link::on_down(uint64_t stream, std::string why, uint64_t sent_through) {
  if (stream != stream_number_ || state_ == State::kDown) return;
  stream_.reset();
  if (state_ != State::kStopped) {
    state_ = State::kDown;
    TimePoint now = context_.clock.now();
    if (why != last_failure_ || now - last_logged_ >= std::chrono::seconds(60)) {
      bool secret = why.find("andshake") != std::string::npos;
      if (now - last_logged_ >= kLogEvery) {
        log_warn(
            "no connection to node {} at {}: {}{}", short_name(peer_), address_.str(),
            secret
                ? "it does not hold this cluster's secret (compare the secret files; one that was "
                  "away while the secret was rotated needs a copy of the new one): "
                : "",
            why);
        last_logged_ = now;
      }
      last_failure_ = why;
    }
    ever_failed_ = true;
    schedule_reconnect();
  }
  for (BulkCall* call : bulk_) call->cancel();
  fail_calls(why, sent_through);
  settled_.set();
}

void Link::fail_calls(const std::string& why, uint64_t sent_through) {
  auto lost = std::exchange(pending_, {});
  for (auto& [id, pending] : lost) {
    ErrorCode code = id <= sent_through ? ErrorCode::kTimeout : ErrorCode::kUnavailable;
    pending->result =
        fail(code, fmt::format("lost the connection to node {}: {}", short_name(peer_), why));
  }
  for (auto& [id, pending] : lost) pending->done.set();
}

void Link::schedule_reconnect() {
  if (reconnect_timer_ != 0) return;
  Duration wait = backoff_;
  backoff_ = std::min(backoff_ * 2, kReconnectMax);
  reconnect_timer_ = context_.clock.schedule(context_.clock.after(wait), [this] {
    reconnect_timer_ = 0;
    if (state_ != State::kDown) return;
    if (context_.clock.now() - last_wanted_ > kLinkWanted) return;  // a call will dial again
    connect();
  });
}

Task<Status> Link::ready(TimePoint deadline) {
  last_wanted_ = context_.clock.now();
  if (state_ == State::kDown && reconnect_timer_ == 0) connect();
  if (state_ == State::kConnecting && !ever_failed_) {
    TimePoint until = std::min(deadline, connecting_since_ + kFirstConnectWait);
    co_await settled_.wait_until(context_.clock, until);
  }
  switch (state_) {
    case State::kUp: co_return Status{};
    case State::kStopped: co_return fail(ErrorCode::kUnavailable, "this node is stopping");
    case State::kNoAddress:
      co_return fail(ErrorCode::kUnavailable,
                     fmt::format("the address of node {} is not known", short_name(peer_)));
    default:
      co_return fail(
          ErrorCode::kUnavailable,
          fmt::format("no connection to node {} at {}: {}", short_name(peer_), address_.str(),
                      last_failure_.empty() ? "connecting" : last_failure_));
  }
}

Task<Result<PeerMessage>> Link::call(PeerService service, PeerMessage request, TimePoint deadline) {
  ++callers_;
  idle_.reset();
  Status usable;
  if (state_ != State::kUp) usable = co_await ready(deadline);
  last_wanted_ = context_.clock.now();
  std::optional<Result<PeerMessage>> result;
  if (!usable) {
    result = tl::unexpected<Error>(usable.error());
  } else if (in_flight() >= kPeerCallsInFlightMax) {
    result = fail(ErrorCode::kOverloaded,
                  fmt::format("too many calls to node {} are under way", short_name(peer_)));
  } else if (request.body_back || !request.body.empty()) {
    result = co_await bulk_call(service, std::move(request), deadline);
  } else {
    result = co_await stream_call(service, std::move(request.head), deadline);
  }
  if (--callers_ == 0 && streams_open_ == 0) idle_.set();
  co_return std::move(*result);
}

Task<Result<PeerMessage>> Link::stream_call(PeerService service, std::string head,
                                            TimePoint deadline) {
  uint64_t id = next_id_++;
  wire::Entry entry = make_entry(wire::Entry::REQUEST, id, service, std::move(head));
  CO_TRY_STATUS(stream_->append(entry));
  flush_soon();
  Pending pending;
  pending_.emplace(id, &pending);
  bool answered = co_await pending.done.wait_until(context_.clock, deadline);
  if (!answered) {
    pending_.erase(id);
    co_return fail(ErrorCode::kTimeout,
                   fmt::format("node {} did not answer in time", short_name(peer_)));
  }
  co_return std::move(*pending.result);
}

Task<Result<PeerMessage>> Link::bulk_call(PeerService service, PeerMessage request,
                                          TimePoint deadline) {
  Duration timeout = deadline - context_.clock.now();
  if (timeout <= Duration::zero())
    co_return fail(ErrorCode::kUnavailable, "the deadline had passed before the call");
  BulkMessage message;
  message.entry = make_entry(wire::Entry::REQUEST, 0, service, std::move(request.head));
  message.body = std::move(request.body);
  Event done;
  std::optional<Result<BulkMessage>> reply;
  auto finish = [&done, &reply](Result<BulkMessage> result) {
    reply = std::move(result);
    done.set();
  };
  auto call = channels_->call(std::move(message), timeout, finish);
  bulk_.insert(call.get());
  co_await done.wait();  // gRPC ends the call at its deadline
  bulk_.erase(call.get());
  if (!*reply) co_return tl::unexpected<Error>(std::move(reply->error()));
  co_return result_of((*reply)->entry, std::move((*reply)->body));
}

void Link::tell(PeerService service, std::string head) {
  if (state_ != State::kUp) return;
  last_wanted_ = context_.clock.now();
  wire::Entry entry = make_entry(wire::Entry::TELL, 0, service, std::move(head));
  if (!stream_->append(entry) || tell_timer_ != 0 || flush_posted_) return;
  tell_timer_ = context_.clock.schedule(context_.clock.after(kTellDelay), [this] {
    tell_timer_ = 0;
    if (stream_) stream_->flush();
  });
}

// Once per turn of the loop, so that calls made in the same turn share a frame.
void Link::flush_soon() {
  if (flush_posted_) return;
  flush_posted_ = true;
  ++callers_;  // keeps this object until the post has run
  idle_.reset();
  context_.loop.post([this] {
    flush_posted_ = false;
    if (stream_) stream_->flush();
    if (--callers_ == 0 && streams_open_ == 0) idle_.set();
  });
}

void Link::stop() {
  if (state_ == State::kStopped) return;
  state_ = State::kStopped;
  for (TimerId* timer : {&tell_timer_, &reconnect_timer_})
    if (*timer != 0) context_.clock.cancel(std::exchange(*timer, 0));
  if (stream_) stream_->close();
  for (BulkCall* call : bulk_) call->cancel();
  fail_calls("this node is stopping", ~0ull);
  settled_.set();
}

Task<void> Link::drained() { co_await idle_.wait(); }

}  // namespace covey
