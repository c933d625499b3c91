"""The metadata disk of every node is full: puts are refused, reads and deletes work, nodes start again, and it recovers."""
import os

import pytest
from botocore.exceptions import ClientError

from local import LONG, LocalCluster, status_of, wait_until

DISK_MIB = 110
REFUSED_IN_A_ROW = 20  # then the disk is full, and not just slow


def fill(path, leave_bytes):
    """A file that leaves about that much room beside it; removing it gives the room back."""
    space = os.statvfs(path)
    free = space.f_bavail * space.f_frsize
    name = os.path.join(path, "other-data")
    with open(name, "ab") as f:
        if free > leave_bytes:
            os.posix_fallocate(f.fileno(), f.tell(), free - leave_bytes)
    return name


def put_until_refused(client, bucket, prefix, size):
    kept, refusals, messages = {}, 0, set()
    for n in range(200_000):
        key, body = f"{prefix}{n:06}", f"{prefix}{n}".encode().ljust(size, b".")
        try:
            client.put_object(Bucket=bucket, Key=key, Body=body)
            kept[key], refusals = body, 0
        except ClientError as e:
            assert status_of(e) in (503, 507), f"after {len(kept)} objects: {e}"
            messages.add((status_of(e), e.response["Error"]["Code"], e.response["Error"]["Message"]))
            refusals += 1
        if refusals == REFUSED_IN_A_ROW:
            return kept, messages
    raise AssertionError("the disk never filled up")


def check(made, bucket, kept, gone):
    for k in made.nodes:
        client = made.client(k, timeout=60)
        for key in list(kept)[:: max(1, len(kept) // 50)]:
            assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == kept[key]
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        listed = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
        assert set(kept) <= listed, f"node {k} lost {sorted(set(kept) - listed)[:5]}"
        assert not listed & gone, f"node {k} still shows {sorted(listed & gone)[:5]}"


@pytest.mark.parametrize("size", [4000, 20_000])  # rows with their bodies; rows that name blocks
def test_a_full_metadata_disk(request, size):
    if size > 4096 and LONG == 1:
        pytest.skip("many small rows take minutes: COVEY_LONG=2")
    made = LocalCluster("full-meta")
    request.module.running_cluster = made
    try:
        if not all(made.mount_small_disk(f"node{k}/meta", DISK_MIB) for k in made.nodes):
            pytest.skip("a small file system cannot be mounted here")
        made.up()
        client = made.client(1, timeout=60)
        client.create_bucket(Bucket="full")
        kept = {}
        for n in range(100):
            client.put_object(Bucket="full", Key=f"early-{n}", Body=bytes([n]) * size)
            kept[f"early-{n}"] = bytes([n]) * size
        pids = made.pids()
        # Something else takes the rest of the disks, but for a little.
        others = [fill(os.path.join(made.dir, f"node{k}", "meta"), 300_000) for k in made.nodes]
        more, messages = put_until_refused(client, "full", "late-", size)
        kept.update(more)
        print(f"{len(kept)} objects of {size}, then {messages}")
        assert any(status == 507 for status, _, _ in messages), messages
        assert not [text for _, _, text in messages if "/" in text or "journal" in text or "LMDB" in text], messages
        check(made, "full", kept, set())
        # Deletes go on, as many as a busy user makes, also where reads through the others show them.
        gone = set(list(kept)[::2][: 300 * LONG])
        for key in sorted(gone):
            client.delete_object(Bucket="full", Key=key)
            del kept[key]
        check(made, "full", kept, gone)
        assert made.pids() == pids, f"a node ended\n{made.log_tail()}"
        # Killed and started again and again on the full disks.
        for _ in range(4):
            made.kill_all()
            made.up()
        check(made, "full", kept, gone)
        victim = sorted(kept)[0]
        wait_until("a delete works after the restarts", lambda: made.client(2).delete_object(Bucket="full", Key=victim))
        gone.add(victim)
        del kept[victim]
        # Room again.
        for name in others:
            os.remove(name)
        wait_until("puts are taken again", lambda: client.put_object(Bucket="full", Key="after", Body=b"after" * 200))
        kept["after"] = b"after" * 200
        check(made, "full", kept, gone)
    finally:
        made.down()
