// Blob: immutable bytes with shared ownership. Copying a Blob copies a pointer; slicing shares the
// bytes. Bodies travel from socket to disk and back as Blobs, so that no layer copies a block.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace covey {

class Blob {
 public:
  Blob() = default;
  // Shares `bytes`, which stay valid as long as `owner` lives.
  Blob(std::shared_ptr<const void> owner, std::string_view bytes)
      : owner_(std::move(owner)), bytes_(bytes) {}

  static Blob own(std::string bytes) {
    auto kept = std::make_shared<const std::string>(std::move(bytes));
    std::string_view view = *kept;
    return Blob(std::move(kept), view);
  }
  static Blob copy(std::string_view bytes) { return own(std::string(bytes)); }

  std::string_view view() const { return bytes_; }
  const char* data() const { return bytes_.data(); }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  // The bytes [offset, offset + size), cut at the end. REQUIRES: offset <= size().
  Blob slice(size_t offset, size_t size = std::string_view::npos) const {
    return Blob(owner_, bytes_.substr(offset, size));
  }

 private:
  std::shared_ptr<const void> owner_;
  std::string_view bytes_;
};

}  // namespace covey
