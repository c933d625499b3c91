#include "node/cli/cli.h"
#include "node/rebuild.h"
#include "node/server.h"

int main(int argc, char** argv) {
  return covey::run_cli(argc, argv, {covey::serve_node, covey::rebuild_command});
}
