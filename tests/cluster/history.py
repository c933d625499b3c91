"""Clients that write and read few keys through all nodes, and record every operation with its times and its answer, so that
linearizable.py can judge them."""
import collections
import hashlib
import itertools
import json
import math
import os
import random
import statistics
import tempfile
import threading
import time

from linearizable import ABSENT, CREATE, DELETE, GET, NOT_FOUND, OK, PUT, REFUSED, SWAP, UNKNOWN, Op, check
from local import wait_until
from plain import NOT_SENT, PlainClient, Reply

KINDS = [GET, PUT, CREATE, SWAP, DELETE]
WEIGHTS = [45, 15, 10, 20, 10]
SIZES = [16, 700, 4096, 5000, 60_000]  # beside the head, and in blocks
SIZE_WEIGHTS = [40, 30, 10, 15, 5]
PART_BYTES = 5 << 20  # the smallest that another part may follow
TWO_PARTS = 0.03  # of the uploads in parts; the others have one, of any size
CLIENT_PATIENCE_S = 30  # longer than any node may take to answer; what takes longer is unknown
NODE_DOWN_PAUSE_S = 0.2
METHODS = {GET: "GET", PUT: "PUT", CREATE: "PUT", SWAP: "PUT", DELETE: "DELETE"}


class Clients:
    """Steady clients, each on one node, until stop(). `impossible` collects answers that no history allows.
    `in_parts`: how many of the writes that are no SWAP are multipart uploads."""

    def __init__(self, cluster, bucket, seed, per_node=2, keys=6, pause=0.03, nodes=None, prefix="", in_parts=0.0):
        self.cluster, self.bucket, self.seed, self.pause = cluster, bucket, seed, pause
        self.keys = [f"{prefix}key-{n}" for n in range(keys)]
        self.per_node, self.in_parts = per_node, in_parts
        self.body_of = {}  # ETag of an upload in parts -> MD5 of its bytes
        self.writes = 0  # acknowledged
        self.origin = time.monotonic()
        self.lock = threading.Lock()
        self.ops = []
        self.seen = {}  # key -> the ETag that somebody saw last
        self.impossible = []
        self.stopping = threading.Event()
        self.threads = []
        for k in nodes or cluster.nodes:
            self.add_node(k)

    def add_node(self, k):
        for _ in range(self.per_node):
            number = len(self.threads)
            thread = threading.Thread(target=self.work, args=(number, k), daemon=True)
            self.threads.append(thread)
            thread.start()

    def now(self):
        return time.monotonic() - self.origin

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def work(self, number, k):
        rng = random.Random(f"{self.seed}/client {number}")
        client = PlainClient(self.cluster, k, CLIENT_PATIENCE_S)
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            kind = rng.choices(KINDS, WEIGHTS)[0]
            key = rng.choice(self.keys)
            expected = self.seen.get(key, ABSENT) if kind == SWAP else ""
            if kind == SWAP and expected == ABSENT:
                kind, expected = GET, ""
            body = b""
            if kind not in (GET, DELETE):
                size = rng.choices(SIZES, SIZE_WEIGHTS)[0]
                body = f"{key} of client {number}, turn {turn}. ".encode().ljust(size, b".")
            if self.in_parts and kind in (PUT, CREATE) and rng.random() < self.in_parts:
                op = self.one_in_parts(client, kind, key, body, number, two=rng.random() < TWO_PARTS)
            else:
                op = self.one(client, kind, key, expected, body, number)
            down = op.said.startswith(NOT_SENT)
            time.sleep(NODE_DOWN_PAUSE_S if down else rng.random() * 2 * self.pause)
        client.close()

    def one(self, client, kind, key, expected, body, number):
        value = ABSENT if kind in (GET, DELETE) else hashlib.md5(body).hexdigest()
        op = Op(kind, key, self.now(), value=value, expected=expected, client=number, node=client.node)
        return self.ended(op, client.request(METHODS[kind], self.bucket, key, body, conditions(kind, expected)))

    def one_in_parts(self, client, kind, key, body, number, two):
        """Only its Complete is an operation on the key; an upload that an answer ends before it does nothing."""
        parts = [body.ljust(PART_BYTES, b"-"), body] if two else [body]
        upload = client.upload_parts(self.bucket, key, parts)
        op = Op(kind, key, self.now(), client=number, node=client.node)
        if isinstance(upload, Reply):
            op.outcome, op.ended, op.said = None, op.sent, f"{upload.status} {upload.said}" if upload.status else upload.said
            if upload.status not in (0, 500, 503):
                self.impossible.append(f"{op}: an upload's part")
            return op
        op.value = upload.etag
        self.body_of[upload.etag] = hashlib.md5(b"".join(parts)).hexdigest()
        return self.ended(op, client.complete(self.bucket, key, upload, conditions(kind, "")))

    def ended(self, op, reply):
        key, answered = op.key, self.now()
        op.said = f"{reply.status} {reply.said}".strip() if reply.status else reply.said
        op.outcome = self.outcome(op, reply)
        op.ended = answered  # also of those whose outcome is unknown
        if op.outcome not in (UNKNOWN, None):
            op.answered = answered
            if op.outcome == OK:
                self.seen[key] = op.value
        with self.lock:
            self.ops.append(op)
            self.writes += op.outcome == OK and op.kind != GET
        return op

    def outcome(self, op, reply):
        """None: it certainly did nothing, or it is a read without an answer."""
        status = reply.status
        if reply.said.startswith(NOT_SENT):
            return None
        if status == 0 or status in (500, 503):
            return None if op.kind == GET else UNKNOWN
        if op.kind == GET and status == 200:
            op.value = reply.etag
            if hashlib.md5(reply.body).hexdigest() != self.body_of.get(reply.etag, reply.etag):
                self.impossible.append(f"{op}: the bytes are not those of the ETag {reply.etag}")
            return OK
        if op.kind == GET and status == 404 and reply.said == "NoSuchKey":
            return OK
        if op.kind == DELETE and status == 204:
            return OK
        if op.kind in (PUT, CREATE, SWAP) and status == 200:
            if reply.etag != op.value:
                self.impossible.append(f"{op}: answered with the ETag {reply.etag}")
            return OK
        if op.kind in (CREATE, SWAP) and status == 412:
            return REFUSED
        if op.kind == SWAP and status == 404 and reply.said == "NoSuchKey":
            return NOT_FOUND
        if op.kind in (CREATE, SWAP) and status == 409:
            return None
        self.impossible.append(f"{op}: {reply.status} {reply.said}")
        return None

    def final_reads(self, nodes):
        """Every key through each of these nodes, as part of the history. They all agree, too. REQUIRES: stopped, healed."""
        for key in self.keys:
            shown = {k: self.known_read(key, k) for k in nodes}
            if len(set(shown.values())) != 1:
                # An unknown write may have happened just then: a second look must agree.
                shown = {k: self.known_read(key, k) for k in nodes}
            assert len(set(shown.values())) == 1, f"the nodes disagree about {key}: {shown}"

    def known_read(self, key, k):
        client = PlainClient(self.cluster, k, CLIENT_PATIENCE_S)
        op = wait_until(f"{key} can be read through node {k}", lambda: next(
            (op for op in [self.one(client, GET, key, "", b"", 1000 + k)] if op.outcome == OK), None))
        client.close()
        return op.value

    def wait_for(self, writes):
        """Until that many more were acknowledged."""
        goal = self.writes + writes
        wait_until(f"{writes} more writes, {self.summary()}", lambda: self.writes >= goal)

    def last_writes(self, rng):
        """Every key is written or deleted once more and nothing is under way any more. What it must be ever after:
        key -> ETag or ABSENT. REQUIRES: stopped, healed."""
        return {key: self.last_write(key, rng) for key in self.keys}

    def last_write(self, key, rng):
        kind = rng.choice([PUT, PUT, PUT, DELETE])
        size = 0 if kind == DELETE else rng.choices(SIZES, SIZE_WEIGHTS)[0]
        client = PlainClient(self.cluster, rng.choice(list(self.cluster.nodes)), CLIENT_PATIENCE_S)
        tries = itertools.count()

        def write():
            body = f"{key}, last write, try {next(tries)}. ".encode().ljust(size, b".") if size else b""
            op = self.one(client, kind, key, "", body, 2000)
            return op if op.outcome == OK else None
        op = wait_until(f"{key} can be written", write)
        client.close()
        return op.value

    # ---- what was measured

    def acknowledged(self, nodes):
        return sorted(op.ended for op in self.ops if op.node in nodes and op.outcome == OK and op.kind != GET)

    def answered(self, nodes):
        """Times of answers that tell: not 5xx, not silence."""
        return sorted(op.ended for op in self.ops if op.node in nodes and op.answered != math.inf)

    def longest_gap(self, nodes, begin, end):
        times = [begin] + [t for t in self.acknowledged(nodes) if begin <= t <= end] + [end]
        return max(b - a for a, b in zip(times, times[1:]))

    def refused(self, nodes, begin=0.0, end=math.inf, pauses=()):
        """The operations sent then that a 503 answered, the slowest last; without those of a node that hung meanwhile."""
        found = [op for op in self.ops if op.node in nodes and begin <= op.sent <= end and op.said.startswith("503")
                 and not any(op.node == k and op.sent < until and op.ended > since for k, since, until in pauses)]
        return sorted(found, key=lambda op: op.ended - op.sent)

    def refusals(self, *args, **kw):
        """How long each of those took."""
        return [op.ended - op.sent for op in self.refused(*args, **kw)]

    def summary(self):
        counts = collections.Counter(f"{op.kind}: {op.said.split(':')[0].split(' No')[0].split(' Pre')[0]}" for op in self.ops)
        return ", ".join(f"{name} x {n}" for name, n in sorted(counts.items()))

    # ---- judgement

    def judge(self, story=()):
        """Fails unless every key's history is linearizable. REQUIRES: stopped."""
        known = [op for op in self.ops if op.outcome is not None]
        verdicts = check(known)
        wrong = {key: verdict for key, verdict in verdicts.items() if not verdict.fine}
        undecided = [key for key, verdict in wrong.items() if not verdict.decided]
        print(f"{len(self.ops)} operations, {sum(op.outcome == UNKNOWN for op in known)} of unknown outcome, "
              f"{max(v.configurations for v in verdicts.values())} configurations at most, {len(wrong)} keys wrong")
        print(self.summary())
        if not wrong and not self.impossible:
            return
        where = self.save(story)
        texts = [f"{key}: {verdict.why}" for key, verdict in wrong.items()] + self.impossible[:10]
        raise AssertionError(f"seed {self.seed}: {len(wrong)} keys of {len(verdicts)} are not linearizable "
                             f"({len(undecided)} undecided), {len(self.impossible)} impossible answers; history in {where}, "
                             f"nodes in {self.cluster.dir}\n" + "\n".join(texts))

    def save(self, story):
        """The history and what the nemesis did, one JSON object a line; the nodes' folders are kept as well."""
        self.cluster.keep = True
        handle, path = tempfile.mkstemp(prefix="covey-history-", suffix=".jsonl")
        with os.fdopen(handle, "w") as f:
            for at, what in story:
                f.write(json.dumps({"at": at, "nemesis": what}) + "\n")
            for op in sorted(self.ops, key=lambda op: op.sent):
                f.write(json.dumps({**vars(op), "answered": None if op.answered == math.inf else op.answered}) + "\n")
        return path


def conditions(kind, expected):
    return {CREATE: [("if-none-match", "*")], SWAP: [("if-match", f'"{expected}"')]}.get(kind, [])


def quantiles(times):
    """For people."""
    if not times:
        return "none"
    nth = statistics.quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
    return f"{len(times)}, median {nth[49]:.2f} s, p99 {nth[98]:.2f} s, longest {max(times):.2f} s"
