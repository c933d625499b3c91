// Any bytes as a multipart/form-data body: refused or read, within its limits, and read alike
// however the bytes were cut.
// sources: s3gw/ops/form.cpp s3gw/ops/errors.cpp s3gw/ops/text.cpp s3gw/http/request.cpp
// sources: base/async/*.cpp
#include "s3gw/ops/form.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "base/async/scope.h"
#include "base/core/check.h"

namespace {

using namespace covey;

class Pieces : public HttpBody {
 public:
  Pieces(std::string_view text, size_t step) : text_(text), step_(step) {}
  Task<Result<Blob>> next(size_t max_bytes) override {
    Blob piece = Blob::copy(text_.substr(0, std::min(step_, max_bytes)));
    text_.remove_prefix(piece.size());
    co_return piece;
  }

 private:
  std::string_view text_;
  size_t step_;
};

// What was read, as text; the error that ended it, too.
Task<void> read(std::string_view input, size_t step, std::string& seen) {
  Pieces body(input, step);
  FormReader form(body, "multipart/form-data; boundary=b");
  auto head = co_await form.read_head();
  if (!head) {
    seen = "refused";
    co_return;
  }
  size_t bytes = 0;
  for (const auto& [name, value] : head->fields) {
    seen += name + "=" + value + ";";
    bytes += name.size() + value.size();
  }
  CHECK(bytes <= kFormFieldsBytesMax);
  seen += head->has_file ? "file " + head->file_name : std::string("no file");
  while (head->has_file) {
    auto piece = co_await form.next(100);
    if (!piece) {
      seen = "broken";
      co_return;
    }
    if (piece->empty()) break;
    CHECK(piece->size() <= 100);
    seen += piece->view();
  }
}

std::string form_of(std::string_view input, size_t step) {
  std::string seen;
  Scope scope;
  scope.spawn(read(input, step, seen));
  CHECK(scope.running() == 0);
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  CHECK(form_of(input, 1 + data[0] % 40) == form_of(input, 1 << 20));
  return 0;
}
