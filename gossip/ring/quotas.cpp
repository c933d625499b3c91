#include "gossip/ring/quotas.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "base/core/check.h"

namespace covey {
namespace {

__extension__ using Wide = unsigned __int128;

// `amount` shared over `weights` in proportion, each at most `cap`: shares are
// weight * amount / weight_sum over those that are not `full`.
struct Shares {
  uint64_t amount = 0;  // what the members that are not full share
  Wide weight_sum = 0;
  std::vector<bool> full;  // these hold exactly `cap`
};

// REQUIRES: amount <= cap * members.size().
Shares fill(const std::vector<uint64_t>& weights, const std::vector<uint32_t>& members,
            uint64_t amount, uint64_t cap) {
  Shares shares{amount, 0, std::vector<bool>(weights.size(), false)};
  for (uint32_t m : members) shares.weight_sum += weights[m];
  // Whoever is above the cap at this level stays above it at every later, higher level.
  for (bool again = true; again;) {
    again = false;
    const uint64_t level_amount = shares.amount;
    const Wide level_sum = shares.weight_sum;
    for (uint32_t m : members) {
      if (shares.full[m] || Wide(weights[m]) * level_amount < Wide(cap) * level_sum) continue;
      shares.full[m] = true;
      shares.amount -= cap;
      shares.weight_sum -= weights[m];
      again = true;
    }
  }
  return shares;
}

struct Fraction {
  uint32_t whole = 0;
  uint32_t part = 0;  // of 2^32
};

class Filler {
 public:
  explicit Filler(const QuotaInput& in) : in_(in), ideal_(in.capacity.size()) {}

  std::vector<Fraction> run() {
    std::vector<bool> zone_full(in_.zones, false);
    uint64_t amount = uint64_t(in_.partitions) * in_.spread.copies;
    const uint64_t zone_cap = uint64_t(in_.partitions) * in_.spread.per_zone;
    // Zones above their cap are filled on their own; the rest share what remains.
    for (bool again = true; again;) {
      again = false;
      std::vector<uint32_t> open = members_where([&](uint32_t z) { return !zone_full[z]; });
      Shares shares = fill(in_.capacity, open, amount, in_.partitions);
      for (uint32_t zone = 0; zone < in_.zones; ++zone) {
        if (zone_full[zone] || !above(shares, zone, zone_cap)) continue;
        std::vector<uint32_t> own = members_where([&](uint32_t z) { return z == zone; });
        settle(own, fill(in_.capacity, own, zone_cap, in_.partitions));
        zone_full[zone] = true;
        amount -= zone_cap;
        again = true;
      }
      if (!again) settle(open, shares);
    }
    return std::move(ideal_);
  }

 private:
  template <class Pick>
  std::vector<uint32_t> members_where(Pick pick) const {
    std::vector<uint32_t> members;
    for (uint32_t m = 0; m < in_.zone.size(); ++m)
      if (pick(in_.zone[m])) members.push_back(m);
    return members;
  }

  bool above(const Shares& shares, uint32_t zone, uint64_t zone_cap) const {
    uint64_t full = 0;
    Wide weight = 0;
    for (uint32_t m = 0; m < in_.zone.size(); ++m) {
      if (in_.zone[m] != zone) continue;
      if (shares.full[m])
        full += in_.partitions;
      else
        weight += in_.capacity[m];
    }
    if (full > zone_cap) return true;
    return weight * shares.amount > Wide(zone_cap - full) * shares.weight_sum;
  }

  void settle(const std::vector<uint32_t>& members, const Shares& shares) {
    for (uint32_t m : members) {
      if (shares.full[m]) {
        ideal_[m] = {in_.partitions, 0};
        continue;
      }
      Wide product = Wide(in_.capacity[m]) * shares.amount;
      ideal_[m].whole = static_cast<uint32_t>(product / shares.weight_sum);
      ideal_[m].part =
          static_cast<uint32_t>(((product % shares.weight_sum) << 32) / shares.weight_sum);
      // Keep 'has a remainder' true when it is smaller than 2^-32.
      if (ideal_[m].part == 0 && product % shares.weight_sum != 0) ideal_[m].part = 1;
    }
  }

  const QuotaInput& in_;
  std::vector<Fraction> ideal_;
};

}  // namespace

Spread spread_over(uint32_t copies, uint32_t zones) {
  uint32_t wanted = std::min(copies, zones);
  return {copies, copies - wanted + 1};
}

std::vector<uint32_t> replica_quotas(const QuotaInput& in) {
  std::vector<Fraction> ideal = Filler(in).run();
  std::vector<uint32_t> quota(ideal.size());
  std::vector<uint64_t> zone_room(in.zones, uint64_t(in.partitions) * in.spread.per_zone);
  uint64_t left = uint64_t(in.partitions) * in.spread.copies;
  for (size_t m = 0; m < ideal.size(); ++m) {
    quota[m] = ideal[m].whole;
    zone_room[in.zone[m]] -= quota[m];
    left -= quota[m];
  }
  // The remainders: first to members that already hold that many (nothing need move), then to the
  // largest remainder. Any greedy order can be completed, since the constraints form a matroid.
  std::vector<uint32_t> order(ideal.size());
  std::iota(order.begin(), order.end(), 0u);
  auto rank = [&](uint32_t m) {
    return std::tuple(in.before[m] <= ideal[m].whole, ~ideal[m].part, m);
  };
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return rank(a) < rank(b); });
  for (uint32_t m : order) {
    if (left == 0) break;
    if (ideal[m].part == 0 || zone_room[in.zone[m]] == 0) continue;
    ++quota[m], --zone_room[in.zone[m]], --left;
  }
  CHECK(left == 0);
  return quota;
}

}  // namespace covey
