"""Disks that forget: a node whose metadata went back to an earlier state is noticed by what the others remember of it,
takes a new id and is refilled, without an operator and without an acknowledged write lost. A killed node is no such case."""
import hashlib
import os
import shutil
import signal
import struct
import subprocess
import time

import pytest

from load import Load
from local import LONG, wait_until

FORGOT = "forgot writes it had acknowledged"
COPY = "old or a second copy"
KILLS = 25 * LONG


def folder(cluster, k, part=""):
    return os.path.join(cluster.dir, f"node{k}", part)


def node_id(cluster, k):
    """The id under which node K runs now."""
    for node in cluster.status(k).get("nodes", []):
        if node["name"] == f"node{k}" and node["member"]:
            return node["id"]
    return None


def ids(cluster):
    return {k: wait_until(f"node {k} tells its id", lambda k=k: node_id(cluster, k)) for k in cluster.nodes}


def stop(cluster, k):
    """SIGTERM, as systemd does."""
    pid = cluster.pid(k)
    os.kill(pid, signal.SIGTERM)
    wait_until(f"node {k} stops", lambda: not cluster.pid(k), pause=0.05)


def backup(cluster, k, *parts):
    kept = os.path.join(cluster.dir, "backup")
    shutil.rmtree(kept, ignore_errors=True)
    for part in parts:
        shutil.copytree(folder(cluster, k, part), os.path.join(kept, part), ignore=shutil.ignore_patterns("*.sock"))
    return kept


def restore(cluster, k, kept, parts):
    for part in parts:
        shutil.rmtree(folder(cluster, k, part))
        shutil.copytree(os.path.join(kept, part), folder(cluster, k, part))


def write(cluster, bucket, prefix, count, through):
    """Through one node; returns what must be there."""
    client, wrote = cluster.client(through), {}
    for n in range(count):
        body = os.urandom([10, 3000, 50_000, 1_200_000][n % 4])
        key = f"{prefix}/{n:04}"
        wait_until(f"{key} is written", lambda: client.put_object(Bucket=bucket, Key=key, Body=body))
        wrote[key] = hashlib.sha256(body).hexdigest()
    return wrote


def check(cluster, bucket, expected, nodes=None):
    """Through each node: everything is listed and read."""
    for k in nodes or cluster.nodes:
        client = cluster.client(k)
        pages = wait_until("a listing", lambda: list(client.get_paginator("list_objects_v2").paginate(Bucket=bucket)))
        listed = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
        assert set(expected) <= listed, f"through node {k} these are not listed: {sorted(set(expected) - listed)[:5]}"
        for key, digest in expected.items():
            body = wait_until(f"{key} through node {k}",
                              lambda key=key: [client.get_object(Bucket=bucket, Key=key)["Body"].read()])[0]
            assert hashlib.sha256(body).hexdigest() == digest, f"{key} through node {k}"


def start_reborn(cluster, k, why=FORGOT):
    """Starts a node that forgot, and waits until it serves under its new id."""
    before = cluster.log(k).count("starts under a new id")
    cluster.start(k)
    wait_until(f"node {k} is noticed", lambda: why in cluster.log(k))
    wait_until(f"node {k} takes a new id", lambda: cluster.log(k).count("starts under a new id") > before)


def replaced(cluster, k, old):
    """Node K is a member under an id that it never had, and the cluster is whole again."""
    def member():
        now = node_id(cluster, k)
        return now if now and now != old else None
    new = wait_until(f"node {k} is a member under a new id", member)
    cluster.wait_healthy()
    for other in cluster.nodes:
        names = [node["name"] for node in cluster.status(other)["nodes"] if node["member"]]
        assert sorted(names) == [f"node{n}" for n in cluster.nodes]
    return new


# Node 1 has no seeds: under a new id it must not found a cluster of its own.
@pytest.mark.parametrize("victim,parts", [(2, ("meta", "data")), (1, ("meta", "data/metadata"))], ids=["whole-disk", "metadata-only"])
def test_an_old_image_is_noticed_and_refilled(cluster, bucket, parts, victim):
    others = [k for k in cluster.nodes if k != victim]
    old = ids(cluster)[victim]
    expected = write(cluster, bucket, "before", 12, victim)
    stop(cluster, victim)
    kept = backup(cluster, victim, *parts)
    cluster.start(victim)
    cluster.wait_healthy()
    with Load(cluster, bucket, prefix=f"load-{victim}-{len(parts)}") as load:
        for k in cluster.nodes:
            load.wait_for(20, k)
        expected.update(write(cluster, bucket, "after", 12, victim))
        cluster.kill(victim)
        restore(cluster, victim, kept, parts)
        began = time.monotonic()
        start_reborn(cluster, victim, COPY)
        for k in others:
            load.wait_for(20, k)
        load.wait_for(20, victim)
        new = replaced(cluster, victim, old)
        print(f"noticed, replaced and refilled in {time.monotonic() - began:.1f} s: {old[:8]} is {new[:8]} now")
    load.check()
    aside = os.path.join(folder(cluster, victim, "meta"), "aside")
    assert any("meta.mdb" in files for _, _, files in os.walk(aside)), "the old metadata is kept"
    assert any(COPY in problem or "took a new id" in problem
               for problem in cluster.status(victim).get("problems", []) + [cluster.covey(victim, "status").stdout])
    check(cluster, bucket, expected)
    # The refilled node stands in for another one.
    cluster.kill(others[0])
    check(cluster, bucket, expected, [victim, others[1]])


