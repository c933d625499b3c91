#include "base/core/result.h"

namespace covey {

std::string_view error_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid: return "invalid";
    case ErrorCode::kNotFound: return "not_found";
    case ErrorCode::kAlreadyExists: return "already_exists";
    case ErrorCode::kDenied: return "denied";
    case ErrorCode::kNotImplemented: return "not_implemented";
    case ErrorCode::kTooLarge: return "too_large";
    case ErrorCode::kOverloaded: return "overloaded";
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kIo: return "io";
    case ErrorCode::kNoSpace: return "no_space";
    case ErrorCode::kCorrupt: return "corrupt";
    case ErrorCode::kTimeout: return "timeout";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kUnknownOutcome: return "unknown_outcome";
    case ErrorCode::kConflict: return "conflict";
    case ErrorCode::kStale: return "stale";
    case ErrorCode::kPreconditionFailed: return "precondition_failed";
    case ErrorCode::kNotModified: return "not_modified";
    case ErrorCode::kNoSuchBucket: return "no_such_bucket";
    case ErrorCode::kNoSuchKey: return "no_such_key";
    case ErrorCode::kNoSuchVersion: return "no_such_version";
    case ErrorCode::kNoSuchUpload: return "no_such_upload";
    case ErrorCode::kInvalidPart: return "invalid_part";
    case ErrorCode::kInvalidPartOrder: return "invalid_part_order";
    case ErrorCode::kEntityTooSmall: return "entity_too_small";
    case ErrorCode::kEntityTooLarge: return "entity_too_large";
    case ErrorCode::kBucketNotEmpty: return "bucket_not_empty";
    case ErrorCode::kBucketAlreadyExists: return "bucket_already_exists";
    case ErrorCode::kBucketAlreadyOwnedByYou: return "bucket_already_owned_by_you";
    case ErrorCode::kBadDigest: return "bad_digest";
    case ErrorCode::kIncompleteBody: return "incomplete_body";
    case ErrorCode::kInvalidRange: return "invalid_range";
    case ErrorCode::kInvalidArgument: return "invalid_argument";
  }
  return "unknown";
}

std::string to_string(const Error& error) {
  std::string text(error_name(error.code));
  if (!error.message.empty()) text.append(": ").append(error.message);
  return text;
}

}  // namespace covey
