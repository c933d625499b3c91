// What register nodes say to each other. A decoder takes nothing that is malformed, and nothing
// that is longer than the message says.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "store/register/entry.h"
#include "store/register/registers.h"

namespace covey {

inline constexpr size_t kMessageAttachmentsMax = 4096;
inline constexpr size_t kCommitNoticesMax = 512;  // in one message
inline constexpr size_t kRangeVisitsMax = 16384;  // keys in one answer

enum class Verb : uint8_t {
  kPing = 1,
  // To a replica.
  kPrepare = 2,
  kLearn = 3,
  kAccept = 4,
  kRead = 5,
  kRange = 6,
  kCommitted = 7,
  kPutAttachments = 8,
  kReadAttachment = 9,
  kFence = 10,
  // To a holder.
  kPropose = 11,
  kLookUp = 12,
  kSettle = 13,
};

enum class Want : uint8_t { kRank = 0, kRow = 1, kRowInline = 2, kAll = 3 };
enum class RangeWant : uint8_t { kDigest = 0, kRanks = 1, kRows = 2 };

struct CommitNotice {
  RegisterKey key;
  Rank rank;
};

// Which members a verb uses stands in messages.cpp, in the one function that codes both ways.
struct Request {
  Verb verb = Verb::kPing;
  uint32_t epoch = 0;  // the layout epoch the sender has adopted
  RegisterKey key;     // of ranges and partition-wide verbs: table and partition only
  Ballot ballot;
  Want want = Want::kRank;
  Entry entry;
  bool repair = false;  // kAccept: no new row, it may use the share of the reserve for repairs
  Fence fence;
  std::vector<Attachment> attachments;
  OperationId operation;
  std::string body;
  uint32_t budget_ms = 0;
  Rank above;  // kSettle: the key is to have a rank above this one
  // Proposals (proposals.h): the sender's boot epoch, its number, the holder's boot epoch.
  uint32_t from_boot = 0;
  uint32_t to_boot = 0;
  uint64_t number = 0;
  std::vector<CommitNotice> notices;
  // Ranges: begin is key.key.
  std::string end;
  std::string stop;  // the walk ends after this key; empty: at `end`
  uint64_t limit = 0;
  std::string delimiter;
  uint32_t delimiter_from = 0;
  RangeWant range_want = RangeWant::kDigest;
};

enum class Answer : uint8_t {
  kYes = 1,
  kNack = 2,   // promised is higher
  kFloor = 3,  // the key is missing and the rank is not above the floor
  kStale = 4,  // the bucket's generation is fenced out
  kEpoch = 5,  // the layout epochs differ; `epoch` is the replica's
  kError = 6,
  kBoot = 7,  // the proposal is for another boot epoch of this holder; `epoch` is the present one
};

// One key that a range walk met.
struct Visit {
  std::string key;
  Rank rank;
  bool live = false;
  bool skipped = false;  // the walk went on behind the common prefix of this key
  std::string row;
};

struct Reply {
  Answer answer = Answer::kYes;
  uint32_t epoch = 0;
  Ballot promised;
  Rank floor;          // of a missing key
  bool never = false;  // of a Nack to an Accept: the replica has never accepted this very row
  bool present = false;
  bool has_entry = false;  // else only rank, tombstone and committed of `entry` are set
  Entry entry;
  std::vector<Attachment> attachments;
  std::optional<std::string> text;  // a reply of the table, an attachment
  ErrorCode code = ErrorCode::kInvalid;
  std::string message, detail;
  // Ranges.
  uint64_t digest = 0;
  std::vector<Visit> visits;
  bool cut = false;  // the walk ended at a limit, after `last`
  std::string last;
};

std::string encode_request(const Request& request);
Result<Request> decode_request(std::string_view bytes);
std::string encode_reply(const Reply& reply);
Result<Reply> decode_reply(std::string_view bytes);

}  // namespace covey