def cut_journal(cluster, k):
    """Zeroes the last records of the journal, as a disk does that lost what it had synced: it looks like a torn write."""
    path = folder(cluster, k, "data/metadata/journal")
    best = None
    for name in os.listdir(path):
        with open(os.path.join(path, name), "rb") as f:
            data = f.read()
        magic, _, generation = struct.unpack_from("<4sIQ", data)
        if magic == b"CVYJ" and (best is None or generation > best[0]):
            best = (generation, os.path.join(path, name), data)
    generation, name, data = best
    ends = [at for at in range(512, len(data), 512)
            if data[at:at + 4] == b"CVYR" and struct.unpack_from("<Q", data, at + 8)[0] == generation]
    assert len(ends) > 5, "there is a journal to cut"
    with open(name, "r+b") as f:
        f.seek(ends[-5])
        f.write(bytes(len(data) - ends[-5]))


def test_a_lost_journal_tail_is_noticed(cluster, bucket):
    old = ids(cluster)[3]
    expected = write(cluster, bucket, "tail", 40, 3)
    cluster.kill(3)
    cut_journal(cluster, 3)
    start_reborn(cluster, 3, FORGOT)
    replaced(cluster, 3, old)
    check(cluster, bucket, expected)


def test_a_torn_tail_is_no_amnesia(cluster, bucket):
    """Bytes behind the last record: a write that was on its way."""
    old = ids(cluster)
    expected = write(cluster, bucket, "torn", 10, 2)
    cluster.kill(2)
    path = folder(cluster, 2, "data/metadata/journal")
    for name in os.listdir(path):
        with open(os.path.join(path, name), "r+b") as f:
            data = f.read()
            last = max([at for at in range(512, len(data), 512) if data[at:at + 4] == b"CVYR"], default=None)
            if last is None:
                continue
            size = struct.unpack_from("<I", data, last + 28)[0]
            end = (last + 32 + size + 511) // 512 * 512
            f.seek(end)
            f.write(b"CVYR" + os.urandom(700))
    cluster.start(2)
    cluster.wait_healthy()
    assert ids(cluster) == old
    check(cluster, bucket, expected)


def test_kills_are_no_amnesia(cluster, bucket):
    old = ids(cluster)
    with Load(cluster, bucket, prefix="kills", pause=0.002) as load:
        load.wait_for(10, 1)
        for turn in range(KILLS):
            if turn % 20 == 19:
                cluster.kill_all()
                cluster.up()
            else:
                cluster.kill(turn % 3 + 1)
                cluster.start(turn % 3 + 1)
    cluster.heal()
    load.check()
    assert ids(cluster) == old


def test_lost_data_is_fetched_again(cluster, bucket):
    old = ids(cluster)
    expected = write(cluster, bucket, "data", 12, 1)
    cluster.wait_healthy()
    cluster.kill(3)
    shutil.rmtree(folder(cluster, 3, "data/segments"))
    os.unlink(folder(cluster, 3, "data/owner"))
    cluster.start(3)
    assert "has lost what this node kept there" in cluster.log(3)
    cluster.wait_healthy()
    assert ids(cluster) == old

    def has_blocks():
        segments = folder(cluster, 3, "data/segments")
        return sum(os.path.getsize(os.path.join(segments, name)) for name in os.listdir(segments)) > 3 * 1_200_000
    wait_until("the blocks are there again", has_blocks)
    cluster.kill(1)
    check(cluster, bucket, expected, [2, 3])
    cluster.start(1)


def test_swapped_disks_are_refused(cluster, bucket):
    expected = write(cluster, bucket, "swap", 4, 1)
    cluster.kill(2, 3)
    a, b, c = folder(cluster, 2, "data"), folder(cluster, 3, "data"), folder(cluster, 3, "elsewhere")
    os.rename(a, c), os.rename(b, a), os.rename(c, b)
    for k in (2, 3):
        with pytest.raises(AssertionError):
            cluster.start(k)
        assert "were disks swapped" in cluster.log(k)
    os.rename(a, c), os.rename(b, a), os.rename(c, b)
    cluster.start(2), cluster.start(3)
    cluster.wait_healthy()
    check(cluster, bucket, expected)


def test_a_second_copy_of_a_node_is_told_off(cluster, bucket):
    """A cloned SD card that runs beside the first one: it never speaks with the first one's voice."""
    old = ids(cluster)
    expected = write(cluster, bucket, "clone", 6, 2)
    stop(cluster, 2)
    clone = folder(cluster, 2).replace("node2", "clone2")
    shutil.rmtree(clone, ignore_errors=True)
    shutil.copytree(folder(cluster, 2), clone, ignore=shutil.ignore_patterns("*.sock", "log", "pid", "covey.toml"))
    cluster.start(2)
    cluster.wait_healthy()
    expected.update(write(cluster, bucket, "clone-later", 6, 2))
    with open(folder(cluster, 2, "covey.toml")) as f:
        config = f.read().replace(folder(cluster, 2), clone)
    for what in ("gossip", "rpc", "admin", "s3"):
        config = config.replace(f":{cluster.port(2, what)}\"\n", f":{cluster.port(7, what)}\"\n")
    with open(os.path.join(clone, "covey.toml"), "w") as f:
        f.write(config)
    binary = os.environ.get("COVEY", os.path.join(os.path.dirname(__file__), "..", "..", "build/release/node/covey"))
    log = os.path.join(clone, "log")
    with open(log, "wb") as out:
        process = subprocess.Popen([binary, "--config", os.path.join(clone, "covey.toml"), "serve"], stdout=out, stderr=out)
    try:
        def told_off():
            with open(log) as f:
                text = f.read()
            return COPY in text and "starts under a new id" in text
        wait_until("the clone is told off", told_off)
        for _ in range(20):  # both run: the first one is who it was
            assert node_id(cluster, 1) == old[1]
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(clone, ignore_errors=True)
    cluster.wait_healthy()
    assert ids(cluster) == old
    check(cluster, bucket, expected)
