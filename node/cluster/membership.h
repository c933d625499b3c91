// What the cluster needs of gossip, so that tests can stand in for it.
#pragma once

#include "gossip/swim/driver.h"

namespace covey {

class Membership {
 public:
  virtual ~Membership() = default;
  virtual Gossip::Members members() const = 0;
  virtual void update_meta(MemberMeta meta) = 0;
};

class GossipMembership final : public Membership {
 public:
  explicit GossipMembership(Gossip& gossip) : gossip_(gossip) {}
  Gossip::Members members() const override { return gossip_.members(); }
  void update_meta(MemberMeta meta) override { gossip_.update_meta(std::move(meta)); }

 private:
  Gossip& gossip_;
};

}  // namespace covey
