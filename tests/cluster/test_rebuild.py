"""Metadata folders are deleted and rebuilt from the data directories alone: every acknowledged object is back with its bytes, name,
type and user metadata, and nothing deleted returns."""
import os
import random
import shutil

import pytest
from botocore.exceptions import ClientError

from local import LocalCluster, running, status_of, wait_until

SIZES = [0, 1, 500, 4000, 4096, 4097, 70_000, 1_048_576, 2_500_000]


@pytest.fixture
def cluster(request):
    yield from running(request, LocalCluster("rebuild", settings=['snapshot_interval = "1h"']))


def body_of(key, size):
    return random.Random(key).randbytes(size)


class Kept:
    """What was acknowledged."""

    def __init__(self, cluster, bucket):
        self.cluster, self.bucket = cluster, bucket
        self.objects, self.gone = {}, set()
        cluster.client(1).create_bucket(Bucket=bucket)

    def put(self, prefix, rounds=1):
        for n in range(rounds):
            for size in SIZES:
                key = f"{prefix}/{n}/ä {size}"
                said = {"ContentType": f"text/x-{size}", "Metadata": {"owner": prefix, "size": str(size)}}
                body = body_of(key, size)
                self.cluster.client(1 + n % 3).put_object(Bucket=self.bucket, Key=key, Body=body, **said)
                self.objects[key] = (body, said)

    def multipart(self, key):
        client = self.cluster.client(2)
        said = {"ContentType": "video/x-parts", "Metadata": {"parts": "3"}}
        upload = client.create_multipart_upload(Bucket=self.bucket, Key=key, **said)["UploadId"]
        pieces = [body_of(f"{key}{n}", size) for n, size in enumerate([5 << 20, 5 << 20, 12_345], start=1)]
        parts = [{"PartNumber": n, "ETag": client.upload_part(
            Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=n, Body=piece)["ETag"]}
            for n, piece in enumerate(pieces, start=1)]
        client.complete_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
        self.objects[key] = (b"".join(pieces), said)

    def delete(self, every):
        for key in sorted(self.objects)[::every]:
            self.cluster.client(3).delete_object(Bucket=self.bucket, Key=key)
            del self.objects[key]
            self.gone.add(key)

    def check(self, through=(1, 2, 3)):
        for k in through:
            client = self.cluster.client(k, timeout=60)
            listed = [e["Key"] for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
                      for e in page.get("Contents", [])]
            assert sorted(listed) == sorted(self.objects), f"through node {k}"
            for key, (body, said) in self.objects.items():
                got = client.get_object(Bucket=self.bucket, Key=key)
                assert got["Body"].read() == body, f"{key} through node {k}"
                assert (got["ContentType"], got["Metadata"]) == (said["ContentType"], said["Metadata"]), key
            for key in self.gone:
                with pytest.raises(ClientError) as refused:
                    client.head_object(Bucket=self.bucket, Key=key)
                assert status_of(refused.value) == 404


def fill(cluster):
    """Objects before a snapshot of each node, after it, and at the very end: those stand in the open journal only."""
    kept = Kept(cluster, "rebuilt")
    kept.put("before", rounds=3)
    kept.multipart("before/multipart")
    kept.delete(7)
    for k in cluster.nodes:
        done = cluster.covey(k, "meta", "snapshot", timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "snapshot-" in done.stdout
    kept.put("after", rounds=3)
    kept.multipart("after/multipart")
    kept.delete(5)
    kept.put("last")
    return kept


def lose_metadata(cluster, *which):
    cluster.kill(*which)
    for k in which:
        where = os.path.join(cluster.dir, f"node{k}", "meta")
        shutil.rmtree(where)
        os.makedirs(where)


def rebuild(cluster, k, *how, code=0):
    done = cluster.covey(k, "meta", "rebuild", *how, timeout=300)
    print(done.stdout + done.stderr)
    assert done.returncode == code, f"node {k}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def refuses_to_start(cluster, k):
    done = cluster.covey(k, "serve", timeout=60)
    assert done.returncode != 0 and "covey meta rebuild" in done.stderr, done.stderr


def test_all_nodes_lose_their_metadata(cluster):
    kept = fill(cluster)
    lose_metadata(cluster, 1, 2, 3)
    refuses_to_start(cluster, 1)
    for k in cluster.nodes:
        assert "is what it was" in rebuild(cluster, k, "--cluster")
    cluster.up()
    cluster.wait_healthy()
    kept.check()
    kept.put("again")
    kept.delete(9)
    # And once more, with the newest snapshot of each node damaged: the older one and more journals serve.
    for k in cluster.nodes:
        assert cluster.covey(k, "meta", "snapshot", timeout=120).returncode == 0
    kept.put("once more")
    lose_metadata(cluster, 1, 2, 3)
    for k in cluster.nodes:
        folder = os.path.join(cluster.dir, f"node{k}", "data", "metadata", "snapshots")
        with open(os.path.join(folder, sorted(os.listdir(folder))[-1]), "r+b") as f:
            f.seek(5000)
            byte = f.read(1)
            f.seek(5000)
            f.write(bytes([byte[0] ^ 4]))
        assert "not used: from snapshot-" in rebuild(cluster, k, "--cluster")
    cluster.up()
    cluster.wait_healthy()
    kept.check()


def test_one_node_loses_its_metadata_and_takes_its_place_again(cluster):
    kept = fill(cluster)
    before = {n["name"]: n["id"] for n in cluster.status(2)["nodes"]}
    lose_metadata(cluster, 1)
    refuses_to_start(cluster, 1)
    rebuild(cluster, 1, "--node")
    rebuild(cluster, 1, "--node", code=1)  # there is metadata now
    cluster.start(1)

    def back():
        shown = cluster.status(2)
        ids = {n["name"]: n["id"] for n in shown["nodes"] if n["role"] == "member"}
        return len(ids) == 3 and ids["node1"] != before["node1"] and not shown["layout"]["changing"]
    wait_until("node 1 is a member under a new id", back, seconds=240, pause=0.5)
    cluster.wait_healthy()
    kept.check()
    # It holds what it did: without node 2 everything is still there.
    wait_until("nothing is owed", lambda: cluster.status(1).get("copies_to_repair") == 0, seconds=120)
    cluster.kill(2)
    kept.check(through=(1, 3))


def test_a_lost_journal_is_never_passed_over(cluster):
    kept = fill(cluster)
    lose_metadata(cluster, 1, 2, 3)
    for k in cluster.nodes:
        shutil.rmtree(os.path.join(cluster.dir, f"node{k}", "data", "metadata", "journal"))
        assert "cannot be restored completely" in rebuild(cluster, k, "--cluster", code=1)
        assert "may be missing" in rebuild(cluster, k, "--cluster", "--accept-loss")
    cluster.up()
    for key in [key for key in kept.objects if not key.startswith("before/")]:
        del kept.objects[key]  # they may be lost; the others are not
    for k in cluster.nodes:
        client = cluster.client(k, timeout=60)
        for key, (body, said) in kept.objects.items():
            got = wait_until(f"{key} can be read", lambda c=client, key=key: c.get_object(Bucket="rebuilt", Key=key))
            assert got["Body"].read() == body and got["Metadata"] == said["Metadata"]
    wait_until("the cluster takes writes", lambda: cluster.client(1).put_object(Bucket="rebuilt", Key="new", Body=b"x"))
