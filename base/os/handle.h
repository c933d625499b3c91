// Ownership of libuv handles: a unique_ptr whose deleter closes the handle; libuv frees the memory
// on the loop's next turn. Make and destroy them on the loop's thread, or while no thread runs it.
#pragma once

#include <uv.h>

#include <memory>

namespace covey {

struct CloseHandle {
  template <class T>
  void operator()(T* handle) const {
    uv_close(reinterpret_cast<uv_handle_t*>(handle),
             [](uv_handle_t* closed) { delete reinterpret_cast<T*>(closed); });
  }
};

// A handle that uv_xxx_init has initialised (uv_close on any other is undefined).
template <class T>
using UvHandle = std::unique_ptr<T, CloseHandle>;

}  // namespace covey
