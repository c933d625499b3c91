// s3_bench: a closed-loop S3 load generator. It keeps N requests in flight over all endpoints for a
// time, and prints one JSON line: operations, errors, latencies, and the CPU seconds and peak
// anonymous memory of the server processes named.
//
//   s3_bench --endpoints http://127.0.0.1:3900,... --bucket b --op put --size 4096 --inflight 16
//   --seconds 10 --pids 1,2,3
//
// Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION. get, head and
// delete use the keys that a put of the same --prefix and --keys made.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/bench/http_client.h"
#include "tests/bench/signer.h"

using namespace covey::bench;
using Steady = std::chrono::steady_clock;

namespace {

struct Options {
  std::vector<std::string> endpoints, pids;
  std::string bucket = "bench", op = "put", prefix = "k";
  size_t size = 4096, inflight = 16, keys = 100000;
  double seconds = 10;
  Credentials who;
};

struct Totals {
  std::mutex mutex;
  std::vector<uint32_t> micros;
  uint64_t errors = 0, bytes = 0;
  std::string first_error;
};

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

std::string env(const char* name, const char* fallback = "") {
  const char* value = std::getenv(name);
  return value ? value : fallback;
}

Options parse(int argc, char** argv) {
  Options o;
  o.who = {env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY"), env("AWS_REGION", "us-east-1")};
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string name = argv[i], value = argv[i + 1];
    if (name == "--endpoints")
      o.endpoints = split(value);
    else if (name == "--pids")
      o.pids = split(value);
    else if (name == "--bucket")
      o.bucket = value;
    else if (name == "--op")
      o.op = value;
    else if (name == "--prefix")
      o.prefix = value;
    else if (name == "--size")
      o.size = std::stoull(value);
    else if (name == "--inflight")
      o.inflight = std::stoull(value);
    else if (name == "--keys")
      o.keys = std::stoull(value);
    else if (name == "--seconds")
      o.seconds = std::stod(value);
    else
      std::fprintf(stderr, "s3_bench: unknown option %s\n", name.c_str()), std::exit(2);
  }
  if (o.endpoints.empty()) std::fprintf(stderr, "s3_bench: --endpoints is needed\n"), std::exit(2);
  return o;
}

double cpu_seconds(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  size_t close = text.rfind(')');
  if (close == std::string::npos) return 0;
  std::stringstream fields(text.substr(close + 2));
  std::string skip;
  for (int i = 0; i < 11; ++i) fields >> skip;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

uint64_t anon_kib(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/status");
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, 8, "RssAnon:") == 0) return std::strtoull(line.c_str() + 8, nullptr, 10);
  }
  return 0;
}

class Worker {
 public:
  Worker(const Options& o, size_t index, std::atomic<uint64_t>& next, const std::string& body,
         const std::string& sha)
      : o_(o),
        client_(o.endpoints[index % o.endpoints.size()]),
        next_(next),
        body_(body),
        sha_(sha) {}

  void run(Steady::time_point until, Totals& totals) {
    while (Steady::now() < until) {
      uint64_t n = next_++;
      if (o_.op == "delete" && n >= o_.keys) break;
      auto start = Steady::now();
      bool ok = one(n);
      micros_.push_back(static_cast<uint32_t>(
          std::chrono::duration_cast<std::chrono::microseconds>(Steady::now() - start).count()));
      if (!ok) ++errors_;
    }
    std::lock_guard lock(totals.mutex);
    totals.micros.insert(totals.micros.end(), micros_.begin(), micros_.end());
    totals.errors += errors_;
    totals.bytes += bytes_;
    if (totals.first_error.empty()) totals.first_error = error_;
  }

 private:
  static constexpr char kEmptySha[] =
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

