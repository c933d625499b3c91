// Result<T> is a value or an Error. Nothing in Covey throws: an error that a caller can meet is
// returned.
//
//   TRY(Bytes raw, read(at));                    in functions: returns the error to the caller
//   CO_TRY(Bytes raw, co_await disk.read(at));   in coroutines
//   TRY_STATUS(check(raw)); CO_TRY_STATUS(co_await file.sync());
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace covey {

enum class ErrorCode : uint8_t {
  // General.
  kInvalid = 1,     // the request or the input is wrong; trying again will not help
  kNotFound,        // what was named does not exist
  kAlreadyExists,   // what was to be created exists
  kDenied,          // the caller may not do this
  kNotImplemented,  // a clear 501, never a silent success
  kTooLarge,        // above a named limit of base/core/limits.h
  kOverloaded,      // a bounded queue or the memory cap is full; try again later
  kCancelled,       // the scope or the process is stopping
  // Storage.
  kIo,       // the disk failed; the process stops acknowledging
  kNoSpace,  // the disk is full; reads and deletes still work
  kCorrupt,  // a checksum did not match
  // Distribution.
  kTimeout,         // no answer within the deadline
  kUnavailable,     // no quorum could be reached; nothing was done
  kUnknownOutcome,  // the write may or may not have happened
  kConflict,        // another write was in flight; this one was certainly not done
  kStale,           // the caller's bucket generation, layout epoch or ballot is too old
  // S3 objects (s3gw/ maps each of these to AWS's code and status).
  kPreconditionFailed,
  kNotModified,
  kNoSuchBucket,
  kNoSuchKey,
  kNoSuchVersion,
  kNoSuchUpload,
  kInvalidPart,
  kInvalidPartOrder,
  kEntityTooSmall,
  kEntityTooLarge,
  kBucketNotEmpty,
  kBucketAlreadyExists,
  kBucketAlreadyOwnedByYou,
  kBadDigest,
  kIncompleteBody,
  kInvalidRange,
  kInvalidArgument,
};

// The stable lower-case name, as it stands in logs and on the wire: "not_found".
std::string_view error_name(ErrorCode code);

struct Error {
  ErrorCode code;
  std::string message;  // for people: what went wrong and, where it helps, what to do next
  std::string detail;   // for the layer above: e.g. the S3 code that answers it; often empty
};

template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  Result(tl::expected<T, Error> other) : tl::expected<T, Error>(std::move(other)) {}

  // REQUIRES: !has_value().
  ErrorCode code() const { return this->error().code; }
  bool is(ErrorCode code) const { return !this->has_value() && this->error().code == code; }
};

using Status = Result<void>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string message = {},
                                  std::string detail = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), std::move(detail)});
}

// "not_found: no such key".
std::string to_string(const Error& error);

}  // namespace covey

#define COVEY_CAT_(a, b) a##b
#define COVEY_CAT(a, b) COVEY_CAT_(a, b)
#define COVEY_TRY_(tmp, ret, decl, ...)                                 \
  auto tmp = __VA_ARGS__;                                               \
  if (!tmp) ret tl::unexpected<::covey::Error>(std::move(tmp).error()); \
  decl = std::move(tmp).value()
#define COVEY_TRY_STATUS_(tmp, ret, ...) \
  auto tmp = __VA_ARGS__;                \
  if (!tmp) ret tl::unexpected<::covey::Error>(std::move(tmp).error())

#define TRY(decl, ...) COVEY_TRY_(COVEY_CAT(try_, __LINE__), return, decl, __VA_ARGS__)
#define CO_TRY(decl, ...) COVEY_TRY_(COVEY_CAT(try_, __LINE__), co_return, decl, __VA_ARGS__)
#define TRY_STATUS(...) COVEY_TRY_STATUS_(COVEY_CAT(try_, __LINE__), return, __VA_ARGS__)
#define CO_TRY_STATUS(...) COVEY_TRY_STATUS_(COVEY_CAT(try_, __LINE__), co_return, __VA_ARGS__)
