#!/usr/bin/env python3
"""What GCC 12 compiles wrongly in coroutines: each of these crashed us before (CONTRIBUTING.md, "Traps")."""
import re

from common import tree

CONDITIONAL = re.compile(r"\?[^;{}]*\bco_await\b")
STATEMENT_EXPRESSION = re.compile(r"\(\{[^}]*\bco_await\b")
CLOSURE = re.compile(r"\bco_await\b[^;{}]*[(,]\s*\[([^\]]*)\]\s*[({]")
# Closures over numbers, pointers and references are harmless; these folders hold only such.
TRIVIAL_CLOSURES = ("base/os/", "tests/")
AWAIT = re.compile(r"(?<!operator )\bco_await\b")
HEAD = re.compile(r"\s*(?:else\s+)?(?:if\s*(?:constexpr)?|while|for|switch)\s*\(")
# `auto&&` is a type, everything else of that look is a condition.
LOGICAL = re.compile(r"(?<!auto)&&|\|\|")


def captures_values(captures):
    names = [name.strip() for name in captures.split(",")]
    return any(name and name != "this" and not name.startswith("&") for name in names)


def behind_parenthesis(text, start):
    """Where the parenthesis that was opened before START is closed, or None."""
    depth = 1
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i + 1
    return None


def condition(code, at):
    """Why the co_await at AT stands where it must not, or None."""
    start = max(code.rfind(c, 0, at) for c in ";{}") + 1
    before = code[start:at]
    while head := HEAD.match(before):
        end = behind_parenthesis(before, head.end())
        if end is None:
            return "co_await inside the condition of an if, a loop or a switch; name the result first"
        before = before[end:]
    if LOGICAL.search(before):
        return "co_await on the right of && or ||; name the result first"
    depth = 0
    for found in re.finditer(r"[();{}]|&&|\|\|", code[at:]):
        sign = found.group()
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign in ";{}" and depth <= 0:
            return None
        if sign in ("&&", "||") and depth <= 0:
            return "co_await on the left of && or ||; name the result first"
    return None


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
        for found in AWAIT.finditer(code):
            if reason := condition(code, found.start()):
                add(found.start(), reason)
        for found in CLOSURE.finditer(code):
            if captures_values(found.group(1)) and not path.startswith(TRIVIAL_CLOSURES):
                add(found.start(), "a closure that owns values inside a co_await expression is destroyed twice; name it first")
    tree.finish("traps", problems)


if __name__ == "__main__":
    main()
