"""Hundreds of SIGKILLs, of one, two and all nodes, also while they recover: each key's history is that of a register, and what was
written before stays as it was. COVEY_LONG=84 kills 1,008 processes, COVEY_SEED repeats the steps (not their interleaving)."""
import hashlib
import os
import random
from concurrent.futures import ThreadPoolExecutor

from history import CLIENT_PATIENCE_S, Clients
from linearizable import ABSENT
from local import LONG, wait_until
from nemesis import Killer
from plain import PlainClient

KILLS = 12 * LONG
KILLS_OF_EPOCH = 30  # then all is judged, so that histories stay short; the next epoch has other keys
KEYS_OF_EPOCH = 12
WRITES_BETWEEN = 40  # acknowledged, between two rounds of kills
IN_PARTS = 0.15
SAMPLE = 40  # keys of past epochs, read after each


def test_nothing_is_lost_by_many_kills(cluster, bucket):
    seed = int(os.environ.get("COVEY_SEED") or random.randrange(1 << 32))
    print(f"COVEY_SEED={seed}")
    rng = random.Random(f"{seed}/epochs")
    closed = {}  # key -> the ETag that it has for ever, or ABSENT
    told = []
    kills = writes = operations = 0
    while kills < KILLS:
        epoch = len(told)
        clients = Clients(cluster, bucket, f"{seed}/{epoch}", per_node=4, keys=KEYS_OF_EPOCH, pause=0.01,
                          prefix=f"{epoch:04}/", in_parts=IN_PARTS)
        killer = Killer(cluster, f"{seed}/{epoch}", clients.now)
        try:
            while killer.kills < min(KILLS_OF_EPOCH, KILLS - kills):
                clients.wait_for(WRITES_BETWEEN)
                killer.round()
        except AssertionError:
            cluster.keep = True
            raise
        finally:
            clients.stop()
        cluster.wait_healthy()
        closed |= clients.last_writes(rng)
        clients.final_reads(cluster.nodes)
        clients.judge(killer.story)
        kills, writes, operations = kills + killer.kills, writes + clients.writes, operations + len(clients.ops)
        told.append(killer.counts)
        compare_closed(cluster, bucket, closed, rng.sample(sorted(closed), min(SAMPLE, len(closed))))
        print(f"epoch {epoch}: {killer.told()}; {kills} until now, {writes} acknowledged writes, {operations} operations",
              flush=True)
    compare_closed(cluster, bucket, closed, sorted(closed))
    killer.counts = sum(told[1:], told[0])
    print(f"{killer.told()}, {writes} acknowledged writes, {operations} operations, 0 anomalies; {len(closed)} keys of "
          f"{len(told)} epochs listed and read right through every node at the end")


def compare_closed(cluster, bucket, closed, read):
    """Every node lists all of them, and serves each of READ, as they were left."""
    there = {key: etag for key, etag in closed.items() if etag != ABSENT}
    wrong = []
    for k in cluster.nodes:
        listed = wait_until(f"a listing by node {k}", lambda k=k: [list_all(cluster, k, bucket)])[0]
        if listed != there:
            odd = sorted(set(listed.items()) ^ set(there.items()))
            wrong.append(f"node {k} lists {len(listed)} keys, not {len(there)}; apart: {odd[:6]}")

    def read_by(k):
        client = PlainClient(cluster, k, CLIENT_PATIENCE_S)
        shown = {key: wait_until(f"{key} can be read through node {k}", lambda key=key: read_one(client, bucket, key))
                 for key in read}
        client.close()
        return [f"node {k}: {key} is {etag}, not {closed[key]}" for key, etag in shown.items() if etag != closed[key]]

    with ThreadPoolExecutor(len(cluster.nodes)) as pool:
        wrong += [text for texts in pool.map(read_by, cluster.nodes) for text in texts]
    cluster.keep = cluster.keep or bool(wrong)
    assert not wrong, f"{len(wrong)} wrong (nodes in {cluster.dir}), the first: " + "\n".join(wrong[:12])


def list_all(cluster, k, bucket):
    pages = cluster.client(k).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {entry["Key"]: entry["ETag"].strip('"') for page in pages for entry in page.get("Contents", [])}


def read_one(client, bucket, key):
    """The MD5 of its bytes (which is the ETag of what last_writes wrote), ABSENT, or None: not known."""
    reply = client.request("GET", bucket, key)
    if reply.status == 404 and reply.said == "NoSuchKey":
        return ABSENT
    return hashlib.md5(reply.body).hexdigest() if reply.status == 200 else None
