#include "tests/sim/cluster/client.h"

#include <algorithm>

namespace covey::sim {
namespace {

using namespace std::chrono_literals;
using Kind = KeyOp::Kind;
using Answer = KeyOp::Answer;

constexpr Duration kDeadline = 10s;
constexpr Duration kOverrun = 5s;  // beyond the deadline something hangs
// Who is cut off says so within 5 s; by a clock that may be wrong, over a network that takes its
// time. A request takes one step after the other, each of 4 s at most, and a step only ends well
// where a quorum answers: from when there is none for any partition (World::cut_off) it is only the
// step under way that is waited for, or the first one.
constexpr Duration kCutOffAnswer = 5s + 500ms;
constexpr Duration kForBody = 60s;  // a body's blocks have deadlines of their own

// What an error says of a write; nullopt: nothing that a client could be told here.
enum class Meaning { kNotDone, kUnknown, kRefused, kMissing };
std::optional<Meaning> meaning(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUnavailable:
    case ErrorCode::kConflict:
    case ErrorCode::kOverloaded:
    case ErrorCode::kNoSuchUpload:  // it expired
    case ErrorCode::kNoSpace: return Meaning::kNotDone;
    case ErrorCode::kUnknownOutcome:
    case ErrorCode::kCancelled:
    case ErrorCode::kIo: return Meaning::kUnknown;
    case ErrorCode::kPreconditionFailed: return Meaning::kRefused;
    case ErrorCode::kNoSuchKey: return Meaning::kMissing;
    default: return std::nullopt;
  }
}

int write_in(const ObjectInfo& info) {
  auto it = info.user_metadata.find("w");
  return it == info.user_metadata.end() ? 0 : std::atoi(it->second.c_str());
}

}  // namespace

Client::Client(World& world, size_t number, SimRng rng)
    : world_(world), number_(number), rng_(rng) {}

Task<void> Client::run() {
  for (size_t i = 0; i < world_.knobs.operations; ++i) {
    auto think = static_cast<uint64_t>(world_.knobs.think_max.count()) + 1;
    co_await world_.loop.sleep(Duration(static_cast<int64_t>(rng_.below(think))));
    At at = world_.pick(rng_);
    if (at) co_await operate(std::move(at));
  }
}

Task<void> Client::operate(At at) {
  std::string key = random_key();
  uint64_t dice = rng_.below(100);
  if (dice < 22) {
    (void)co_await put(at, key, Kind::kPut);
  } else if (dice < 30) {
    (void)co_await put(at, key, Kind::kCreate);
  } else if (dice < 38) {
    (void)co_await put(at, key, Kind::kReplace);
  } else if (dice < 44) {
    co_await remove(at, key, false);
  } else if (dice < 48) {
    co_await remove(at, key, true);
  } else if (dice < 68) {
    (void)co_await read(at, key, rng_.chance(0.2));
  } else if (dice < 82) {
    std::string prefix = rng_.chance(0.3) ? "d/" : "";
    (void)co_await list(at, std::move(prefix), 1 + rng_.below(8));
  } else if (dice < 90) {
    co_await copy(at, random_key(), key);
  } else if (dice < 94) {
    co_await touch(at, key);
  } else {
    co_await multipart(at, key);
  }
}

std::string Client::random_key() { return world_.keys[rng_.below(world_.keys.size())]; }
TimePoint Client::deadline(const At& at) { return at->clock().after(kDeadline); }

