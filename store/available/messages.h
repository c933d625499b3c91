// What nodes say to each other about rows of available buckets (PeerService::kAvailable).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "store/register/registers.h"

namespace covey {

enum class AvailableVerb : uint8_t {
  kRead = 1,            // a row, or a hint for it
  kMerge = 2,           // join a row and store its attachments
  kRange = 3,           // rows of a range, with those that are hints
  kMutate = 4,          // to a replica: do this
  kReadAttachment = 5,  // attachments[0] names it
  kPutAttachments = 6,
  kSeal = 7,    // the bucket takes no more writes; says whether it holds an object here
  kUnseal = 8,  // it does again
};

struct AvailableRequest {
  AvailableVerb verb = AvailableVerb::kRead;
  RegisterKey key;  // of a range: where it begins
  std::string row;  // an encoded AvailableRow
  std::vector<Attachment> attachments;
  std::string end;
  uint64_t limit = 0;
  BucketId bucket;
  std::string body;       // kMutate
  OperationId operation;  // likewise: twice the same is done once
  uint32_t budget_ms = 0;
};

struct AvailableItem {
  std::string key;
  std::string row;  // an encoded AvailableRow
};

struct AvailableReply {
  bool replica = false;  // of the partition; else what is told are hints
  std::vector<AvailableItem> items;
  bool cut = false;                 // there is more behind the last item
  std::optional<std::string> text;  // of an attachment, of a mutation
  bool live = false;                // kSeal: an object is there
};

std::string encode_available_request(const AvailableRequest& request);
Result<AvailableRequest> decode_available_request(std::string_view bytes);
std::string encode_available_reply(const AvailableReply& reply);
Result<AvailableReply> decode_available_reply(std::string_view bytes);

}  // namespace covey
