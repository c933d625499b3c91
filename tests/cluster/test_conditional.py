"""Conditional writes by many writers through all nodes, with nodes killed meanwhile: one winner, never two."""
import hashlib
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from local import LONG, UNKNOWN_ERRORS, status_of, wait_until

WRITERS = 64
ROUNDS = 20 * LONG
KILL_EVERY = 5
CHAIN_STEPS = 60 * LONG
UNKNOWN = "unknown"


def attempt(client, **put):
    """200, 412 or 409, or UNKNOWN; anything else is a fault."""
    try:
        client.put_object(**put)
        return 200
    except ClientError as e:
        if status_of(e) in (409, 412):
            return status_of(e)
        if status_of(e) in (500, 503):
            return UNKNOWN
        raise
    except UNKNOWN_ERRORS:
        return UNKNOWN


def read(client, bucket, key):
    """The body, or None when there is no such key. Waits while the node cannot tell."""
    def once():
        try:
            return [client.get_object(Bucket=bucket, Key=key)["Body"].read()]
        except ClientError as e:
            if status_of(e) == 404:
                return [None]
            raise
    return wait_until(f"{key} can be read", once)[0]


def test_exactly_one_creates_the_key(cluster, bucket):
    clients = cluster.clients(timeout=60)
    rng = random.Random(4)
    totals, decided = Counter(), 0
    with ThreadPoolExecutor(WRITERS) as pool:
        for turn in range(ROUNDS):
            victim = rng.choice(list(cluster.nodes)) if turn % KILL_EVERY == KILL_EVERY - 1 else None
            started = threading.Barrier(WRITERS + 1)
            key = f"round-{turn}"

            def write(number, key=key, started=started):
                started.wait()
                return attempt(clients[number % 3], Bucket=bucket, Key=key, Body=f"writer {number}".encode(),
                               IfNoneMatch="*")

            running = [pool.submit(write, number) for number in range(WRITERS)]
            started.wait()
            if victim:
                time.sleep(rng.random() * 0.2)
                cluster.kill(victim)
            outcomes = [each.result() for each in running]
            if victim:
                cluster.start(victim)
            counts = Counter(outcomes)
            story = f"round {turn}, node {victim} killed: {dict(counts)}"
            bodies = [read(client, bucket, key) for client in clients]
            assert len(set(bodies)) == 1, f"{story}: the nodes disagree: {bodies}"
            assert counts[200] <= 1, story
            if not counts[UNKNOWN]:
                assert counts[200] == 1, story
                decided += 1
            if counts[412]:
                assert bodies[0] is not None, f"{story}: a 412, yet the key does not exist"
            if counts[200]:
                assert bodies[0] == f"writer {outcomes.index(200)}".encode(), f"{story}: holds {bodies[0]}"
            elif bodies[0] is not None:
                author = int(bodies[0].split()[1])
                assert outcomes[author] == UNKNOWN, f"{story}: holds {bodies[0]}, who was told {outcomes[author]}"
            totals += counts
    print(f"{ROUNDS} rounds, {decided} without an unknown outcome: {dict(totals)}")
    assert decided > 0


def test_a_chain_of_if_match_counts_every_success(cluster, bucket):
    clients = cluster.clients(timeout=60)
    clients[0].put_object(Bucket=bucket, Key="counter", Body=b"0")
    won, totals, enough = [], Counter(), threading.Event()

    def count(number):
        rng = random.Random(number)
        while not enough.is_set():
            client = clients[rng.randrange(3)]
            try:
                got = client.get_object(Bucket=bucket, Key="counter")
                value, etag = int(got["Body"].read()), got["ETag"]
            except (ClientError, *UNKNOWN_ERRORS):
                time.sleep(0.1)
                continue
            assert etag.strip('"') == hashlib.md5(str(value).encode()).hexdigest()
            outcome = attempt(client, Bucket=bucket, Key="counter", Body=str(value + 1).encode(), IfMatch=etag)
            totals[outcome] += 1
            if outcome == 200:
                won.append(value + 1)

    with ThreadPoolExecutor(12) as pool:
        running = [pool.submit(count, number) for number in range(12)]
        try:
            for victim in [2, 1, 3] * LONG:
                goal = len(won) + CHAIN_STEPS // (6 * LONG)
                wait_until(f"the chain grows, {dict(totals)}", lambda goal=goal: len(won) >= goal)
                cluster.kill(victim)
                goal = len(won) + CHAIN_STEPS // (6 * LONG)
                wait_until(f"the chain grows without node {victim}, {dict(totals)}", lambda goal=goal: len(won) >= goal)
                cluster.start(victim)
        finally:
            enough.set()
        for each in running:
            each.result()
    values = {int(read(client, bucket, "counter")) for client in clients}
    print(f"counter {values}, outcomes {dict(totals)}")
    assert len(values) == 1
    assert len(set(won)) == len(won), "two writers were told that they wrote the same step"
    assert totals[200] <= values.pop() <= totals[200] + totals[UNKNOWN]


def test_if_match_of_nothing_writes_nothing(cluster, bucket):
    clients = cluster.clients()
    for turn, client in enumerate(clients):
        with pytest.raises(ClientError) as refused:
            client.put_object(Bucket=bucket, Key="none", Body=b"x", IfMatch='"0123456789abcdef0123456789abcdef"')
        assert status_of(refused.value) == 404
        assert read(clients[(turn + 1) % 3], bucket, "none") is None
