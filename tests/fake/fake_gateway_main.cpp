// The S3 gateway over real HTTP and an object store in memory: for trying clients and suites
// against s3gw without a cluster. Listens on 127.0.0.1, port from argv (default 3999); stops on
// SIGTERM or SIGINT.
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/os/os_disk.h"
#include "base/os/os_rng.h"
#include "base/os/signals.h"
#include "base/os/uv_loop.h"
#include "base/os/uv_pool.h"
#include "s3gw/http/server.h"
#include "s3gw/ops/gateway.h"
#include "store/objects/store.h"
#include "tests/fake/fixed_users.h"
#include "tests/fake/local_registers.h"
#include "tests/fake/one_node.h"

using namespace covey;

int main(int argc, char** argv) {
  ignore_sigpipe();
  UvPool cpu("cpu", 2), io("io", 1);
  UvLoop loop("s3");
  OsDisk disk(io);
  OsRng rng;
  Runtime runtime{loop, loop, rng, cpu, disk};
  GarbageClock garbage{loop, 1};
  ObjectTables tables{garbage};
  LocalRegisters registers;
  registers.add_table(tables.heads);
  registers.add_table(tables.uploads);
  registers.add_table(tables.parts);
  registers.add_table(tables.buckets);
  registers.add_table(tables.refs);
  LocalBlocks blocks;
  OneNode topology;
  Scope scope;
  FixedUsers users;
  users.add("main", "mainsecret", "mainid", "Main");
  users.add("alt", "altsecret", "altid", "Alt");
  MemoryBudget memory(loop, loop, 256 * kMiB);
  Store store(runtime, scope, memory, registers, blocks, topology);
  GatewaySettings settings;
  settings.domains = {"s3.test"};
  Gateway gateway(runtime, store, users, settings);
  HttpServer server(loop, gateway);
  Address address{"127.0.0.1", static_cast<uint16_t>(argc > 1 ? std::atoi(argv[1]) : 3999)};
  if (auto status = server.listen(address); !status) {
    std::fprintf(stderr, "%s\n", to_string(status.error()).c_str());
    return 1;
  }
  Signals signals(loop);
  signals.on(SIGTERM, [&] { loop.stop(); });
  signals.on(SIGINT, [&] { loop.stop(); });
  std::printf("serving on %s\n", address.str().c_str());
  std::fflush(stdout);
  loop.run();
  run_task(loop, server.stop(loop.after(std::chrono::seconds(1))));
  scope.request_stop();
  run_task(loop, scope.join());
  return 0;
}
