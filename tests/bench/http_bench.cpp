// Serves a fixed reply of N bytes (default 4096) on 127.0.0.1:PORT until SIGTERM; PUT bodies are
// drained. For wrk and curl: what the HTTP layer costs by itself.
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/os/uv_loop.h"
#include "s3gw/http/server.h"

using namespace covey;

namespace {

class Fixed : public HttpHandler {
 public:
  explicit Fixed(size_t size) : body_(Blob::own(std::string(size, 'x'))) {}
  Task<HttpResponse> handle(HttpRequest& request) override {
    HttpResponse response;
    size_t total = 0;
    while (request.content_length > 0 || request.chunked) {
      auto piece = co_await request.body->next(1 << 20);
      if (!piece || piece->empty()) break;
      total += piece->size();
    }
    if (request.content_length > 0 || request.chunked) {
      response.body = Blob::own(std::to_string(total) + "\n");
    } else {
      response.body = body_;
    }
    co_return response;
  }
  HttpResponse refuse(int status, std::string_view why) override {
    HttpResponse response;
    response.status = status;
    response.body = Blob::copy(why);
    return response;
  }

 private:
  Blob body_;
};

}  // namespace

int main(int argc, char** argv) {
  uint16_t port = static_cast<uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8080);
  std::signal(SIGPIPE, SIG_IGN);
  UvLoop loop("http");
  Fixed handler(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 4096);
  HttpServer server(loop, handler);
  Address at;
  at.host = "127.0.0.1";
  at.port = port;
  Status listening = server.listen(at);
  if (!listening) {
    std::fprintf(stderr, "%s\n", to_string(listening.error()).c_str());
    return 1;
  }
  loop.run();
}
