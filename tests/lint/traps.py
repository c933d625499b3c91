#!/usr/bin/env python3
"""What GCC 12 compiles wrongly in coroutines: each of these crashed us before (CONTRIBUTING.md, "Traps")."""
import re

from common import tree

CONDITIONAL = re.compile(r"\?[^;{}]*\bco_await\b")
STATEMENT_EXPRESSION = re.compile(r"\(\{[^}]*\bco_await\b")
CLOSURE = re.compile(r"\bco_await\b[^;{}]*[(,]\s*\[([^\]]*)\]\s*[({]")
# Closures over numbers, pointers and references are harmless; these folders hold only such.
TRIVIAL_CLOSURES = ("base/os/", "tests/")


def captures_values(captures):
    names = [name.strip() for name in captures.split(",")]
    return any(name and name != "this" and not name.startswith("&") for name in names)


def main():
    problems = []
    for path in tree.sources():
        code = tree.blank(tree.read(path))

        def add(offset, text):
            problems.append(f"{path}:{code.count(chr(10), 0, offset) + 1}: {text}")

        for found in CONDITIONAL.finditer(code):
            add(found.start(), "co_await inside ?: is miscompiled; use if")
        for found in STATEMENT_EXPRESSION.finditer(code):
            add(found.start(), "co_await inside a statement expression; use CO_TRY")
        for found in CLOSURE.finditer(code):
            if captures_values(found.group(1)) and not path.startswith(TRIVIAL_CLOSURES):
                add(found.start(), "a closure that owns values inside a co_await expression is destroyed twice; name it first")
    tree.finish("traps", problems)


if __name__ == "__main__":
    main()
