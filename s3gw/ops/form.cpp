#include "s3gw/ops/form.h"

#include <algorithm>

#include "base/core/limits.h"
#include "s3gw/ops/errors.h"
#include "s3gw/ops/text.h"

namespace covey {

// The value of `name=` in a header of parameters, quoted or not.
static std::string parameter(std::string_view header, std::string_view name) {
  std::string low = lower(header);
  std::string wanted = std::string(name) + "=";
  size_t at = 0;
  while ((at = low.find(wanted, at)) != std::string::npos) {
    if (at == 0 || low[at - 1] == ';' || low[at - 1] == ' ') break;
    at += wanted.size();
  }
  if (at == std::string::npos) return {};
  std::string_view rest = header.substr(at + wanted.size());
  if (!rest.starts_with("\"")) return std::string(trim(rest.substr(0, rest.find(';'))));
  rest.remove_prefix(1);
  return std::string(rest.substr(0, rest.find('"')));
}

FormReader::FormReader(HttpBody& body, std::string_view content_type) : body_(body) {
  std::string boundary = parameter(content_type, "boundary");
  if (!boundary.empty() && boundary.size() <= 70) delimiter_ = "\r\n--" + boundary;
  buffer_ = "\r\n";  // so that the first boundary looks like the others
}

Task<Result<bool>> FormReader::fill() {
  CO_TRY(Blob more, co_await body_.next(64 * kKiB));
  if (more.empty()) co_return false;
  buffer_.append(more.view());
  co_return true;
}

// The head of the next part ("Name: value" lines); empty after the closing boundary.
Task<Result<std::string>> FormReader::read_part_head() {
  while (true) {
    if (buffer_.starts_with(delimiter_ + "--")) co_return std::string();
    size_t after = delimiter_.size();
    size_t end = buffer_.find("\r\n\r\n", after);
    if (buffer_.starts_with(delimiter_) && end != std::string::npos) {
      // "\r\n", then at least one header.
      bool good = buffer_.compare(after, 2, "\r\n") == 0 && end > after &&
                  end <= after + kFormPartHeadBytesMax;
      if (!good) co_return s3_error("MalformedPOSTRequest");
      std::string head = buffer_.substr(after + 2, end - after - 2);
      buffer_.erase(0, end + 4);
      co_return head;
    }
    bool possible = std::string_view(buffer_).starts_with(
        std::string_view(delimiter_).substr(0, std::min(buffer_.size(), delimiter_.size())));
    if (!possible || buffer_.size() > delimiter_.size() + kFormPartHeadBytesMax)
      co_return s3_error("MalformedPOSTRequest");
    CO_TRY(bool more, co_await fill());
    if (!more) co_return s3_error("MalformedPOSTRequest");
  }
}

Task<Result<std::string>> FormReader::read_field_value() {
  while (true) {
    size_t end = buffer_.find(delimiter_);
    if (end != std::string::npos) {
      std::string value = buffer_.substr(0, end);
      buffer_.erase(0, end);
      co_return value;
    }
    if (buffer_.size() > kFormFieldsBytesMax + 64 * kKiB)
      co_return s3_error("MaxPostPreDataLengthExceededError");
    CO_TRY(bool more, co_await fill());
    if (!more) co_return s3_error("MalformedPOSTRequest");
  }
}

static std::string header_line(std::string_view head, std::string_view name) {
  while (!head.empty()) {
    size_t end = head.find("\r\n");
    std::string_view line = head.substr(0, end);
    head = end == std::string_view::npos ? std::string_view() : head.substr(end + 2);
    size_t colon = line.find(':');
    if (colon != std::string_view::npos && lower(trim(line.substr(0, colon))) == name)
      return std::string(trim(line.substr(colon + 1)));
  }
  return {};
}

Task<Result<FormReader::Head>> FormReader::read_head() {
  Head form;
  if (delimiter_.empty()) co_return s3_error("MalformedPOSTRequest");
  size_t total = 0;
  while (true) {
    CO_TRY(std::string head, co_await read_part_head());
    if (head.empty()) co_return form;
    std::string disposition = header_line(head, "content-disposition");
    std::string name = lower(parameter(disposition, "name"));
    if (name.empty()) co_return s3_error("MalformedPOSTRequest");
    if (name == "file") {
      form.has_file = true;
      form.file_name = parameter(disposition, "filename");
      form.file_type = header_line(head, "content-type");
      co_return form;
    }
    CO_TRY(std::string value, co_await read_field_value());
    total += name.size() + value.size();
    if (total > kFormFieldsBytesMax) co_return s3_error("MaxPostPreDataLengthExceededError");
    form.fields.emplace(std::move(name), std::move(value));
  }
}

Task<Result<Blob>> FormReader::next(size_t max_bytes) {
  while (!file_ended_) {
    size_t end = buffer_.find(delimiter_);
    if (end == 0) {
      file_ended_ = true;
      break;
    }
    // Without a delimiter in sight its beginning may still stand at the end of the buffer.
    size_t keep = delimiter_.size();
    size_t ready = end != std::string::npos ? end
                   : buffer_.size() > keep  ? buffer_.size() - keep
                                            : 0;
    if (ready > 0) {
      size_t size = std::min(ready, max_bytes);
      Blob piece = Blob::copy(std::string_view(buffer_).substr(0, size));
      buffer_.erase(0, size);
      co_return piece;
    }
    CO_TRY(bool more, co_await fill());
    if (!more) co_return fail(ErrorCode::kIncompleteBody, "The form ended inside its file.");
  }
  co_return Blob();
}

Task<Status> FormReader::drain() {
  while (true) {
    buffer_.clear();
    CO_TRY(bool more, co_await fill());
    if (!more) co_return Status();
  }
}

}  // namespace covey
