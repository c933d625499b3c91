#!/usr/bin/env python3
"""The house style, as far as a script can see it (CONTRIBUTING.md says why). Each rule is a function below."""
import os
import re

from common import tree

FILE_LINES_MAX = 800
LINE_COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 100  # the aim is 70; clang-format's wrapping makes some longer
# Real time and real randomness: everything else gets a Clock and an Rng, or a seed would not replay.
REAL_WORLD = ("base/os/", "tests/")
# Where they are meant: keys and nonces need real randomness (no seed decides on them), and gRPC wants its deadlines
# in the system's time. A new line here needs a reason as good.
SECRETS = ("gossip/swim/seal.cpp", "node/identity/files.cpp", "node/identity/invitation.cpp",
           "store/objects/key_users.cpp")
OUTSIDE_TIME = ("node/grpc/",)
CLOCK = re.compile(
    r"\b(steady_clock|system_clock|high_resolution_clock)\s*::\s*now\b"
    r"|\b(gettimeofday|clock_gettime|time)\s*\(\s*(NULL|nullptr|0|CLOCK_\w+)")
RANDOM = re.compile(
    r"\bstd::(random_device|mt19937\w*|default_random_engine|rand|srand)\b"
    r"|\brandombytes_\w+\s*\(|\bRAND_bytes\s*\(|\bgetrandom\s*\(")
THROW = re.compile(r"\bthrow\b(?!\s*\(\s*\))")
KEYWORDS = {"if", "for", "while", "switch", "catch", "do", "else", "return", "namespace", "struct", "class", "enum",
            "union", "extern", "try"}


def at(path, text, offset):
    return f"{path}:{text.count(chr(10), 0, offset) + 1}"


def size(path, text):
    lines = text.split("\n")
    if len(lines) > FILE_LINES_MAX:
        yield f"{path}: {len(lines)} lines; split it, at most {FILE_LINES_MAX}"
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_COLUMNS_MAX:
            yield f"{path}:{number}: {len(line)} columns, at most {LINE_COLUMNS_MAX}: clang-format -i {path}"


def pragma_once(path, text):
    if path.endswith(".h") and not re.search(r"^#pragma once$", text, re.MULTILINE):
        yield f"{path}: no #pragma once"


def determinism(path, code):
    if path.startswith(REAL_WORLD):
        return
    for found in () if path.startswith(OUTSIDE_TIME) else CLOCK.finditer(code):
        yield f"{at(path, code, found.start())}: reads the real clock; take a Clock& (base/async/clock.h)"
    for found in () if path in SECRETS else RANDOM.finditer(code):
        yield f"{at(path, code, found.start())}: draws real random numbers; take an Rng& (base/async/rng.h)"


def exceptions(path, code):
    for found in THROW.finditer(code):
        yield f"{at(path, code, found.start())}: throws; errors are values (base/core/result.h)"


def functions(path, code):
    """Blocks that follow a ')' and are no statement: near enough to a function's body."""
    stack = []
    for found in re.finditer(r"[{}]", code):
        if found.group() == "{":
            stack.append((found.start(), is_function(code, found.start())))
        elif stack:
            start, function = stack.pop()
            if function:
                lines = code.count("\n", start, found.start()) + 1
                if lines > FUNCTION_LINES_MAX:
                    yield f"{at(path, code, start)}: a function of {lines} lines, at most {FUNCTION_LINES_MAX}"


def is_function(code, brace):
    start = max(code.rfind(c, 0, brace) for c in ";{}") + 1
    head = code[start:brace].strip()
    first = re.match(r"[A-Za-z_]\w*", head)
    if not first or first.group() in KEYWORDS or "(" not in head:
        return False
    return not re.search(r"=\s*$", head)


def readmes(paths):
    for folder in sorted({os.path.dirname(path) for path in paths}):
        top = folder.split("/")[0]
        # Unit tests mirror the tree: what they test is described there.
        if folder.startswith("tests/unit/") or folder in ("base", "store", "gossip"):
            continue
        if not os.path.isfile(os.path.join(tree.TREE, folder, "README.md")):
            yield f"{folder}/ ({top}): no README.md: what it is, what it may depend on, where to start reading"


def main():
    paths = tree.sources()
    problems = list(readmes(paths))
    for path in paths:
        text = tree.read(path)
        code = tree.blank(text)
        for rule, seen in ((size, text), (pragma_once, text), (determinism, code), (exceptions, code), (functions, code)):
            problems += rule(path, seen)
    tree.finish("style", problems)


if __name__ == "__main__":
    main()
