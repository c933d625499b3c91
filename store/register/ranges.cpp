// Listing a range of register rows: one replica's rows, and another's digest over the same walk.
// Where the digests differ, the keys that differ are settled by register reads.
#include <algorithm>

#include "base/core/limits.h"
#include "base/core/seeded_bug.h"
#include "store/register/service.h"

namespace covey {

namespace {

constexpr Duration kRetryPause = std::chrono::milliseconds(5);
constexpr Duration kRangeStep = std::chrono::milliseconds(1500);
constexpr std::string_view kAgain = "again";

Request request_of(const RangeQuery& query) {
  Request q;
  q.verb = Verb::kRange;
  q.key.table = query.table;
  q.key.partition = query.partition;
  q.key.key = query.begin;
  q.end = query.end;
  q.limit = query.limit + 1;  // one more tells whether the page is the last
  q.delimiter = query.delimiter;
  q.delimiter_from = static_cast<uint32_t>(query.delimiter_from);
  q.fence = query.fence;
  return q;
}

// Adds live rows in key order, folding them; knows where to go on.
class PageMaker {
 public:
  explicit PageMaker(const RangeQuery& query) : query_(query) {
    page.items.reserve(std::min(query.limit, kListKeysMax));
  }

  // False: the page is full, and goes on at this key.
  bool add(std::string key, std::string row) {
    size_t fold = folded_prefix(key, query_.delimiter, query_.delimiter_from);
    if (fold > 0 && !page.items.empty() && page.items.back().is_prefix &&
        std::string_view(key).substr(0, fold) == page.items.back().key)
      return true;
    if (page.items.size() == query_.limit) {
      page.truncated = true;
      page.next = fold > 0 ? std::max(query_.begin, key.substr(0, fold)) : key;
      return false;
    }
    RangeItem item;
    item.is_prefix = fold > 0;
    item.key = fold > 0 ? key.substr(0, fold) : std::move(key);
    if (fold == 0) item.row = std::move(row);
    page.items.push_back(std::move(item));
    return true;
  }
  void cut_after(const std::string& last) {
    if (page.truncated) return;
    page.truncated = true;
    size_t fold = 0;
    if (!page.items.empty() && page.items.back().is_prefix &&
        last.starts_with(page.items.back().key))
      fold = page.items.back().key.size();
    page.next = fold > 0 ? behind_prefix(last.substr(0, fold)) : last + '\0';
    if (page.next.empty() || (!query_.end.empty() && page.next >= query_.end)) {
      page.truncated = false;
      page.next.clear();
    }
  }

  RangePage page;

