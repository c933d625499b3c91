// multipart/form-data as browsers send it: fields first, then one file, read as it arrives.
// Source: RFC 7578; AWS, "POST Object".
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "s3gw/http/http.h"

namespace covey {

inline constexpr size_t kFormFieldsBytesMax = 20 * 1024;  // AWS: everything before the file
inline constexpr size_t kFormPartHeadBytesMax = 4 * 1024;

class FormReader {
 public:
  // `content_type` names the boundary.
  FormReader(HttpBody& body, std::string_view content_type);

  struct Head {
    std::map<std::string, std::string> fields;  // names lower-case
    bool has_file = false;
    std::string file_name, file_type;
  };
  // Everything up to the first byte of the file. Errors carry AWS's code.
  Task<Result<Head>> read_head();
  // The file's next bytes, at most `max_bytes`; empty at its end.
  Task<Result<Blob>> next(size_t max_bytes);
  // Reads and drops what follows the file.
  Task<Status> drain();

 private:
  Task<Result<bool>> fill();  // false at the end of the body
  Task<Result<std::string>> read_part_head();
  Task<Result<std::string>> read_field_value();

  HttpBody& body_;
  std::string delimiter_;  // "\r\n--boundary"; empty: the content type names none
  std::string buffer_;
  bool file_ended_ = false;
};

}  // namespace covey
