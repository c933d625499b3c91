// A blocking keep-alive HTTP client for the load generator: one connection, one thread.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace covey::bench {

struct Response {
  int status = 0;  // 0: the connection failed
  std::string head, body;
};

class Client {
 public:
  // `endpoint`: "http://127.0.0.1:3900". Numeric IPv4 only.
  explicit Client(const std::string& endpoint) : host_(endpoint.substr(endpoint.find("//") + 2)) {}
  ~Client() { drop(); }
  Client(const Client&) = delete;

  const std::string& host() const { return host_; }

  // Bodies above 64 KiB are read and thrown away; body_bytes of the reply counts them.
  Response send(const std::string& head, std::string_view body, uint64_t* body_bytes = nullptr) {
    Response reply;
    for (int tries = 0; tries < 2 && reply.status == 0; ++tries) {
      if (fd_ < 0 && !open()) return reply;
      std::string first = head;
      size_t inlined = body.size() <= 16384 ? body.size() : 0;
      first.append(body.substr(0, inlined));
      if (!write_all(first) || !write_all(body.substr(inlined)) ||
          !read_reply(reply, head, body_bytes)) {
        drop();
        reply = Response();
      }
    }
    return reply;
  }

 private:
  bool open() {
    size_t colon = host_.rfind(':');
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::atoi(host_.c_str() + colon + 1)));
    if (inet_pton(AF_INET, host_.substr(0, colon).c_str(), &to.sin_addr) != 1) return false;
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    timeval limit{30, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return true;
    drop();
    return false;
  }
  void drop() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
    buffer_.clear();
  }
  bool write_all(std::string_view data) {
    while (!data.empty()) {
      ssize_t n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      data.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  bool more() {
    static thread_local std::string chunk(256 * 1024, '\0');
    ssize_t n = recv(fd_, chunk.data(), chunk.size(), 0);
    if (n <= 0) return false;
    buffer_.append(chunk.data(), static_cast<size_t>(n));
    return true;
  }
  static std::string_view field(std::string_view head, std::string_view name) {
    for (size_t at = head.find("\r\n"); at != std::string_view::npos;
         at = head.find("\r\n", at + 2)) {
      std::string_view line = head.substr(at + 2);
      if (line.size() > name.size() && strncasecmp(line.data(), name.data(), name.size()) == 0 &&
          line[name.size()] == ':') {
        line = line.substr(name.size() + 1, line.find("\r\n") - name.size() - 1);
        while (!line.empty() && line[0] == ' ') line.remove_prefix(1);
        return line;
      }
    }
    return {};
  }
  bool read_reply(Response& reply, const std::string& request, uint64_t* body_bytes) {
    size_t end;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!more()) return false;
    }
    reply.head = buffer_.substr(0, end);
    buffer_.erase(0, end + 4);
    reply.status = std::atoi(reply.head.c_str() + 9);
    uint64_t total = 0;
    bool bodyless =
        request.compare(0, 5, "HEAD ") == 0 || reply.status == 204 || reply.status == 304;
    if (!bodyless && field(reply.head, "transfer-encoding") == "chunked") {
      if (!read_chunks(reply, total)) return false;
    } else if (!bodyless) {
      uint64_t left =
          std::strtoull(std::string(field(reply.head, "content-length")).c_str(), nullptr, 10);
      total = left;
      bool keep = left <= 4 << 20;
      while (left > 0) {
        if (buffer_.empty() && !more()) return false;
        size_t take = buffer_.size() < left ? buffer_.size() : static_cast<size_t>(left);
        if (keep) reply.body.append(buffer_, 0, take);
        buffer_.erase(0, take);
        left -= take;
      }
    }
    if (body_bytes) *body_bytes += total;
    if (field(reply.head, "connection") == "close") drop();
    return true;
  }
  bool read_chunks(Response& reply, uint64_t& total) {
    while (true) {
      size_t line;
      while ((line = buffer_.find("\r\n")) == std::string::npos) {
        if (!more()) return false;
      }
      size_t size = std::strtoull(buffer_.c_str(), nullptr, 16);
      buffer_.erase(0, line + 2);
      while (buffer_.size() < size + 2) {
        if (!more()) return false;
      }
      reply.body.append(buffer_, 0, size);
      total += size;
      buffer_.erase(0, size + 2);
      if (size == 0) return true;
    }
  }

  std::string host_;
  int fd_ = -1;
  std::string buffer_;
};

}  // namespace covey::bench
