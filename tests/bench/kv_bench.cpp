// Rates of the metadata store on a real disk: kv_bench FOLDER [ROWS] [VALUE_BYTES].
// The folder must not exist; it is left behind.
#include <fmt/core.h>
#include <sys/resource.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "base/os/os_disk.h"
#include "base/os/os_rng.h"
#include "base/os/uv_loop.h"
#include "base/os/uv_pool.h"
#include "store/meta/open_kv.h"

using namespace covey;

namespace {

struct Meter {
  explicit Meter(Clock& the_clock) : clock(the_clock), start(clock.now()), cpu(cpu_us()) {}
  static double cpu_us() {
    rusage u;
    getrusage(RUSAGE_SELF, &u);
    return 1e6 * static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
  }
  void print(const std::string& what, size_t ops) const {
    double seconds = static_cast<double>((clock.now() - start).count()) / 1e9;
    double n = static_cast<double>(ops);
    fmt::print("{:<28} {:>10.0f}/s {:>8.2f} us wall {:>8.2f} us CPU each\n", what, n / seconds,
               1e6 * seconds / n, (cpu_us() - cpu) / n);
  }
  Clock& clock;
  TimePoint start;
  double cpu;
};

struct Source {
  Rng& rng;
  size_t value_bytes;
  size_t rows;
  std::string key(uint64_t n) const { return fmt::format("bench/{:020}", n * 7919 % rows); }
};

Task<void> put_many(Loop& loop, Kv& kv, Source& source, size_t& next, size_t end) {
  while (next < end) {
    WriteBatch batch;
    batch.put(source.key(next++), std::string(source.value_bytes, 'v'));
    Status done = co_await kv.write(std::move(batch));
    if (done.is(ErrorCode::kOverloaded)) --next, co_await loop.yield();
    if (!done && !done.is(ErrorCode::kOverloaded)) {
      fmt::print("{}\n", to_string(done.error()));
      std::exit(1);
    }
  }
}

void read_all(Kv& kv, Source& source, Clock& clock, const std::string& state) {
  constexpr size_t kGets = 200'000, kScans = 300, kScanRows = 1000;
  size_t found = 0;
  Meter gets(clock);
  for (size_t i = 0; i < kGets; ++i) {
    auto row = kv.get(source.key(source.rng.below(source.rows)));
    found += row && row->has_value();
  }
  gets.print("get, " + state, kGets);
  Meter misses(clock);
  for (size_t i = 0; i < kGets; ++i) {
    auto row = kv.get(source.key(source.rng.below(source.rows)) + "x");
    found += row && row->has_value();
  }
  misses.print("get of a missing key, " + state, kGets);
  size_t bytes = 0;
  Meter scans(clock);
  for (size_t i = 0; i < kScans; ++i) {
    auto it = kv.scan(fmt::format("bench/{:020}", source.rng.below(source.rows)), "c");
    for (size_t n = 0; n < kScanRows && it->valid(); ++n, it->next()) bytes += it->value().size();
  }
  scans.print("scan of 1000 rows, " + state, kScans);
  if (found != kGets) fmt::print("{} of {} keys found\n", found, kGets);
}

Task<void> bench(UvLoop& loop, Runtime runtime, KvOptions options, Source& source) {
  auto opened = co_await open_local_kv(std::move(options), runtime);
  if (!opened) {
    fmt::print("{}\n", to_string(opened.error()));
    std::exit(1);
  }
  Kv& kv = **opened;
  size_t next = 0;
  for (size_t in_flight : {1, 16, 64}) {
    size_t end = in_flight == 64 ? source.rows : next + source.rows / (in_flight == 1 ? 100 : 3);
    size_t count = end - next;
    Meter meter(runtime.clock);
    Scope scope;
    for (size_t i = 0; i < in_flight; ++i) scope.spawn(put_many(loop, kv, source, next, end));
    co_await scope.join();
    meter.print(fmt::format("put, {} in flight", in_flight), count);
  }
  source.rows = next;
  read_all(kv, source, runtime.clock, "part in table");
  Status folded = co_await kv.fold();
  if (!folded) fmt::print("{}\n", to_string(folded.error()));
  read_all(kv, source, runtime.clock, "in LMDB");
  co_await kv.close();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print("kv_bench FOLDER [ROWS] [VALUE_BYTES]\n");
    return 1;
  }
  UvLoop loop("kv");
  UvPool io("io", 2), cpu("cpu", 1);
  OsDisk disk(io);
  OsRng rng;
  Runtime runtime{loop, loop, rng, cpu, disk};
  size_t rows = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 90'000;
  Source source{rng, argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 240, rows};
  KvOptions options;
  options.dir = argv[1];
  run_task(loop, bench(loop, runtime, std::move(options), source));
  return 0;
}
