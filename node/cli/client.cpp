#include "node/cli/client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "node/config/config.h"
#include "node/identity/private_file.h"

namespace covey {
namespace {

constexpr int kAnswerWithinSeconds = 30;

struct Socket {
  int fd = -1;
  ~Socket() {
    if (fd >= 0) ::close(fd);
  }
};

Status connect_to(Socket& socket, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(ErrorCode::kInvalid, "the path of the admin socket is too long: " + path +
                                         "; choose a shorter meta_dir");
  std::memcpy(address.sun_path, path.data(), path.size());
  socket.fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  timeval limit{kAnswerWithinSeconds, 0};
  ::setsockopt(socket.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(socket.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(socket.fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return {};
  if (errno == EACCES)
    return fail(ErrorCode::kUnavailable,
                "you may not talk to the node: run this as root or as the user it runs as");
  // Why it did not start, as it said in its log.
  std::string note = path.substr(0, path.rfind('/') + 1) + kDamageNote;
  if (auto why = read_private(note)) return fail(ErrorCode::kUnavailable, *why);
  return fail(ErrorCode::kUnavailable,
              fmt::format("no node answers on {} ({}); start it with `covey serve`, or name its "
                          "settings with --config",
                          path, std::strerror(errno)));
}

Status send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return fail(ErrorCode::kIo, "the node closed the connection");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<std::string> read_all(int fd) {
  std::string out;
  char buffer[16384];
  for (;;) {
    ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n == 0) return out;
    if (n < 0)
      return fail(ErrorCode::kIo, fmt::format("the node did not answer within {} s; see its log",
                                              kAnswerWithinSeconds));
    out.append(buffer, static_cast<size_t>(n));
    if (out.size() > kAdminReplyBytesMax) return fail(ErrorCode::kTooLarge, "too large an answer");
  }
}

}  // namespace

Result<AdminReply> ask_admin(const std::string& socket_path, const std::string& method,
                             const std::string& target, const Json& body) {
  Socket socket;
  TRY_STATUS(connect_to(socket, socket_path));
  std::string content = body.is_null() ? "" : dump(body);
  TRY_STATUS(send_all(socket.fd,
                      fmt::format("{} {} HTTP/1.1\r\nHost: covey\r\nConnection: close\r\n"
                                  "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
                                  method, target, content.size(), content)));
  TRY(std::string raw, read_all(socket.fd));
  size_t head_end = raw.find("\r\n\r\n");
  if (!raw.starts_with("HTTP/1.1 ") || head_end == std::string::npos)
    return fail(ErrorCode::kIo, "the node sent an answer that is not HTTP");
  AdminReply reply;
  reply.status = std::atoi(raw.c_str() + 9);
  reply.json = parse_json(std::string_view(raw).substr(head_end + 4));
  return reply;
}

}  // namespace covey
