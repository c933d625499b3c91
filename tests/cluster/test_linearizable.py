"""The checker of histories by itself: hand-made histories, good and bad, and random ones of a register with and without faults."""
import collections
import dataclasses
import itertools
import math
import random

import pytest

from linearizable import (ABSENT, CREATE, DELETE, GET, NOT_FOUND, OK, PUT, REFUSED, SWAP, UNKNOWN, Op, after, check, check_key)


def op(kind, sent, answered, value=ABSENT, outcome=OK, expected=""):
    return Op(kind, "k", sent, math.inf if outcome == UNKNOWN else answered, outcome, value, expected)


GOOD = {
    "nothing": [],
    "read what was written": [op(PUT, 0, 1, "a"), op(GET, 2, 3, "a")],
    "two at once, in either order": [op(PUT, 0, 9, "a"), op(PUT, 1, 9, "b"), op(GET, 10, 11, "a")],
    "a read while it is written sees the old or the new": [
        op(PUT, 0, 1, "a"), op(PUT, 2, 9, "b"), op(GET, 3, 4, "a"), op(GET, 5, 6, "b")],
    "an unknown write that happened": [op(PUT, 0, 1, "a"), op(PUT, 2, 0, "b", UNKNOWN), op(GET, 3, 4, "b")],
    "an unknown write that never happened": [op(PUT, 0, 1, "a"), op(PUT, 2, 0, "b", UNKNOWN), op(GET, 3, 4, "a")],
    "an unknown write that happens late": [
        op(PUT, 0, 1, "a"), op(PUT, 2, 0, "b", UNKNOWN), op(GET, 3, 4, "a"), op(PUT, 5, 6, "c"), op(GET, 7, 8, "c"),
        op(GET, 9, 10, "b")],
    "a 412 because of an unknown write that nobody saw": [
        op(PUT, 0, 0, "a", UNKNOWN), op(CREATE, 1, 2, "b", REFUSED), op(DELETE, 3, 4), op(CREATE, 5, 6, "c")],
    "create, swap, delete": [
        op(CREATE, 0, 1, "a"), op(SWAP, 2, 3, "b", OK, "a"), op(SWAP, 4, 5, "c", REFUSED, "a"), op(DELETE, 6, 7),
        op(SWAP, 8, 9, "d", NOT_FOUND, "b"), op(CREATE, 10, 11, "e"), op(GET, 12, 13, "e")],
    "one of two who swap wins": [
        op(PUT, 0, 1, "a"), op(SWAP, 2, 5, "b", OK, "a"), op(SWAP, 2, 5, "c", REFUSED, "a"), op(GET, 6, 7, "b")],
    "an unknown delete makes room": [op(PUT, 0, 1, "a"), op(DELETE, 2, 0, outcome=UNKNOWN), op(CREATE, 3, 4, "b")],
    "unknown ones that need each other": [
        op(PUT, 0, 0, "a", UNKNOWN), op(SWAP, 1, 0, "b", UNKNOWN, "a"), op(SWAP, 2, 0, "c", UNKNOWN, "b"), op(GET, 3, 4, "c")],
    "unseen writes may each explain one refusal": [
        op(PUT, 0, 0, "a", UNKNOWN), op(PUT, 0, 0, "b", UNKNOWN), op(CREATE, 1, 2, "x", REFUSED), op(DELETE, 3, 4),
        op(CREATE, 5, 6, "y", REFUSED), op(GET, 7, 8, "b")],
}

