// AWS's error codes: one table of code, HTTP status and default message, and the way from an Error
// of any layer to one of them. Source: AWS, "Error responses", S3 API reference.
#pragma once

#include <string>
#include <string_view>

#include "base/core/result.h"

namespace covey {

struct S3ErrorCode {
  std::string_view code;
  int status;
  std::string_view message;
};

// The table's row; the one of InternalError for a code that is not in the table.
const S3ErrorCode& find_s3_error(std::string_view code);

// An Error that answers with exactly this AWS code; `message` empty: the table's.
tl::unexpected<Error> s3_error(std::string_view code, std::string message = {});

// What the client sees of `error`. An Error whose detail is a known AWS code is that code; else its
// ErrorCode decides. `conditional`: the request carried If-Match or If-None-Match.
const S3ErrorCode& answer_of(const Error& error, bool conditional);
// What a client is told of it: why a request is refused. What failed inside (names of disks and
// nodes) is for the operator and stands in the log only.
std::string_view client_message(const Error& error, const S3ErrorCode& answer);

}  // namespace covey
