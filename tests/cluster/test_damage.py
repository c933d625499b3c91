"""Damage to a node's own metadata: found before it votes or serves with it, given up and refilled by the others without an
operator, the damaged files kept. Every acknowledged object is read through every node at all times. (Segments: test_scrub.py.)"""
import glob
import json
import os
import random
import shutil
import struct
import subprocess
import time

import pytest

from local import LONG, TREE, wait_until
from test_amnesia import check, folder, ids, node_id, replaced, stop, write

PAGE = 4096
DAMAGED = "its metadata was damaged"
KINDS = ["flips", "hidden rows", "journal"]
long_only = pytest.mark.skipif(LONG == 1, reason="takes half a minute; COVEY_LONG=2")


def lmdb(cluster, k):
    return folder(cluster, k, "meta/meta.mdb")


def flip_bits(path, rng, count):
    """Of bytes that are written; a page of zeros is none."""
    with open(path, "r+b") as f:
        data = f.read()
        written = [at for at in range(0, len(data), 8) if any(data[at:at + 8])]
        for at in (rng.choice(written) + rng.randrange(8) for _ in range(count)):
            f.seek(at)
            f.write(bytes([data[at] ^ 1 << rng.randrange(8)]))


def hide_rows(path):
    """Leaf pages forget their last row: LMDB reads them without an error."""
    with open(path, "r+b") as f:
        data = f.read()
        for at in range(2 * PAGE, len(data) - PAGE + 1, PAGE):
            number, _, flags, lower, upper = struct.unpack_from("<QHHHH", data, at)
            if number == at // PAGE and flags == 2 and lower > 16 + 2 * 4 and upper <= PAGE:
                f.seek(at + 12)
                f.write(struct.pack("<H", lower - 2))


