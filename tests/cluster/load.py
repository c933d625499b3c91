"""Writers that remember what was acknowledged and what may have been written, and check all of it afterwards."""
import collections
import hashlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

from local import UNKNOWN_ERRORS, status_of, wait_until

SIZES = [0, 17, 900, 4096, 4097, 20_000, 70_000, 1_500_000]
WEIGHTS = [2, 8, 8, 4, 4, 4, 4, 1]
GONE = "absent"


class Key:
    """What a read of one key may show. Only one writer writes it, one write at a time. After a write with unknown
    outcome it is written no more, so such a write may show or not, and nothing else may."""

    def __init__(self):
        self.acknowledged = GONE
        self.unknown = None

    def may_be(self):
        return {self.acknowledged} | ({self.unknown} if self.unknown else set())


def wrong_reads(name, key, reads):
    """A write with unknown outcome may happen at any time, even while it is read; once a read has shown it, no later
    read may show what was before."""
    wrong = [f"{name} through node {node}: reads {shown}, may be {key.may_be()}"
             for _, _, node, shown in reads if shown not in key.may_be()]
    taken_at = min([ended for _, ended, _, shown in reads if shown == key.unknown], default=None)
    if taken_at is not None and key.unknown != key.acknowledged:
        wrong += [f"{name} through node {node}: goes back to {shown}" for began, _, node, shown in reads
                  if began > taken_at and shown == key.acknowledged]
    return wrong


class Load:
    """Steady writers through all nodes of a cluster, until stop()."""

    def __init__(self, cluster, bucket, writers=6, prefix="load", pause=0.01):
        self.cluster, self.bucket, self.prefix, self.pause = cluster, bucket, prefix, pause
        self.clients = cluster.clients(timeout=30)
        self.keys = {}
        self.lock = threading.Lock()
        self.acknowledged_at = collections.defaultdict(list)  # node -> times
        self.failures = collections.Counter()
        self.impossible = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.write, args=(n,), daemon=True) for n in range(writers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def write(self, number):
        rng = random.Random(f"{self.prefix}/{number}")
        turn = number
        mine = []
        while not self.stopping.is_set():
            turn += 1
            node = turn % len(self.clients)  # a test may set others meanwhile
            name = f"{self.prefix}/{number}/{turn:06}"
            again = bool(mine) and rng.random() < 0.3
            if again:
                name = mine.pop(rng.randrange(len(mine)))
            with self.lock:
                key = self.keys.setdefault(name, Key())
            if self.write_one(node, name, key, rng, delete=again and rng.random() < 0.3):
                mine.append(name)
            time.sleep(self.pause)

    def write_one(self, node, name, key, rng, delete):
        """True when the outcome is known, so that the key may be written again."""
        body = b"" if delete else rng.randbytes(rng.choices(SIZES, WEIGHTS)[0])
        new = GONE if delete else hashlib.sha256(body).hexdigest()
        key.unknown = new
        try:
            if delete:
                self.clients[node].delete_object(Bucket=self.bucket, Key=name)
            else:
                self.clients[node].put_object(Bucket=self.bucket, Key=name, Body=body)
        except ClientError as e:
            self.failures[f"node {node + 1}: {status_of(e)} {e.response['Error']['Code']}"] += 1
            if status_of(e) < 500:
                self.impossible.append(f"{name}: {e}")
            return False
        except UNKNOWN_ERRORS as e:
            self.failures[f"node {node + 1}: {type(e).__name__}"] += 1
            return False
        key.acknowledged, key.unknown = new, None
        self.acknowledged_at[node + 1].append(time.monotonic())
        return True

    def count(self, node=None):
        nodes = [node] if node else list(self.acknowledged_at)
        return sum(len(self.acknowledged_at[k]) for k in nodes)

    def wait_for(self, more, node):
        """Returns when that many more writes were acknowledged through the node."""
        target = self.count(node) + more
        wait_until(f"{more} more writes through node {node}; failures: {dict(self.failures)}",
                   lambda: self.count(node) >= target)

    def longest_gap(self, node, begin, end):
        times = [begin] + [t for t in self.acknowledged_at[node] if begin <= t <= end] + [end]
        return max(b - a for a, b in zip(times, times[1:]))

    def check(self):
        """Reads every key through every node and compares, and the listings. REQUIRES: stopped, healthy."""
        assert not self.impossible, f"{len(self.impossible)} false answers, the first: " + "\n".join(self.impossible[:12])
        reads = collections.defaultdict(list)  # key -> what each read showed, and when it began and ended

        def read(job):
            node, name = job
            began = time.monotonic()
            shown = self.read(self.clients[node], name)
            reads[name].append((began, time.monotonic(), node + 1, shown))

        jobs = [(node, name) for name in sorted(self.keys) for node in range(len(self.clients))]
        for name in self.keys:
            reads[name] = []
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(read, jobs))
        wrong = [text for name, key in self.keys.items() for text in wrong_reads(name, key, reads[name])]
        taken = {name for name, key in self.keys.items() if any(shown == key.unknown for _, _, _, shown in reads[name])}
        for node, client in enumerate(self.clients):
            wrong += [f"node {node + 1} lists {text}" for text in self.wrong_listing(self.list(client), taken)]
        print(f"{len(self.keys)} keys, {self.count()} acknowledged writes, failures: {dict(self.failures)}")
        assert wrong == [], f"{len(wrong)} wrong, the first: " + "\n".join(wrong[:12])

    def wrong_listing(self, listed, taken):
        """`taken`: the keys whose unknown write has been seen to have happened; the listing may add to them."""
        wrong = [] if listed == sorted(listed) else ["not in order"]
        shown = set(listed)
        wrong += [f"{name}, which nobody wrote" for name in sorted(shown - set(self.keys))[:5]]
        for name, key in self.keys.items():
            there = name in shown
            before, after = key.acknowledged != GONE, key.unknown not in (None, GONE)
            if name in taken:
                if there != after:
                    wrong.append(f"{name}: there {there}, after a read had shown otherwise")
            elif key.unknown and before != after and there == after:
                taken.add(name)
            elif there != before:
                wrong.append(f"{name}: there {there}, acknowledged {before}")
        return wrong

    def read(self, client, name):
        def attempt():
            try:
                return hashlib.sha256(client.get_object(Bucket=self.bucket, Key=name)["Body"].read()).hexdigest()
            except ClientError as e:
                if status_of(e) == 404:
                    return GONE
                raise
        return wait_until(f"{name} can be read", attempt)

    def list(self, client):
        def attempt():
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + "/", PaginationConfig={"PageSize": 100})
            return [[entry["Key"] for page in pages for entry in page.get("Contents", [])]]
        return wait_until("the bucket can be listed", attempt)[0]