 private:
  const RangeQuery& query_;
};

}  // namespace

Reply RegisterService::range_reply(const Request& query, KvVersion& after) {
  auto walk = walk_range(kv_, query);
  if (!walk) return refusal(walk.error()).reply;
  after = walk->after;
  Reply reply;
  reply.digest = walk->digest;
  reply.visits = std::move(walk->visits);
  reply.cut = walk->cut;
  reply.last = std::move(walk->last);
  return reply;
}

Task<Result<Reply>> RegisterService::range_from(NodeId node, Request query, TimePoint deadline) {
  Reply reply;
  if (node == self_) {
    if (auto refused = acceptor_.fenced(query.key.partition, query.fence)) {
      reply = co_await finish(std::move(*refused));
    } else {
      KvVersion after = 0;
      reply = range_reply(query, after);
      CO_TRY_STATUS(co_await kv_.durable(after));
    }
  } else {
    reply = co_await call(node, encode_request(query), deadline);
  }
  if (reply.answer == Answer::kStale)
    co_return fail(ErrorCode::kStale, "the bucket has changed: read it again");
  if (reply.answer != Answer::kYes) co_return fail(ErrorCode::kUnavailable, reply.message, "again");
  co_return std::move(reply);
}

Task<Result<RangePage>> RegisterService::range(RangeQuery query, TimePoint deadline) {
  if (query.limit == 0) co_return RangePage{};
  for (int tries = 0; runtime_.clock.now() < deadline && !scope_.stop_requested(); ++tries) {
    if (tries > 0) co_await pause(kRetryPause);
    CO_TRY(PlaceRef at, place(query.partition));
    auto page = co_await range_once(query, at, deadline);
    if (page || page.error().detail != kAgain) co_return page;
  }
  co_return fail(ErrorCode::kUnavailable, "no quorum of the partition's replicas answered");
}

Task<Result<RangePage>> RegisterService::range_once(RangeQuery query, PlaceRef at,
                                                    TimePoint deadline) {
  TimePoint until = std::min(deadline, runtime_.clock.after(kRangeStep));
  std::vector<NodeId> order = nearest(*at);
  Request request = request_of(query);
  request.epoch = at->epoch;
  request.range_want = RangeWant::kRows;
  Result<Reply> mine = fail(ErrorCode::kUnavailable, {}, std::string(kAgain));
  NodeId first;
  for (const NodeId& node : order) {
    first = node;
    mine = co_await range_from(node, request, until);
    if (mine || mine.error().detail != kAgain) break;
  }
  if (!mine) co_return fail(mine.error().code, mine.error().message, mine.error().detail);

  // The same walk elsewhere, as far as this one went.
  std::string stop = mine->cut ? mine->last : std::string();
  request.stop = stop;
  request.limit = UINT64_MAX;
  request.range_want = RangeWant::kDigest;
  std::vector<NodeId> agree{first};
  std::vector<NodeId> differ;
  for (const NodeId& node : order) {
    if (at->sets.quorum(agree)) break;
    if (node == first) continue;
    auto theirs = co_await range_from(node, request, until);
    if (!theirs && theirs.error().detail != kAgain)
      co_return fail(theirs.error().code, theirs.error().message);
    if (!theirs) continue;
    (theirs->digest == mine->digest ? agree : differ).push_back(node);
    std::vector<NodeId> met = agree;
    met.insert(met.end(), differ.begin(), differ.end());
    if (at->sets.quorum(met)) break;
  }
  if (at->sets.quorum(agree) || SEEDED_BUG("register-listing-unsettled")) {
    PageMaker maker(query);
    for (Visit& visit : mine->visits)
      if (visit.live && !maker.add(std::move(visit.key), std::move(visit.row))) break;
    if (mine->cut) maker.cut_after(mine->last);
    co_return std::move(maker.page);
  }
  // Too few answered: a key that none of these has may still be there (while joint, one replica of
  // the new set that differs is no quorum of the old one).
  std::vector<NodeId> answered = agree;
  answered.insert(answered.end(), differ.begin(), differ.end());
  if (!at->sets.quorum(answered) && !SEEDED_BUG("register-listing-below-quorum"))
    co_return fail(ErrorCode::kUnavailable, {}, std::string(kAgain));
  if (differ.empty()) co_return fail(ErrorCode::kUnavailable, {}, std::string(kAgain));

  // Every replica that differs says which keys and ranks it met; whatever is not the same in all of
  // these lists is settled. Keys that are equal in the lists of a quorum are agreed.
  request.range_want = RangeWant::kRanks;
  Reply theirs;
  theirs.cut = false;
  std::vector<std::vector<Visit>> lists;
  for (const NodeId& node : differ) {
    auto list = co_await range_from(node, request, until);
    if (!list) co_return fail(list.error().code, list.error().message, std::string(kAgain));
    if (list->cut && (!theirs.cut || list->last < theirs.last)) {
      theirs.cut = true;
      theirs.last = list->last;
    }
    lists.push_back(std::move(list->visits));
  }
  // One merged list: a key's rank where all agree on it, else the zero rank: to be settled.
  theirs.visits = std::move(lists.front());
  for (size_t i = 1; i < lists.size(); ++i) {
    std::map<std::string, Visit> merged;
    for (Visit& visit : theirs.visits) merged[visit.key] = std::move(visit);
    std::map<std::string, Rank> other;
    for (Visit& visit : lists[i]) {
      other[visit.key] = visit.rank;
      auto [it, fresh] = merged.try_emplace(visit.key, visit);
      if (fresh || it->second.rank != visit.rank) it->second.rank = Rank{};
      it->second.skipped = it->second.skipped || visit.skipped;
    }
    for (auto& [key, visit] : merged)
      if (!other.contains(key)) visit.rank = Rank{};
    theirs.visits.clear();
    for (auto& [key, visit] : merged) theirs.visits.push_back(std::move(visit));
  }
  co_return co_await settle_range(std::move(query), std::move(*mine), std::move(theirs), deadline);
}

Task<Result<RangePage>> RegisterService::settle_range(RangeQuery query, Reply mine, Reply theirs,
                                                      TimePoint deadline) {
  struct Both {
    const Visit* mine = nullptr;
    const Visit* theirs = nullptr;
  };
  // Only up to the smallest last key of the lists that ended at a limit.
  std::string end;
  bool cut = mine.cut || theirs.cut;
  if (mine.cut) end = mine.last;
  if (theirs.cut && (!mine.cut || theirs.last < end)) end = theirs.last;
  std::map<std::string_view, Both> keys;
  for (const Visit& visit : mine.visits) keys[visit.key].mine = &visit;
  for (const Visit& visit : theirs.visits) keys[visit.key].theirs = &visit;
  PageMaker maker(query);
  for (const auto& [view, both] : keys) {
    std::string key(view);
    if (cut && key > end) break;
    size_t fold = folded_prefix(key, query.delimiter, query.delimiter_from);
    bool have_prefix = fold > 0 && !maker.page.items.empty() && maker.page.items.back().is_prefix &&
                       maker.page.items.back().key == view.substr(0, fold);
    if (have_prefix) continue;
    if (both.mine && both.theirs && both.mine->rank == both.theirs->rank) {
      if (both.mine->live && !maker.add(key, both.mine->row)) break;
      continue;
    }
    RegisterKey at;
    at.table = query.table;
    at.partition = query.partition;
    at.key = key;
    CO_TRY(ReadResult now, co_await read(std::move(at), false, query.fence, deadline));
    if (now.row) {
      if (!maker.add(key, std::move(*now.row))) break;
      continue;
    }
    bool skipped = (both.mine && both.mine->skipped) || (both.theirs && both.theirs->skipped);
    if (skipped && !SEEDED_BUG("register-prefix-lost")) {
      // This key hid the rest of its prefix from a walk, and it is gone: look again behind it.
      maker.page.truncated = true;
      maker.page.next = key + '\0';
      break;
    }
  }
  if (cut) maker.cut_after(end);
  co_return std::move(maker.page);
}

}  // namespace covey