def break_journal(cluster, k):
    """A record in the middle of the open file, so that acknowledged ones follow it."""
    newest = (0, "", b"", [])
    for path in glob.glob(folder(cluster, k, "data/metadata/journal/journal-*")):
        with open(path, "rb") as f:
            data = f.read()
        magic, _, generation = struct.unpack_from("<4sIQ", data)
        records = [at for at in range(512, len(data), 512)
                   if data[at:at + 4] == b"CVYR" and struct.unpack_from("<Q", data, at + 8)[0] == generation]
        if magic == b"CVYJ":
            newest = max(newest, (generation, path, data, records))
    generation, path, data, records = newest
    assert len(records) > 10, "there is a journal to break"
    with open(path, "r+b") as f:
        f.seek(records[-len(records) // 4] + 40)
        f.write(b"\xa5\x5a\xa5")


def older(cluster, k):
    """What was set aside before is of another day: a disk that fails is another test."""
    for why in glob.glob(folder(cluster, k, "meta/aside/*/why")):
        os.utime(why, (time.time() - 2 * 86400,) * 2)


def set_aside(cluster, k):
    return sorted(glob.glob(folder(cluster, k, "meta/aside/*")), key=lambda path: int(os.path.basename(path)))


def launch(cluster, k):
    """Without waiting until it serves."""
    binary = os.environ.get("COVEY", os.path.join(TREE, "build", "release", "node", "covey"))
    with open(folder(cluster, k, "log"), "ab") as log:
        process = subprocess.Popen([binary, "--config", folder(cluster, k, "covey.toml"), "serve"],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    with open(folder(cluster, k, "pid"), "w") as f:
        f.write(f"{process.pid}\n")


def reborn(cluster, k, old, before):
    """Node K took a new id since BEFORE, and says why."""
    wait_until(f"node {k} gives its metadata up", lambda: len(set_aside(cluster, k)) > before)
    replaced(cluster, k, old)
    assert DAMAGED in cluster.log(k)
    assert DAMAGED in cluster.covey(k, "status").stdout
    return set_aside(cluster, k)[-1]


def repair_status(cluster, k):
    return json.loads(cluster.covey(k, "repair", "status", "--json").stdout)


def test_a_damaged_store_is_refilled(cluster, bucket):
    rng = random.Random(4)
    expected = {}
    for trial in range(LONG):
        k = trial % 3 + 1  # node 1 has no seeds
        older(cluster, k)
        expected.update(write(cluster, bucket, f"trial-{trial}", 8, k))
        stop(cluster, k)  # everything is folded into LMDB then
        cluster.start(k)
        cluster.wait_healthy()
        expected.update(write(cluster, bucket, f"more-{trial}", 4, k))
        old, before = ids(cluster)[k], len(set_aside(cluster, k))
        cluster.kill(k)
        how = KINDS[trial // 3 % 3] if LONG > 1 else "hidden rows"
        if how == "hidden rows":
            hide_rows(lmdb(cluster, k))
        elif how == "journal":
            break_journal(cluster, k)
        else:
            flip_bits(lmdb(cluster, k), rng, rng.choice([60, 200, 2000]))
        with open(lmdb(cluster, k), "rb") as f:
            damaged = f.read()
        began = time.monotonic()
        cluster.start(k)
        check(cluster, bucket, expected)
        kept = reborn(cluster, k, old, before)
        print(f"trial {trial}, {how}: node {k} is refilled {time.monotonic() - began:.1f} s after its start")
        with open(os.path.join(kept, "meta.mdb"), "rb") as f:
            assert how == "journal" or f.read(len(damaged)) == damaged, "what was damaged is kept as it was"
        check(cluster, bucket, expected)
    # The refilled node has its rows: with one other it serves everything.
    cluster.kill(2 if k == 1 else 1)
    check(cluster, bucket, expected, [n for n in (k, 3 if k != 3 else 2)])


@long_only
@pytest.mark.parametrize("asked", [("meta", "snapshot"), ("repair", "start"), ()])
def test_rows_that_vanish_while_it_runs_are_missed(cluster, bucket, asked):
    """By a snapshot, a check that is asked for, and the one that comes by itself."""
    expected = write(cluster, bucket, "running", 12, 2)
    stop(cluster, 3)
    cluster.start(3)
    cluster.wait_healthy()
    older(cluster, 3)
    old, before = ids(cluster)[3], len(set_aside(cluster, 3))
    if not asked:
        stop(cluster, 3)
        with open(folder(cluster, 3, "covey.toml"), "a") as f:
            f.write('metadata_check_interval = "10s"\n')
        cluster.start(3)
        cluster.wait_healthy()
        wait_until("a check has passed", lambda: repair_status(cluster, 3)["metadata"]["passes"] > 0)
    hide_rows(lmdb(cluster, 3))
    if asked:
        cluster.covey(3, *asked)
    began = time.monotonic()
    wait_until("it gives its metadata up", lambda: len(set_aside(cluster, 3)) > before)
    print(f"given up {time.monotonic() - began:.1f} s after {' '.join(asked) or 'the damage, with a check each 10 s'}")
    reborn(cluster, 3, old, before)
    check(cluster, bucket, expected)


def test_two_damaged_nodes_give_nothing_up(cluster, bucket):
    """What is damaged may be the only copy: nothing is moved until a majority of others is there."""
    expected = write(cluster, bucket, "two", 8, 1)
    old = ids(cluster)
    stop(cluster, 2), stop(cluster, 3)
    count = {k: len(set_aside(cluster, k)) for k in (2, 3)}
    for k in (2, 3):
        older(cluster, k)
        shutil.copyfile(lmdb(cluster, k), lmdb(cluster, k) + ".sound")
        hide_rows(lmdb(cluster, k))
        asked = cluster.log(k).count("It asks the other nodes")
        launch(cluster, k)
        wait_until(f"node {k} asks", lambda k=k, asked=asked: cluster.log(k).count("It asks the other nodes") > asked)
    time.sleep(3)
    assert {k: len(set_aside(cluster, k)) for k in (2, 3)} == count
    # One of the two is put in order: with it, a majority refills the other.
    cluster.kill(3)
    os.replace(lmdb(cluster, 3) + ".sound", lmdb(cluster, 3))
    if LONG == 1:  # the other one too
        cluster.kill(2)
        os.replace(lmdb(cluster, 2) + ".sound", lmdb(cluster, 2))
        cluster.start(2)
        cluster.start(3)
        cluster.wait_healthy()
        assert ids(cluster) == old
    else:
        os.unlink(lmdb(cluster, 2) + ".sound")
        cluster.start(3)
        reborn(cluster, 2, old[2], count[2])
        assert node_id(cluster, 3) == old[3]
    check(cluster, bucket, expected)


def test_a_failing_disk_ends_it(cluster, bucket):
    stop(cluster, 2)
    sound = lmdb(cluster, 2) + ".sound"
    shutil.copyfile(lmdb(cluster, 2), sound)
    hide_rows(lmdb(cluster, 2))
    aside = [folder(cluster, 2, f"meta/aside/{n}") for n in (901, 902, 903)]
    for path in aside:
        os.makedirs(path)
        with open(os.path.join(path, "why"), "w") as f:
            f.write(f"{DAMAGED}: page 7\n")
    before = len(set_aside(cluster, 2))
    with pytest.raises(AssertionError):
        cluster.start(2)
    assert "its disk or memory is failing" in cluster.log(2)
    assert "its disk or memory is failing" in cluster.covey(2, "status").stderr
    assert len(set_aside(cluster, 2)) == before and os.path.exists(lmdb(cluster, 2))
    for path in aside:
        shutil.rmtree(path)
    os.replace(sound, lmdb(cluster, 2))
    cluster.start(2)
    cluster.wait_healthy()
    assert "failing" not in cluster.covey(2, "status").stdout
