// Requests, bodies and a pool for the tests of s3gw/auth, without a loop.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/async/scope.h"
#include "s3gw/auth/auth.h"
#include "s3gw/auth/sigv4.h"
#include "tests/fake/fixed_users.h"

namespace covey::testing {

inline constexpr char kAwsAccessKey[] = "AKIAIOSFODNN7EXAMPLE";
inline constexpr char kAwsSecret[] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

inline WallTime at(std::string_view stamp) { return *sigv4::parse_stamp(stamp); }

inline FixedUsers aws_users() {
  FixedUsers users;
  users.add(kAwsAccessKey, kAwsSecret, "id", "Example");
  return users;
}

// Gives `text` in pieces of at most `piece` bytes.
class TextBody : public HttpBody {
 public:
  TextBody(std::string text, size_t piece) : text_(std::move(text)), piece_(piece) {}
  Task<Result<Blob>> next(size_t max_bytes) override {
    size_t size = std::min({max_bytes, piece_, text_.size() - at_});
    Blob blob = Blob::copy(std::string_view(text_).substr(at_, size));
    at_ += size;
    co_return blob;
  }

 private:
  std::string text_;
  size_t piece_, at_ = 0;
};

// Runs everything at once, where it is.
class InlinePool : public Pool {
 public:
  void submit(std::function<void()> work, std::function<void()> done) override { work(), done(); }
};

template <class T>
Task<void> keep(Task<T> task, std::optional<T>& out) {
  out.emplace(co_await std::move(task));
}
// The result of a task that never waits.
template <class T>
T run(Task<T> task) {
  std::optional<T> out;
  Scope scope;
  scope.spawn(keep(std::move(task), out));
  CHECK(out.has_value());
  return std::move(*out);
}

struct Read {
  std::string bytes;
  BodyDigests digests;
};
inline Task<Result<Read>> read_all(BodySource& body, size_t max_bytes) {
  Read read;
  while (true) {
    CO_TRY(Blob piece, co_await body.next(max_bytes));
    if (piece.empty()) break;
    CHECK(piece.size() <= max_bytes);
    read.bytes.append(piece.view());
  }
  CO_TRY(read.digests, co_await body.finish());
  co_return read;
}

}  // namespace covey::testing