size_t Client::body_size() {
  if (rng_.chance(world_.knobs.huge)) return kBlockBytes + rng_.below(2 * kBlockBytes);
  if (rng_.chance(world_.knobs.large)) return kInlineBytesMax + 1 + rng_.below(30'000);
  return rng_.chance(0.05) ? 0 : rng_.below(kInlineBytesMax + 1);
}

KeyOp Client::begin(const At& at, Kind kind) {
  KeyOp op;
  op.kind = kind;
  op.called_ns = world_.loop.now().ns;
  op.note = "c" + std::to_string(number_) + " n" + std::to_string(at->number());
  op.improvements = world_.net.improvements();
  op.cut_off = world_.cut_off(*at);
  return op;
}

// Where nothing else is slow, and nobody came back meanwhile: then it is cut off since it was
// asked, or at the latest since somebody was last cut off from anybody.
void Client::check_promptness(const At& at, const KeyOp& op) {
  const Knobs& knobs = world_.knobs;
  bool same = op.improvements == world_.net.improvements() && !at->dead() && world_.cut_off(*at);
  if (!same || world_.net.faults.straggle > 0 || knobs.has(Fault::kSlowDisk) ||
      knobs.has(Fault::kClog))
    return;
  int64_t since = op.called_ns;
  if (!op.cut_off) since = world_.net.worsened().ns;
  if (since < op.called_ns) return;  // by another layout: nobody knows when
  ++world_.counts.cut_off;
  if (op.returned_ns - since > kCutOffAnswer.count())
    world_.complain("a node that is cut off took too long to say so: " + op.describe());
}

bool Client::record(const At& at, const std::string& key, KeyOp op, const Status& answer) {
  op.returned_ns = world_.loop.now().ns;
  bool twice = op.note.find("again") != std::string::npos;
  const bool body = op.kind == Kind::kRead || op.kind == Kind::kPut || op.kind == Kind::kCreate ||
                    op.kind == Kind::kReplace;
  Duration most =
      kDeadline + kOverrun + (body ? kForBody : Duration(0)) + (twice ? kDeadline : Duration(0));
  if (op.returned_ns - op.called_ns > most.count())
    world_.complain("an operation overran its deadline: " + op.describe());
  if (!answer) op.note += " " + to_string(answer.error());
  // A read that was answered is recorded when its body has come.
  if (!answer && !twice) check_promptness(at, op);
  bool reads = op.kind == Kind::kRead || op.kind == Kind::kReadEtag;
  Counts& counts = world_.counts;
  std::optional<Meaning> said;
  if (at->dead()) {
    said = Meaning::kUnknown;  // the connection broke
  } else if (!answer) {
    said = meaning(answer.code());
    // Together with what else is down damage may leave no quorum: an error, and no lie.
    bool damage = answer.is(ErrorCode::kCorrupt) && world_.knobs.has(Fault::kRot);
    if (damage) said = Meaning::kUnknown;
    if (!said) world_.complain("an odd error on " + key + ": " + op.describe());
    if (!said || (reads && said != Meaning::kMissing)) said = Meaning::kNotDone;
  }
  if (said == Meaning::kUnknown) op.answer = Answer::kUnknown;
  if (said == Meaning::kRefused) op.answer = Answer::kRefused;
  if (said == Meaning::kMissing) op.answer = Answer::kMissing;
  if (reads && said == Meaning::kMissing) op.answer = Answer::kOk;  // it read: nothing there
  world_.trace.line("{} {} {}", key, op.describe(), said == Meaning::kNotDone ? "not done" : "");
  if (said == Meaning::kNotDone) return ++counts.not_done, false;
  if (reads && said == Meaning::kUnknown) return ++counts.unknown, false;
  if (op.answer == Answer::kUnknown) ++counts.unknown;
  if (op.answer == Answer::kRefused) ++counts.refused;
  if (op.answer == Answer::kMissing) ++counts.missing;
  if (op.answer == Answer::kOk) ++counts.ok;
  bool ok = op.answer == Answer::kOk;
  world_.history.add(key, std::move(op));
  return ok;
}

Task<bool> Client::put(At at, std::string key, Kind kind) {
  WriteRecord record;
  Chunk chunk;
  chunk.bytes = body_size();
  chunk.write = static_cast<int>(world_.history.next_write());
  record.key = key;
  record.etag = chunk_etag(chunk);
  record.chunks.push_back(chunk);
  KeyOp op = begin(at, kind);
  op.write = world_.history.new_write(std::move(record));
  PutRequest request;
  request.bucket = kSimBucket;
  request.key = key;
  request.attributes.user_metadata["w"] = std::to_string(op.write);
  if (kind == Kind::kCreate) request.conditions.if_none_match.push_back("*");
  if (kind == Kind::kReplace) {
    op.etag = world_.history.last_etag(key);
    request.conditions.if_match.push_back(op.etag);
  }
  ChunkSource body(chunk);
  auto done = co_await at->objects().put(std::move(request), body, deadline(at));
  Status status;
  if (!done) status = tl::unexpected<Error>(done.error());
  if (done) world_.history.saw(key, done->etag);
  if (done && done->etag != chunk_etag(chunk)) world_.complain("a put returned another ETag");
  co_return this->record(at, key, std::move(op), status);
}

Task<void> Client::remove(At at, std::string key, bool conditional) {
  KeyOp op = begin(at, conditional ? Kind::kDeleteIf : Kind::kDelete);
  DeleteRequest request;
  request.bucket = kSimBucket;
  request.key = key;
  if (conditional) {
    op.etag = world_.history.last_etag(key);
    request.conditions.if_match.push_back(op.etag);
  }
  Status done = co_await at->objects().remove(std::move(request), deadline(at));
  record(at, key, std::move(op), done);
}

Task<bool> Client::read(At at, std::string key, bool head_only) {
  KeyOp op = begin(at, Kind::kRead);
  if (head_only) op.note += " head";
  GetRequest request;
  request.bucket = kSimBucket;
  request.key = key;
  Result<GetResult> got = fail(ErrorCode::kInvalid);
  if (head_only) {
    got = co_await at->objects().head(std::move(request), deadline(at));
  } else {
    got = co_await at->objects().get(std::move(request), deadline(at));
  }
  Status status;
  if (!got) {
    status = tl::unexpected<Error>(got.error());
    bool missing = got.is(ErrorCode::kNoSuchKey) && !at->dead();
    record(at, key, std::move(op), status);
    co_return missing;
  }
  // The state is what the head said, whenever its body came.
  op.write = write_in(got->info);
  if (!at->dead()) world_.saw_object(key, got->info, op.write);
  std::string etag = got->info.etag;
  Status body;
  if (!head_only) body = co_await read_body(at, &*got, etag);
  if (!body) op.note += " body: " + to_string(body.error());
  bool answered = record(at, key, std::move(op), status);
  co_return answered&& body;
}

// kOk, or why the body could not be had; wrong bytes are a violation.
Task<Status> Client::read_body(At at, GetResult* got, std::string etag) {
  const std::vector<Chunk>* chunks = world_.history.content(etag);
  if (!chunks) {
    world_.complain("an object has an ETag that nobody wrote: " + etag);
    co_return fail(ErrorCode::kCorrupt);
  }
  ChunkCheck check(*chunks);
  const TimePoint began = world_.loop.now();
  for (;;) {
    auto piece = co_await got->body->next();
    if (at->dead()) co_return fail(ErrorCode::kUnavailable, "the node died");
    if (!piece) {
      bool fair = piece.is(ErrorCode::kUnavailable) || piece.is(ErrorCode::kTimeout) ||
                  piece.is(ErrorCode::kOverloaded) || piece.is(ErrorCode::kCancelled);
      if (piece.is(ErrorCode::kCorrupt) && world_.knobs.has(Fault::kRot)) fair = true;
      if (world_.knobs.reclaim && world_.loop.now() - began > world_.knobs.reclaim_delay)
        fair = true;  // it was displaced and given back meanwhile
      if (!fair) world_.complain("a body cannot be read: " + to_string(piece.error()));
      co_return tl::unexpected<Error>(piece.error());
    }
    if (piece->empty()) break;
    if (!check.take(piece->view())) {
      world_.complain("wrong bytes in " + got->info.key + ", ETag " + etag);
      co_return fail(ErrorCode::kCorrupt);
    }
  }
  if (!check.complete()) world_.complain("a body ended early: " + got->info.key);
  co_return Status{};
}

Task<bool> Client::list(At at, std::string prefix, size_t limit) {
  std::string after;
  for (bool more = true; more;) {
    ListRequest request;
    request.bucket = kSimBucket;
    request.prefix = prefix;
    request.limit = limit;
    request.after = after;
    KeyOp op = begin(at, Kind::kReadEtag);
    auto page = co_await at->objects().list(std::move(request), deadline(at));
    if (at->dead()) co_return false;
    if (!page) {
      bool fair = page.is(ErrorCode::kUnavailable) || page.is(ErrorCode::kOverloaded) ||
                  (page.is(ErrorCode::kCorrupt) && world_.knobs.has(Fault::kRot));
      if (!fair) world_.complain("a listing failed: " + to_string(page.error()));
      op.returned_ns = world_.loop.now().ns;
      op.note += " list " + to_string(page.error());
      check_promptness(at, op);
      ++world_.counts.not_done;
      co_return false;
    }
    std::map<std::string, std::string> seen;
    std::string last = after;
    for (const ListedObject& object : page->objects) {
      if (object.key <= last || !object.key.starts_with(prefix))
        world_.complain("a listing is out of order: " + object.key);
      last = object.key;
      seen[object.key] = object.etag;
    }
    more = page->truncated;
    if (page->objects.size() > limit || (more && page->next != last))
      world_.complain("a page of a listing ends in the wrong place");
    for (const std::string& key : world_.keys) {
      if (!key.starts_with(prefix) || key <= after || (more && key > page->next)) continue;
      KeyOp one = op;
      one.etag = seen.contains(key) ? seen[key] : "";
      record(at, key, std::move(one), Status{});
      seen.erase(key);
    }
    if (!seen.empty())
      world_.complain("a listing shows a key nobody wrote: " + seen.begin()->first);
    after = page->next;
  }
  co_return true;
}

// A change of tags leaves the object what it is: like a read that says which one it was.
Task<void> Client::touch(At at, std::string key) {
  KeyOp op = begin(at, Kind::kRead);
  op.note += " tags";
  std::map<std::string, std::string> tags;
  tags["t"] = std::to_string(rng_.below(100));
  auto done = co_await at->objects().set_tags(kSimBucket, key, std::nullopt, tags, deadline(at));
  Status status;
  if (!done) status = tl::unexpected<Error>(done.error());
  if (done) op.write = write_in(*done);
  record(at, key, std::move(op), status);
}

}  // namespace covey::sim
