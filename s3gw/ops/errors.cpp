#include "s3gw/ops/errors.h"

#include <algorithm>
#include <array>

namespace covey {

// Sorted by code: looked up by binary search (checked by a test).
static constexpr S3ErrorCode kErrors[] = {
    {"AccessDenied", 403, "Access Denied"},
    {"AccessForbidden", 403, "CORSResponse: CORS is not enabled for this bucket."},
    {"AuthorizationHeaderMalformed", 400,
     "The authorization header that you provided is not valid."},
    {"AuthorizationQueryParametersError", 400, "Error parsing the query authorization parameters."},
    {"BadDigest", 400,
     "The Content-MD5 or checksum value that you specified did not match what the server "
     "received."},
    {"BadRequest", 400, "Bad Request"},
    {"BucketAlreadyExists", 409,
     "The requested bucket name is not available. The bucket namespace is shared by all users of "
     "the system. Select a different name and try again."},
    {"BucketAlreadyOwnedByYou", 409,
     "Your previous request to create the named bucket succeeded and you already own it."},
    {"BucketNotEmpty", 409, "The bucket that you tried to delete is not empty."},
    {"ConditionalRequestConflict", 409,
     "The conditional request cannot succeed due to a conflicting operation against this "
     "resource."},
    {"EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed object size."},
    {"EntityTooSmall", 400,
     "Your proposed upload is smaller than the minimum allowed object size."},
    {"ExpiredToken", 400, "The provided token has expired."},
    {"IllegalLocationConstraintException", 400,
     "The location constraint is incompatible for the region specific endpoint this request was "
     "sent to."},
    {"IncompleteBody", 400,
     "You did not provide the number of bytes specified by the Content-Length HTTP header."},
    {"IncorrectNumberOfFilesInPostRequest", 400,
     "POST requires exactly one file upload per request."},
    {"InsufficientStorage", 507,
     "There is not enough free space on the cluster to store this. Delete something or add "
     "capacity."},
    {"InternalError", 500, "We encountered an internal error. Please try again."},
    {"InvalidAccessKeyId", 403,
     "The AWS access key ID that you provided does not exist in our records."},
    {"InvalidArgument", 400, "Invalid Argument"},
    {"InvalidBucketName", 400, "The specified bucket is not valid."},
    {"InvalidDigest", 400, "The Content-MD5 or checksum value that you specified is not valid."},
    {"InvalidLocationConstraint", 400, "The specified location-constraint is not valid."},
    {"InvalidPart", 400,
     "One or more of the specified parts could not be found. The part may not have been uploaded, "
     "or the specified entity tag may not match the part's entity tag."},
    {"InvalidPartNumber", 416, "The requested partnumber is not satisfiable"},
    {"InvalidPartOrder", 400,
     "The list of parts was not in ascending order. The parts list must be specified in order by "
     "part number."},
    {"InvalidPolicyDocument", 400,
     "The content of the form does not meet the conditions specified in the policy document."},
    {"InvalidRange", 416, "The requested range is not satisfiable"},
    {"InvalidRequest", 400, "Invalid Request"},
    {"InvalidStorageClass", 400, "The storage class you specified is not valid"},
    {"InvalidTag", 400,
     "The tag provided was not a valid tag. This error can occur if the tag did not pass input "
     "validation."},
    {"InvalidTargetBucketForLogging", 400,
     "The target bucket for logging does not exist or is not owned by you."},
    {"InvalidToken", 400, "The provided token is malformed or otherwise not valid."},
    {"InvalidURI", 400, "Couldn't parse the specified URI."},
    {"KeyTooLongError", 400, "Your key is too long"},
    {"MalformedACLError", 400,
     "The XML you provided was not well-formed or did not validate against our published schema"},
    {"MalformedPOSTRequest", 400,
     "The body of your POST request is not well-formed multipart/form-data."},
    {"MalformedTrailerError", 400,
     "The request contained trailing data that was not well-formed or did not conform to our "
     "published schema."},
    {"MalformedXML", 400,
     "The XML you provided was not well-formed or did not validate against our published schema"},
    {"MaxMessageLengthExceeded", 400, "Your request was too big."},
    {"MaxPostPreDataLengthExceededError", 400,
     "Your POST request fields preceding the upload file were too large."},
    {"MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size."},
    {"MethodNotAllowed", 405, "The specified method is not allowed against this resource."},
    {"MissingContentLength", 411, "You must provide the Content-Length HTTP header."},
    {"MissingRequestBodyError", 400, "Request Body is empty"},
    {"MissingSecurityHeader", 400, "Your request is missing a required header."},
    {"NoSuchBucket", 404, "The specified bucket does not exist"},
    {"NoSuchBucketPolicy", 404, "The bucket policy does not exist"},
    {"NoSuchCORSConfiguration", 404, "The CORS configuration does not exist"},
    {"NoSuchConfiguration", 404, "The specified configuration does not exist."},
    {"NoSuchKey", 404, "The specified key does not exist."},
    {"NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist"},
    {"NoSuchObjectLockConfiguration", 404,
     "The specified object does not have a ObjectLock configuration"},
    {"NoSuchPublicAccessBlockConfiguration", 404,
     "The public access block configuration was not found"},
    {"NoSuchTagSet", 404, "The TagSet does not exist"},
    {"NoSuchUpload", 404,
     "The specified upload does not exist. The upload ID may be invalid, or the upload may have "
     "been aborted or completed."},
    {"NoSuchVersion", 404, "The specified version does not exist."},
    {"NoSuchWebsiteConfiguration", 404,
     "The specified bucket does not have a website configuration"},
    {"NotImplemented", 501,
     "A header or operation you provided implies functionality that is not implemented"},
    {"NotModified", 304, "Not Modified"},
    {"ObjectLockConfigurationNotFoundError", 404,
     "Object Lock configuration does not exist for this bucket"},
    {"OperationAborted", 409,
     "A conflicting conditional operation is currently in progress against this resource. Please "
     "try again."},
    {"OwnershipControlsNotFoundError", 404, "The bucket ownership controls were not found"},
    {"PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold"},
    {"ReplicationConfigurationNotFoundError", 404, "The replication configuration was not found"},
    {"RequestExpired", 400, "Request has expired"},
    {"RequestHeaderSectionTooLarge", 400,
     "Your request header section exceeds the maximum allowed size."},
    {"RequestTimeTooSkewed", 403,
     "The difference between the request time and the server's time is too large."},
    {"RequestTimeout", 400,
     "Your socket connection to the server was not read from or written to within the timeout "
     "period."},
    {"ServerSideEncryptionConfigurationNotFoundError", 404,
     "The server side encryption configuration was not found"},
    {"ServiceUnavailable", 503, "Service is unable to handle request. Please try again."},
    {"SignatureDoesNotMatch", 403,
     "The request signature that the server calculated does not match the signature that you "
     "provided. Check your secret access key and signing method."},
    {"SlowDown", 503, "Please reduce your request rate."},
    {"TooManyBuckets", 400, "You have attempted to create more buckets than are allowed."},
    {"UnexpectedContent", 400, "This request contains unsupported content."},
    {"UnresolvableGrantByEmailAddress", 400,
     "The email address you provided does not match any account on record."},
    {"UnsupportedArgument", 400, "The request contained an unsupported argument."},
    {"UserKeyMustBeSpecified", 400,
     "The bucket POST request must contain the specified field name. If it is specified, check the "
     "order of the fields."},
    {"XAmzContentChecksumMismatch", 400,
     "The provided 'x-amz-checksum' header does not match what was computed."},
    {"XAmzContentSHA256Mismatch", 400,
     "The provided 'x-amz-content-sha256' header does not match what was computed."},
};

static const S3ErrorCode* look_up(std::string_view code) {
  auto it = std::lower_bound(std::begin(kErrors), std::end(kErrors), code,
                             [](const S3ErrorCode& e, std::string_view c) { return e.code < c; });
  return it != std::end(kErrors) && it->code == code ? &*it : nullptr;
}

const S3ErrorCode& find_s3_error(std::string_view code) {
  const S3ErrorCode* found = look_up(code);
  return found ? *found : *look_up("InternalError");
}

tl::unexpected<Error> s3_error(std::string_view code, std::string message) {
  return fail(ErrorCode::kInvalid, std::move(message), std::string(code));
}

static std::string_view default_code(ErrorCode code, bool conditional) {
  switch (code) {
    case ErrorCode::kInvalid: return "InvalidRequest";
    case ErrorCode::kInvalidArgument: return "InvalidArgument";
    case ErrorCode::kNotFound: return "NoSuchKey";
    case ErrorCode::kAlreadyExists: return "OperationAborted";
    case ErrorCode::kDenied: return "AccessDenied";
    case ErrorCode::kNotImplemented: return "NotImplemented";
    case ErrorCode::kTooLarge: return "EntityTooLarge";
    case ErrorCode::kOverloaded: return "SlowDown";
    case ErrorCode::kNoSpace: return "InsufficientStorage";
    case ErrorCode::kTimeout: return "RequestTimeout";
    case ErrorCode::kCancelled:
    case ErrorCode::kUnavailable:
    case ErrorCode::kStale:
    case ErrorCode::kUnknownOutcome: return "ServiceUnavailable";
    // Certainly not written: a client that asked for a condition decides itself what to do; for any
    // other an automatic retry is right.
    case ErrorCode::kConflict: return conditional ? "ConditionalRequestConflict" : "SlowDown";
    case ErrorCode::kPreconditionFailed: return "PreconditionFailed";
    case ErrorCode::kNotModified: return "NotModified";
    case ErrorCode::kNoSuchBucket: return "NoSuchBucket";
    case ErrorCode::kNoSuchKey: return "NoSuchKey";
    case ErrorCode::kNoSuchVersion: return "NoSuchVersion";
    case ErrorCode::kNoSuchUpload: return "NoSuchUpload";
    case ErrorCode::kInvalidPart: return "InvalidPart";
    case ErrorCode::kInvalidPartOrder: return "InvalidPartOrder";
    case ErrorCode::kEntityTooSmall: return "EntityTooSmall";
    case ErrorCode::kEntityTooLarge: return "EntityTooLarge";
    case ErrorCode::kBucketNotEmpty: return "BucketNotEmpty";
    case ErrorCode::kBucketAlreadyExists: return "BucketAlreadyExists";
    case ErrorCode::kBucketAlreadyOwnedByYou: return "BucketAlreadyOwnedByYou";
    case ErrorCode::kBadDigest: return "BadDigest";
    case ErrorCode::kIncompleteBody: return "IncompleteBody";
    case ErrorCode::kInvalidRange: return "InvalidRange";
    case ErrorCode::kIo:
    case ErrorCode::kCorrupt: return "InternalError";
  }
  return "InternalError";
}

std::string_view client_message(const Error& error, const S3ErrorCode& answer) {
  bool inside = answer.status >= 500 && answer.status != 501;
  return inside || error.message.empty() ? answer.message : std::string_view(error.message);
}

const S3ErrorCode& answer_of(const Error& error, bool conditional) {
  if (const S3ErrorCode* named = look_up(error.detail)) return *named;
  return find_s3_error(default_code(error.code, conditional));
}

}  // namespace covey