  bool call(const std::string& method, const std::string& path, const std::string& query,
            std::string_view body, const std::string& sha, int want, Response* out = nullptr) {
    Response reply = client_.send(
        signed_head(o_.who, method, client_.host(), path, query, sha, body.size()), body, &bytes_);
    bytes_ += body.size();
    if (reply.status != want && error_.empty())
      error_ = method + " " + path + ": " + std::to_string(reply.status) + " " +
               reply.body.substr(0, 300);
    if (out) *out = reply;
    return reply.status == want;
  }
  bool one(uint64_t n) {
    std::string path = "/" + o_.bucket + "/" + o_.prefix + std::to_string(n % o_.keys);
    if (o_.op == "put") return call("PUT", path, "", body_, sha_, 200);
    if (o_.op == "get") return call("GET", path, "", "", kEmptySha, 200);
    if (o_.op == "head") return call("HEAD", path, "", "", kEmptySha, 200);
    if (o_.op == "delete") return call("DELETE", path, "", "", kEmptySha, 204);
    if (o_.op == "list")
      return call("GET", "/" + o_.bucket, "list-type=2&max-keys=1000", "", kEmptySha, 200);
    if (o_.op == "multipart") return multipart(path);
    std::fprintf(stderr, "s3_bench: unknown --op %s\n", o_.op.c_str());
    std::exit(2);
  }
  // Parts of 8 MiB until --size is reached.
  bool multipart(const std::string& path) {
    Response reply;
    if (!call("POST", path, "uploads=", "", kEmptySha, 200, &reply)) return false;
    size_t from = reply.body.find("<UploadId>") + 10, to = reply.body.find("</UploadId>");
    std::string id = reply.body.substr(from, to - from), xml = "<CompleteMultipartUpload>";
    for (size_t part = 1; part * body_.size() <= o_.size; ++part) {
      if (!call("PUT", path, "partNumber=" + std::to_string(part) + "&uploadId=" + id, body_, sha_,
                200, &reply))
        return false;
      size_t at = reply.head.find("ETag: ");
      if (at == std::string::npos) return false;
      std::string etag = reply.head.substr(at + 6, reply.head.find("\r\n", at) - at - 6);
      xml += "<Part><PartNumber>" + std::to_string(part) + "</PartNumber><ETag>" + etag +
             "</ETag></Part>";
    }
    xml += "</CompleteMultipartUpload>";
    return call("POST", path, "uploadId=" + id, xml, sha256_hex(xml), 200);
  }

  const Options& o_;
  Client client_;
  std::atomic<uint64_t>& next_;
  const std::string &body_, &sha_;
  std::vector<uint32_t> micros_;
  uint64_t errors_ = 0, bytes_ = 0;
  std::string error_;
};

}  // namespace

int main(int argc, char** argv) {
  Options o = parse(argc, argv);
  std::string body(o.op == "multipart" ? 8 << 20 : o.op == "put" ? o.size : 0, '\0');
  uint64_t state = 88172645463325252ull;
  for (char& c : body)
    state ^= state << 13, state ^= state >> 7, state ^= state << 17, c = static_cast<char>(state);
  std::string sha = sha256_hex(body);
  std::atomic<uint64_t> next{0};
  std::atomic<bool> stop{false};
  Totals totals;
  double cpu_before = 0;
  for (const auto& pid : o.pids) cpu_before += cpu_seconds(pid);
  uint64_t peak_kib = 0;
  std::thread sampler([&] {
    while (!stop) {
      for (const auto& pid : o.pids) peak_kib = std::max(peak_kib, anon_kib(pid));
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  auto start = Steady::now();
  auto until = start + std::chrono::milliseconds(static_cast<int64_t>(o.seconds * 1000));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < o.inflight; ++i) {
    threads.emplace_back([&, i] { Worker(o, i, next, body, sha).run(until, totals); });
  }
  for (auto& thread : threads) thread.join();
  double seconds = std::chrono::duration<double>(Steady::now() - start).count();
  stop = true;
  sampler.join();
  double cpu = -cpu_before;
  for (const auto& pid : o.pids) cpu += cpu_seconds(pid);
  std::sort(totals.micros.begin(), totals.micros.end());
  auto at = [&](double q) {
    return totals.micros.empty()
               ? 0u
               : totals.micros[std::min(
                     totals.micros.size() - 1,
                     static_cast<size_t>(q * static_cast<double>(totals.micros.size())))];
  };
  double ops = static_cast<double>(totals.micros.size() - totals.errors),
         mb = static_cast<double>(totals.bytes) / 1e6;
  std::printf(
      "{\"op\":\"%s\",\"size\":%zu,\"inflight\":%zu,\"ops\":%.0f,\"errors\":%llu,\"seconds\":%.2f,"
      "\"ops_per_s\":%.0f,"
      "\"mb_per_s\":%.1f,\"p50_us\":%u,\"p99_us\":%u,\"cpu_s\":%.2f,\"ops_per_cpu_s\":%.0f,\"mb_"
      "per_cpu_s\":%.1f,"
      "\"peak_anon_mib\":%.1f}\n",
      o.op.c_str(), o.size, o.inflight, ops, static_cast<unsigned long long>(totals.errors),
      seconds, ops / seconds, mb / seconds, at(0.5), at(0.99), cpu, cpu > 0 ? ops / cpu : 0,
      cpu > 0 ? mb / cpu : 0, static_cast<double>(peak_kib) / 1024);
  if (!totals.first_error.empty())
    std::fprintf(stderr, "s3_bench: first error: %s\n", totals.first_error.c_str());
  return totals.errors ? 1 : 0;
}
