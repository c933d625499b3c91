"""Damage to segment files, of a stopped node and of a running one: all of it is found, nothing bad is served, and peers' copies
replace it."""
import glob
import hashlib
import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

from local import LONG, wait_until

SIZES = [5_000, 60_000, 200_000, 1_300_000]


def repair(cluster, k, *command):
    done = cluster.covey(k, "repair", *command, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def fill(cluster, bucket, objects, seed):
    rng = random.Random(seed)
    bodies = {f"{n:04}": rng.randbytes(SIZES[n % len(SIZES)]) for n in range(objects)}
    clients = cluster.clients()

    def put(item):
        clients[int(item[0]) % len(clients)].put_object(Bucket=bucket, Key=item[0], Body=item[1])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, bodies.items()))
    wait_until("every copy is written", lambda: cluster.status(1)["copies_to_repair"] == 0)
    return {key: hashlib.sha256(body).hexdigest() for key, body in bodies.items()}


def check(cluster, bucket, digests, nodes):
    def read(job):
        k, key = job
        body = wait_until(f"{key} is read", lambda: cluster.client(k).get_object(Bucket=bucket, Key=key))["Body"].read()
        assert hashlib.sha256(body).hexdigest() == digests[key], f"node {k} serves something else as {key}"

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(read, [(k, key) for k in nodes for key in digests]))


def segments(cluster, k):
    return [p for p in glob.glob(os.path.join(cluster.dir, f"node{k}", "data", "segments", "*.seg"))
            if os.path.getsize(p) > 4096]


def flip(path, rng, count):
    """Bits of what is written, the rest of a segment is zeros."""
    with open(path, "r+b") as f:
        data = f.read()
        end = len(data.rstrip(b"\0"))
        for at in (rng.randrange(64, end) for _ in range(count)):
            f.seek(at)
            f.write(bytes([data[at] ^ 1 << rng.randrange(8)]))
    return count


def scrubbed(cluster, k):
    """A full pass of node K, everything it found bad replaced."""
    passes = repair(cluster, k, "start")["passes"]
    wait_until("the scrub ends", lambda: repair(cluster, k, "status")["passes"] > passes, seconds=600)
    found = repair(cluster, k, "status")
    began = time.monotonic()
    wait_until("everything is repaired", lambda: repair(cluster, k, "status")["to_repair"] == 0, seconds=600)
    print(f"node {k}: {found['checked_blocks']} blocks, {found['bad_blocks']} bad, repaired "
          f"{time.monotonic() - began:.1f} s after the pass")
    return found


def test_damage_of_a_stopped_node_is_repaired(cluster, bucket):
    rng = random.Random(1)
    digests = fill(cluster, bucket, 60 * LONG, "stopped")
    cluster.kill(2)
    flips = sum(flip(path, rng, 40 * LONG) for path in segments(cluster, 2))
    cut = rng.choice(segments(cluster, 2))
    os.truncate(cut, os.path.getsize(cut) * 2 // 3)
    cluster.start(2)
    cluster.wait_healthy()
    check(cluster, bucket, dict(list(digests.items())[::7]), [2])  # before the scrub: never anything bad
    found = scrubbed(cluster, 2)
    # A killed node reads its newest segments again: what is bad there is no block any more, and fetched like one never had.
    seen = repair(cluster, 2, "status")
    print(f"{flips} flips and a truncation: {seen}")
    assert seen["quarantined"] + seen["catching_up"]["blocks_fetched"] > 0
    again = scrubbed(cluster, 2)
    assert again["bad_blocks"] == 0, (found, again)
    check(cluster, bucket, digests, [2])


def test_damage_of_a_running_node_is_repaired(cluster, bucket):
    rng = random.Random(2)
    digests = fill(cluster, bucket, 60 * LONG, "running")
    for path in segments(cluster, 3):
        flip(path, rng, 40 * LONG)
    found = scrubbed(cluster, 3)
    assert found["bad_blocks"] > 0
    assert scrubbed(cluster, 3)["bad_blocks"] == 0
    check(cluster, bucket, digests, [3])
    assert cluster.status(1)["copies_to_repair"] == 0
    assert os.listdir(os.path.join(cluster.dir, "node3", "data", "quarantine"))


def test_a_scrub_can_be_paused(cluster):
    repair(cluster, 1, "pause")
    assert repair(cluster, 1, "status")["paused"]
    assert not repair(cluster, 1, "resume")["paused"]
    assert repair(cluster, 1, "start")["running"]
    shown = cluster.covey(1, "repair", "status")
    assert shown.returncode == 0 and "scrub" in shown.stdout
