// LocalRegisters and LocalBlocks: the contracts of store/register and store/block for one node in
// memory, for tests of what stands above them. Every write is chosen at once; refusals, fences and
// the garbage hook are as in the real ones.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "store/block/blocks.h"
#include "store/register/registers.h"

namespace covey {

class LocalRegisters : public Registers {
 public:
  void add_table(const RegisterTable& table) { tables_[table.id()] = &table; }

  Task<Result<std::string>> mutate(RegisterKey key, Mutation mutation, TimePoint) override {
    CO_TRY_STATUS(check(key.partition, mutation.fence));
    const RegisterTable& table = *tables_.at(key.table);
    Name name(key.table, key.partition, key.key);
    auto it = rows_.find(name);
    std::optional<std::string> now;
    if (it != rows_.end()) now = it->second;
    CO_TRY(RegisterTable::Write write, table.apply(now, mutation));
    for (const Attachment& row : mutation.attachments) attach(key.partition, row);
    std::optional<std::string> fresh;
    if (!write.tombstone) fresh = write.row;
    ++ranks_[name].seq;
    if (now) table.on_replace(key, *now, fresh, displaced);
    if (fresh)
      rows_[name] = *fresh;
    else
      rows_.erase(name);
    co_return write.reply;
  }
  Task<Result<ReadResult>> read(RegisterKey key, bool with_inline, Fence fence,
                                TimePoint) override {
    CO_TRY_STATUS(check(key.partition, fence));
    ReadResult result;
    Name name(key.table, key.partition, key.key);
    if (auto rank = ranks_.find(name); rank != ranks_.end()) result.rank = rank->second;
    auto it = rows_.find(name);
    if (it == rows_.end()) co_return result;
    result.row = it->second;
    auto place = tables_.at(key.table)->inline_attachment(it->second);
    if (with_inline && place)
      result.attachment = attachments_[{key.partition, place->first, place->second}];
    co_return result;
  }
  Task<Result<RangePage>> range(RangeQuery query, TimePoint) override {
    CO_TRY_STATUS(check(query.partition, query.fence));
    RangePage page;
    std::string at = query.begin;
    while (true) {
      auto it = rows_.lower_bound(Name(query.table, query.partition, at));
      if (it == rows_.end() || std::get<0>(it->first) != query.table ||
          std::get<1>(it->first) != query.partition || std::get<2>(it->first) >= query.end) {
        break;
      }
      const std::string& key = std::get<2>(it->first);
      if (page.items.size() == query.limit) {
        page.truncated = true;
        page.next = key;
        break;
      }
      size_t cut = query.delimiter.empty() ? std::string::npos
                                           : key.find(query.delimiter, query.delimiter_from);
      if (cut == std::string::npos) {
        page.items.push_back({key, it->second, false});
        at = key + '\0';
      } else {
        std::string prefix = key.substr(0, cut + query.delimiter.size());
        at = prefix;
        at.back() = static_cast<char>(at.back() + 1);
        page.items.push_back({std::move(prefix), "", true});
      }
    }
    co_return page;
  }
  Task<Status> put_attachments(PartitionId partition, std::vector<Attachment> rows, Fence fence,
                               TimePoint) override {
    CO_TRY_STATUS(check(partition, fence));
    for (const Attachment& row : rows) attach(partition, row);
    co_return Status();
  }
  Task<Result<std::string>> read_attachment(PartitionId partition, VersionId owner,
                                            std::string suffix, TimePoint) override {
    ++attachment_reads;
    auto it = attachments_.find({partition, owner, suffix});
    if (it == attachments_.end()) co_return fail(ErrorCode::kNotFound);
    co_return it->second;
  }
  Task<Status> fence(PartitionId partition, Fence fence, TimePoint) override {
    uint64_t& known = fences_[{partition, fence.bucket}];
    known = std::max(known, fence.generation);
    co_return Status();
  }
  Result<LocalState> local(const RegisterKey& key) override {
    LocalState state;
    state.committed = true;
    auto it = rows_.find(Name(key.table, key.partition, key.key));
    if (it != rows_.end()) state.row = it->second;
    return state;
  }

  WriteBatch displaced;  // what on_replace added
  uint64_t attachment_reads = 0;

 private:
  using Name = std::tuple<TableId, PartitionId, std::string>;
  Status check(PartitionId partition, const Fence& fence) {
    auto it = fences_.find({partition, fence.bucket});
    if (it != fences_.end() && fence.generation < it->second) return fail(ErrorCode::kStale);
    return {};
  }
  void attach(PartitionId partition, const Attachment& row) {
    attachments_[{partition, row.owner, row.suffix}] = row.value;
  }
  std::map<TableId, const RegisterTable*> tables_;
  std::map<Name, std::string> rows_;
  std::map<Name, Rank> ranks_;  // of tombstones, too
  std::map<std::tuple<PartitionId, VersionId, std::string>, std::string> attachments_;
  std::map<std::pair<PartitionId, BucketId>, uint64_t> fences_;
};

class LocalBlocks : public Blocks {
 public:
  Task<Status> put(PartitionId, BlockId id, BlockOwner, Blob payload, TimePoint) override {
    blocks[id] = std::string(payload.view());
    co_return Status();
  }
  Task<Result<Blob>> get(PartitionId, BlockId id, uint32_t offset, uint32_t size,
                         TimePoint) override {
    auto it = blocks.find(id);
    if (it == blocks.end() || offset + size > it->second.size())
      co_return fail(ErrorCode::kNotFound);
    co_return Blob::copy(std::string_view(it->second).substr(offset, size));
  }
  uint32_t read_step(PartitionId) const override { return 256 * 1024; }
  Task<Status> drop_local(PartitionId, VersionId version) override {
    std::erase_if(blocks, [&](const auto& entry) { return entry.first.version == version; });
    co_return Status();
  }
  Usage usage() const override { return {}; }

  std::map<BlockId, std::string> blocks;
};

}  // namespace covey