BAD = {
    "stale read": [op(PUT, 0, 1, "a"), op(PUT, 2, 3, "b"), op(GET, 4, 5, "a")],
    "lost write": [op(PUT, 0, 1, "a"), op(GET, 2, 3, ABSENT)],
    "lost update": [op(PUT, 0, 1, "a"), op(SWAP, 2, 6, "b", OK, "a"), op(SWAP, 3, 6, "c", OK, "a")],
    "two creators": [op(CREATE, 0, 5, "a"), op(CREATE, 1, 5, "b")],
    "false 412 of create": [op(CREATE, 0, 1, "a", REFUSED), op(GET, 2, 3, ABSENT)],
    "false 412 of swap": [op(PUT, 0, 1, "a"), op(SWAP, 2, 3, "b", REFUSED, "a"), op(GET, 4, 5, "a")],
    "false 404 of swap": [op(PUT, 0, 1, "a"), op(SWAP, 2, 3, "b", NOT_FOUND, "a"), op(GET, 4, 5, "a")],
    "false 404 of get": [op(PUT, 0, 1, "a"), op(GET, 2, 3, ABSENT), op(GET, 4, 5, "a")],
    "a write reappears after it was overwritten": [
        op(PUT, 0, 1, "a"), op(PUT, 2, 3, "b"), op(GET, 4, 5, "b"), op(GET, 6, 7, "a")],
    "an unknown write happens twice": [
        op(PUT, 0, 0, "a", UNKNOWN), op(GET, 1, 2, "a"), op(PUT, 3, 4, "b"), op(GET, 5, 6, "b"), op(GET, 7, 8, "a")],
    "an unknown write is seen and then gone": [
        op(PUT, 0, 1, "a"), op(PUT, 2, 0, "b", UNKNOWN), op(GET, 3, 4, "b"), op(GET, 5, 6, "a")],
    "two reads disagree on the order": [
        op(PUT, 0, 9, "a"), op(PUT, 0, 9, "b"), op(GET, 1, 2, "a"), op(GET, 3, 4, "b"), op(GET, 5, 6, "a")],
    "a value from the future": [op(GET, 0, 1, "a"), op(PUT, 2, 3, "a")],
    "an unknown write from the future": [op(GET, 0, 1, "a"), op(PUT, 2, 0, "a", UNKNOWN)],
    "deleted, and there again": [op(PUT, 0, 1, "a"), op(DELETE, 2, 3), op(GET, 4, 5, "a")],
    "an unknown swap whose condition never held": [
        op(PUT, 0, 1, "a"), op(SWAP, 2, 0, "b", UNKNOWN, "z"), op(GET, 3, 4, "b")],
    "one unseen write cannot explain two refusals": [
        op(PUT, 0, 0, "a", UNKNOWN), op(CREATE, 1, 2, "x", REFUSED), op(DELETE, 3, 4), op(CREATE, 5, 6, "y", REFUSED)],
    "a value that nobody wrote": [op(PUT, 0, 1, "a"), op(GET, 2, 3, "?")],
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name):
    verdict = check_key(GOOD[name])
    assert verdict.fine, verdict.why


@pytest.mark.parametrize("name", BAD)
def test_bad(name):
    verdict = check_key(BAD[name])
    assert not verdict.fine and verdict.decided
    if len(BAD[name]) > 1:
        assert "->" in verdict.why


def history(rng, ops, clients=8, unknown=0.0):
    """A register's true history: each operation happens at one moment between its two ends."""
    free, held, made, number = [0.0] * clients, ABSENT, [], 0
    moments = []
    for _ in range(ops):
        client = rng.randrange(clients)
        sent = free[client] + rng.random()
        moment = sent + rng.random() * 2
        answered = moment + rng.random() * 2
        free[client] = answered
        kind = rng.choice([GET, GET, PUT, CREATE, SWAP, SWAP, DELETE])
        number += 1
        moments.append((moment, Op(kind, "k", sent, answered, value=f"v{number}", client=client), rng.random() < unknown))
    for moment, one, lost in sorted(moments, key=lambda m: m[0]):
        happens = not lost or rng.random() < 0.5
        if one.kind == GET:
            one.value, one.outcome = held, OK
        elif one.kind == DELETE:
            one.value, one.outcome = ABSENT, OK
            held = ABSENT if happens else held
        else:
            one.expected = (held if rng.random() < 0.7 else "v1") if one.kind == SWAP else ""
            if one.kind == SWAP and one.expected == ABSENT:
                one.expected = "v0"
            true = {PUT: True, CREATE: held == ABSENT, SWAP: held == one.expected}[one.kind]
            one.outcome = OK if true else NOT_FOUND if one.kind == SWAP and held == ABSENT else REFUSED
            held = one.value if true and happens else held
        if lost:
            if one.kind == GET:
                continue
            one.outcome, one.answered = UNKNOWN, math.inf
        made.append(one)
    return made


