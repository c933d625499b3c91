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
SMALL = [5_000, 9_000, 20_000, 40_000]


def repair(cluster, k, *command):
    done = cluster.covey(k, "repair", *command, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def fill(cluster, bucket, objects, seed, sizes=None):
    rng = random.Random(seed)
    sizes = sizes or SIZES
    bodies = {f"{n:04}": rng.randbytes(sizes[n % len(sizes)]) for n in range(objects)}
    clients = cluster.clients()

    def put(item):
        clients[int(item[0]) % len(clients)].put_object(Bucket=bucket, Key=item[0], Body=item[1])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, bodies.items()))
    wait_until("every copy is written", lambda: cluster.status(1)["copies_to_repair"] == 0)
    return {key: hashlib.sha256(body).hexdigest() for key, body in bodies.items()}


def check(cluster, bucket, digests, nodes):
    clients = {k: cluster.client(k) for k in nodes}

    def read(job):
        k, key = job
        body = wait_until(f"{key} is read", lambda: clients[k].get_object(Bucket=bucket, Key=key))["Body"].read()
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


def repair_all(cluster, k, live_bytes):
    """A pass of node K, until it has everything again: what it has live is LIVE_BYTES. Returns how many copies it found bad, and
    how long it took from the beginning of the pass, which no copy can have waited longer for."""
    before, began = repair(cluster, k, "status"), time.monotonic()
    repair(cluster, k, "start")

    def whole():
        now = repair(cluster, k, "status")
        return now["passes"] > before["passes"] and now["to_repair"] == 0 and now["total_bytes"] == live_bytes

    wait_until(f"node {k} has everything again", whole, seconds=900)
    return repair(cluster, k, "status")["quarantined"] - before["quarantined"], time.monotonic() - began


def test_thousands_of_flips_on_every_node_are_repaired(cluster, bucket):
    rng = random.Random(3)
    digests = fill(cluster, bucket, 100 * LONG, "flips", SMALL)
    for k in cluster.nodes:  # one after the other: of each block two good copies stay
        live = repair(cluster, k, "status")["total_bytes"]
        files = segments(cluster, k)
        flips = sum(flip(path, rng, 100 * LONG // len(files) + 1) for path in files)
        bad, took = repair_all(cluster, k, live)
        print(f"node {k}: {flips} flips, {bad} copies bad, found and replaced within {took:.1f} s")
        assert bad > 0
        assert scrubbed(cluster, k)["bad_blocks"] == 0
    check(cluster, bucket, digests, cluster.nodes)


def test_cut_and_lost_segments_are_repaired(cluster, bucket):
    rng = random.Random(4)
    digests = fill(cluster, bucket, 60 * LONG, "cuts")
    for round in range(3 * LONG):
        k = round % 3 + 1
        live = repair(cluster, k, "status")["total_bytes"]
        running = round // 3 % 2 == 1
        files = segments(cluster, k)
        if running:  # what is written to stays
            files.remove(max(files, key=os.path.getmtime))
        else:
            cluster.kill(k)
        lost, changed = rng.choice(files) if files else "", 0
        for path in files:
            if path == lost and not running:
                os.unlink(path)
            elif rng.random() < 0.5 or path == lost:
                os.truncate(path, rng.randrange(os.path.getsize(path)))
            else:
                continue
            changed += 1
        began = time.monotonic()
        if not running:
            cluster.start(k)
            cluster.wait_healthy()
        repair_all(cluster, k, live)
        print(f"node {k}, {'running' if running else 'stopped'}: {changed} of {len(files)} segments cut or lost, {live >> 20} MiB whole "
              f"again {time.monotonic() - began:.1f} s after {'the cut' if running else 'its start'}")
        assert scrubbed(cluster, k)["bad_blocks"] == 0
    check(cluster, bucket, digests, cluster.nodes)


def test_a_scrub_can_be_paused(cluster):
    repair(cluster, 1, "pause")
    assert repair(cluster, 1, "status")["paused"]
    assert not repair(cluster, 1, "resume")["paused"]
    assert repair(cluster, 1, "start")["running"]
    shown = cluster.covey(1, "repair", "status")
    assert shown.returncode == 0 and "scrub" in shown.stdout
