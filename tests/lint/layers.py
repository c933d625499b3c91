#!/usr/bin/env python3
"""Dependencies point down only: an #include that goes up, or sideways where that is not allowed, fails.

docs/architecture.md shows the layers. What one of our folders may include stands in ALLOWED.
"""
import re

from common import tree

LAYERS = ["base", "proto", "gossip", "store", "s3gw", "node", "tests"]

# Of the folders in store/, what each may include of the others; each may include itself and the layers below.
STORE = {
    "meta": set(),
    "table": {"meta"},
    "register": {"meta"},
    "block": {"meta"},
    "available": {"meta", "register"},
    "objects": {"meta", "table", "register", "block", "available"},
    "sync": {"meta", "table", "register", "block", "available", "objects"},
}
# Of base/, likewise.
BASE = {
    "core": set(),
    "async": {"core"},
    "crdt": {"core", "async"},
    "os": {"core", "async"},
}
# The operating system's loop, disk and sockets: tests/sim puts its own there.
OS_USERS = ("node/", "s3gw/http/", "base/os/", "tests/")
# gRPC is slow to compile and replaceable.
GRPC_USERS = ("node/grpc/", "tests/")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def folder(path, depth=1):
    parts = path.split("/")
    return parts[depth - 1] if len(parts) > depth else ""


def wrong(path, name):
    """Why PATH may not include NAME, or None."""
    if re.match(r"(grpc|grpcpp|google/protobuf)/", name):
        if not path.startswith(GRPC_USERS):
            return "gRPC and protobuf belong to node/grpc; everything else speaks to proto/peers.h"
        return None
    top, target = folder(path), folder(name)
    if target not in LAYERS:
        return None
    if LAYERS.index(target) > LAYERS.index(top):
        return f"{top}/ is below {target}/ and must not know it"
    if name.startswith("base/os/") and not path.startswith(OS_USERS):
        return "only node/, s3gw/http and tests use base/os; take the interface of base/async as an argument"
    for inside, rules in (("base", BASE), ("store", STORE)):
        if top == target == inside:
            mine, theirs = folder(path, 2), folder(name, 2)
            if mine not in rules:
                return f"tests/lint/layers.py does not know {inside}/{mine}: say there what it may include"
            if theirs != mine and theirs not in rules[mine]:
                return f"{inside}/{mine} must not include {inside}/{theirs}"
    return None


def main():
    problems = []
    known = set(tree.files())
    for path in tree.sources():
        text = tree.read(path)
        for found in INCLUDE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            name = found.group(2)
            reason = wrong(path, name)
            if not reason and found.group(1) == '"' and name not in known and not name.endswith((".pb.h", "_gen.h")):
                if not re.match(r"(doctest|grpc)", name):
                    reason = "no such file: includes are named from the root of the tree"
            if reason:
                problems.append(f'{path}:{line}: includes "{name}": {reason}')
    tree.finish("layers", problems)


if __name__ == "__main__":
    main()
