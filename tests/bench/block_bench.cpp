// Rates of the segment store on a real disk, one node: block_bench FOLDER [BLOCKS] [BLOCK_BYTES]
// [IN_FLIGHT]. The folder must not exist; it is left behind.
#include <fmt/core.h>
#include <sys/resource.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "base/os/os_disk.h"
#include "base/os/os_rng.h"
#include "base/os/uv_loop.h"
#include "base/os/uv_pool.h"
#include "store/block/segment_store.h"
#include "store/meta/open_kv.h"

using namespace covey;

namespace {

struct Load {
  SegmentStore& store;
  Blob payload;
  uint32_t blocks;
  uint32_t next = 0;
};

void die(const Error& error) {
  fmt::print("{}\n", to_string(error));
  std::exit(1);
}

BlockId bench_id(uint32_t n) {
  BlockId id;
  id.version.bytes[0] = 1, id.index = n;
  return id;
}

Task<void> put_some(Load& load) {
  while (load.next < load.blocks) {
    WriteBatch none;
    BlockOwner owner;
    owner.key = "bench";
    Status done = co_await load.store.put({0, bench_id(load.next++)}, std::move(owner),
                                          load.payload, std::move(none));
    if (!done) die(done.error());
  }
}

Task<void> get_some(Load& load) {
  while (load.next < load.blocks) {
    BlockKey key{0, bench_id(load.next++)};
    auto got = co_await load.store.get(key, 0, static_cast<uint32_t>(load.payload.size()));
    if (!got) die(got.error());
  }
}

using Work = Task<void> (*)(Load&);

double cpu_seconds() {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

Task<void> measure(std::string what, Clock& clock, Load& load, Work work, int in_flight) {
  TimePoint start = clock.now();
  double cpu = cpu_seconds();
  Scope scope;
  load.next = 0;
  for (int i = 0; i < in_flight; ++i) scope.spawn(work(load));
  co_await scope.join();
  double seconds = static_cast<double>((clock.now() - start).count()) / 1e9;
  double gigabytes = static_cast<double>(load.payload.size()) * load.blocks / 1e9;
  cpu = cpu_seconds() - cpu;
  fmt::print("{:<16} {:>8.0f} MB/s  {:>6.3f} CPU s/GB  {:>6.2f} GB per CPU s\n", what,
             1000 * gigabytes / seconds, cpu / gigabytes, gigabytes / cpu);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print("block_bench FOLDER [BLOCKS] [BLOCK_BYTES] [IN_FLIGHT]\n");
    return 2;
  }
  std::string folder = argv[1];
  uint32_t blocks = argc > 2 ? static_cast<uint32_t>(std::atoi(argv[2])) : 512;
  size_t bytes = argc > 3 ? static_cast<size_t>(std::atoll(argv[3])) : kBlockBytes;
  int in_flight = argc > 4 ? std::atoi(argv[4]) : 16;
  UvPool io("io", 4), cpu("cpu", 1);
  UvLoop loop("bench");
  OsRng rng;
  OsDisk disk(io);
  Runtime runtime{loop, loop, rng, cpu, disk};
  KvOptions options;
  options.dir = folder + "/meta";
  options.fatal = die;
  auto kv = run_task(loop, open_local_kv(std::move(options), runtime));
  if (!kv) die(kv.error());
  SegmentOptions segments;
  segments.dirs.push_back(folder + "/data");
  segments.fatal = die;
  SegmentStore store(std::move(segments), runtime, **kv);
  Status opened = run_task(loop, store.open([](BlockKey) {}));
  if (!opened) die(opened.error());
  Load load{store, Blob::own(std::string(bytes, 'x')), blocks};
  run_task(loop, measure("put", loop, load, put_some, in_flight));
  run_task(loop, measure("get", loop, load, get_some, in_flight));
  run_task(loop, measure("get, again", loop, load, get_some, in_flight));
  run_task(loop, measure("get, one by one", loop, load, get_some, 1));
  run_task(loop, store.close());
  run_task(loop, (*kv)->close());
  return 0;
}