@pytest.mark.parametrize("unknown", [0.0, 0.05, 0.3])
def test_true_histories_pass(unknown):
    most = 0
    for seed in range(30):
        verdict = check_key(history(random.Random(f"{seed}/{unknown}"), 300, unknown=unknown))
        assert verdict.fine, f"seed {seed}: {verdict.why}"
        most = max(most, verdict.configurations)
    print(f"at most {most} configurations")


def brute_force(ops):
    """By the definition: some order of the known and of any of the unknown ones, each after those that ended before it began."""
    known = [one for one in ops if one.outcome != UNKNOWN]
    lost = [one for one in ops if one.outcome == UNKNOWN]

    def explains(order):
        value = ABSENT
        for n, one in enumerate(order):
            if any(later.answered < one.sent for later in order[n + 1:]):
                return False
            value = after(one, value)
            if value is None:
                return False
        return True
    return any(explains(order) for size in range(len(lost) + 1) for some in itertools.combinations(lost, size)
               for order in itertools.permutations(known + list(some)))


def test_small_histories_are_judged_as_by_the_definition():
    verdicts = collections.Counter()
    for seed in range(1500):
        rng = random.Random(seed)
        ops = []
        for n in range(rng.randrange(2, 7)):
            kind = rng.choice([GET, GET, PUT, CREATE, SWAP, DELETE])
            sent = rng.randrange(8)
            outcome = OK if kind == GET else rng.choice([OK, OK, UNKNOWN, REFUSED, NOT_FOUND])
            if kind in (PUT, DELETE) and outcome != UNKNOWN or kind == CREATE and outcome == NOT_FOUND:
                outcome = OK
            value = rng.choice([ABSENT, "v0", "v1", "v2"]) if kind == GET else f"v{n}"
            ops.append(op(kind, sent, sent + rng.randrange(1, 6), ABSENT if kind == DELETE else value, outcome,
                          rng.choice(["v0", "v1"]) if kind == SWAP else ""))
        verdict, truth = check_key(ops), brute_force(ops)
        assert verdict.decided and verdict.fine == truth, "\n".join(str(one) for one in ops)
        verdicts[truth] += 1
    print(dict(verdicts))
    assert min(verdicts[True], verdicts[False]) > 200


def test_false_reads_in_long_histories_are_found():
    """One read of an old value, put where no write is under way that could explain it."""
    found = 0
    for seed in range(30):
        rng = random.Random(seed)
        ops = history(rng, 300, clients=4, unknown=0.02)
        end = max(one.answered for one in ops if one.outcome != UNKNOWN)
        last = Op(PUT, "k", end + 1, end + 2, OK, "last")
        again = Op(GET, "k", end + 3, end + 4, OK, "last")
        old = next(one.value for one in ops if one.kind == PUT and one.outcome == OK)
        verdict = check_key(ops + [last, again, Op(GET, "k", end + 5, end + 6, OK, old)])
        assert verdict.decided and not verdict.fine
        found += 1
    assert found == 30


def test_keys_are_judged_apart():
    other = [dataclasses.replace(one, key="other") for one in BAD["stale read"]]
    verdicts = check(GOOD["create, swap, delete"] + other)
    assert verdicts["k"].fine and not verdicts["other"].fine
