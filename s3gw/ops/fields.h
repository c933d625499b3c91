// What request headers and query parameters say, checked.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "s3gw/ops/call.h"

namespace covey {

// Refuses what is not built, so that it is never silently ignored: encryption, object lock,
// other storage classes. Every request passes here.
Status refuse_unsupported(const Call& call);

// If-Match and friends; `prefix` "" or "x-amz-copy-source-".
Conditions read_conditions(const Call& call, std::string_view prefix);
// If-Match and If-None-Match only: what a write may carry.
Conditions read_write_conditions(const Call& call);
bool is_conditional(const Call& call);

// A Range header; nullopt when absent or not of the form AWS serves (then the whole object is
// sent).
std::optional<RangeSpec> read_range(std::string_view header);

// Content-Type, x-amz-meta-*, x-amz-tagging, ... Errors: MetadataTooLarge, InvalidTag.
Result<ObjectAttributes> read_attributes(Call& call);
// "a=1&b=2", as x-amz-tagging carries it.
Result<std::map<std::string, std::string>> parse_tag_header(std::string_view text);
// A <Tagging> document of an object.
Result<std::map<std::string, std::string>> parse_object_tagging(std::string_view body);
Status check_tags(const std::map<std::string, std::string>& tags, size_t most);

Result<std::optional<std::string>> read_version(Call& call);
// partNumber: 0 when absent; InvalidArgument outside 1..10000.
Result<uint32_t> read_part_number(Call& call);
Result<UploadId> read_upload_id(Call& call);
// max-keys and its kin: `name`'s value cut to `most`; `most` when absent.
Result<size_t> read_limit(Call& call, std::string_view name, size_t most);
// encoding-type: true for "url".
Result<bool> read_encoding(Call& call);

// The algorithm of a checksum the client sent or announced as a trailer: "CRC32C"; empty: none.
std::string client_checksum_algorithm(const Call& call);
bool is_checksum_algorithm(std::string_view name);
// x-amz-checksum-* headers of a request without a body of its own (Complete).
Checksum read_checksum_header(const Call& call);

struct CopySource {
  std::string bucket, key;
  std::optional<std::string> version;
};
Result<CopySource> read_copy_source(Call& call);

Status check_key(Call& call, std::string_view key);

}  // namespace covey
