"""Is the history of one key that of a single register? Wing and Gong's search with Lowe's memory of configurations.

A history is a list of operations, each with the time when it was sent and when its answer came. It is linearizable when
every operation can be given one moment between the two so that, in the order of those moments, each answer is what a register
would have said. Keys do not matter to each other, so each key's history is judged by itself.

What an answer says:
- OK: it happened, and (GET) this is what it saw;
- REFUSED: a precondition did not hold: 412, or 404 for If-Match of a key that is not there;
- UNKNOWN: a 5xx, or no answer: it happened at some moment after it was sent, however late, or never.
Operations that certainly did nothing (409, a refused connection) and reads without an answer are left out.
"""
import collections
import dataclasses
import math

GET, PUT, CREATE, SWAP, DELETE = "GET", "PUT", "PUT if none", "PUT if match", "DELETE"
OK, REFUSED, NOT_FOUND, UNKNOWN = "ok", "412", "404", "unknown"
ABSENT = "absent"
UNSEEN = "a value that nobody ever saw"
CONFIGURATIONS_MAX = 3_000_000  # then the search gives up; histories that are right take a few per operation


@dataclasses.dataclass
class Op:
    kind: str
    key: str
    sent: float
    answered: float = math.inf
    outcome: str = UNKNOWN
    value: str = ABSENT    # GET: what was seen; else what it writes
    expected: str = ""     # SWAP: the value it asks for
    client: int = 0
    node: int = 0
    said: str = ""         # for people: the status, or what went wrong
    ended: float = math.inf  # when its client knew, or gave up; judged by nobody

    def __str__(self):
        asked = f" {self.expected}" if self.kind == SWAP else ""
        what = f" {self.value}" if self.kind != DELETE else ""
        return (f"{self.sent:9.4f} to {self.answered:9.4f}  client {self.client:2} node {self.node}  "
                f"{self.kind}{asked}{what}: {self.outcome} {self.said}")


@dataclasses.dataclass
class Verdict:
    fine: bool
    decided: bool = True
    configurations: int = 0
    why: str = ""


def after(op, value):
    """What the register holds after OP with the outcome it had, if it may happen while it holds VALUE; else None. An
    operation of unknown outcome that would do nothing may as well never happen: None."""
    if op.kind == GET:
        return value if op.value == value else None
    if op.kind == PUT:
        return op.value
    if op.kind == DELETE:
        return ABSENT
    true = value == ABSENT if op.kind == CREATE else value == op.expected
    if op.outcome == OK or op.outcome == UNKNOWN:
        return op.value if true else None
    if op.outcome == NOT_FOUND:
        return value if value == ABSENT else None
    if op.kind == SWAP:
        return value if value not in (ABSENT, op.expected) else None
    return value if value != ABSENT else None


def blind(op):
    """It can happen whatever the register holds, and its answer does not tell."""
    return op.kind in (PUT, DELETE)


def seen_values(ops):
    return {op.value for op in ops if op.kind == GET} | {op.expected for op in ops if op.kind == SWAP}


class Search:
    """A depth-first search over configurations: (how many known operations are in order from the first on and which beyond,
    which unknown ones happened, what the register holds). Three facts keep it small:
    - An unknown operation is of use only if the next one depends on it: it is tried only right before such a one.
    - Unknown writes of values that nobody ever saw, of the same kind and condition, are alike: the earliest goes first.
    - Configurations that were left once are never entered again."""

    def __init__(self, ops):
        self.known = sorted((op for op in ops if op.outcome != UNKNOWN), key=lambda op: op.answered)
        seen = seen_values(ops)
        self.alike = collections.defaultdict(list)
        for op in ops:
            if op.outcome == UNKNOWN and op.kind != GET:
                hidden = op.kind == DELETE or op.value not in seen
                shown = dataclasses.replace(op, value=UNSEEN) if hidden and op.kind != DELETE else op
                self.alike[(op.kind, op.expected, shown.value)].append(shown)
        self.alike = [sorted(group, key=lambda op: op.sent) for group in self.alike.values()]
        # Before the answer of known[i] came nothing that is sent after it may happen.
        self.by_sent = sorted(range(len(self.known)), key=lambda i: self.known[i].sent)

    def open(self, done, first):
        """The known operations that may be next: not done, and sent before any that is not done was answered. FIRST is the
        first that is not done; they are sorted by when they were answered."""
        limit = self.known[first].answered
        return [i for i in self.candidates[first] if not done >> i & 1 and self.known[i].sent <= limit]

    def prepare(self):
        """candidates[first]: all that were sent before known[first] was answered and that were answered no earlier."""
        self.candidates = []
        waiting, at = set(), 0
        for first, op in enumerate(self.known):
            while at < len(self.by_sent) and self.known[self.by_sent[at]].sent <= op.answered:
                waiting.add(self.by_sent[at])
                at += 1
            self.candidates.append(sorted(waiting))
            waiting.discard(first)

    def steps(self, configuration):
        """What may come next, the likeliest last."""
        done, first, used, value, leaning = configuration
        limit = self.known[first].answered
        found = []
        for n, group in enumerate(self.alike):
            if used[n] == len(group) or group[used[n]].sent > limit:
                continue
            op = group[used[n]]
            if leaning and blind(op):
                continue
            then = after(op, value)
            if then is not None and then != value:
                found.append((done, first, used[:n] + (used[n] + 1,) + used[n + 1:], then, True))
        for i in reversed(self.open(done, first)):
            op = self.known[i]
            if leaning and blind(op):
                continue
            then = after(op, value)
            if then is not None:
                now, at = done | 1 << i, first
                while at < len(self.known) and now >> at & 1:
                    at += 1
                found.append((now, at, used, then, False))
        return found

    def run(self):
        self.prepare()
        start = (0, 0, (0,) * len(self.alike), ABSENT, False)
        seen, stack, furthest = {start}, [start], start
        while stack:
            configuration = stack.pop()
            if configuration[1] > furthest[1]:
                furthest = configuration
            if configuration[1] == len(self.known):
                return Verdict(True, configurations=len(seen))
            if len(seen) > CONFIGURATIONS_MAX:
                return Verdict(False, decided=False, configurations=len(seen),
                               why=f"undecided after {len(seen)} configurations; " + self.explain(furthest))
            for step in self.steps(configuration):
                if step not in seen:
                    seen.add(step)
                    stack.append(step)
        return Verdict(False, configurations=len(seen), why=self.explain(furthest))

    def explain(self, furthest):
        done, first, used, value, _ = furthest
        at = self.known[first]
        near = [op for i, op in enumerate(self.known) if op.answered > at.sent - 1 and op.sent < at.answered + 0.5
                and abs(i - first) < 40]
        near += [op for n, group in enumerate(self.alike) for op in group[used[n]:] if op.sent < at.answered]
        lines = [f"{'-> ' if op is at else '   '}{op}" for op in sorted(near, key=lambda op: op.sent)[-60:]]
        return "\n".join([f"no order explains the marked operation (one order before it ends with {value}):", *lines])


def check_key(ops):
    """REQUIRES: all of one key, written values are all different, the key absent at first."""
    return Search(ops).run() if any(op.outcome != UNKNOWN for op in ops) else Verdict(True)


def check(ops):
    """Verdicts by key."""
    by_key = collections.defaultdict(list)
    for op in ops:
        by_key[op.key].append(op)
    return {key: check_key(of_key) for key, of_key in sorted(by_key.items())}
