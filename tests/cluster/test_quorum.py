"""What the cluster refuses: to answer without a majority, to let in who does not hold the secret, to write on a full disk."""
import os
import subprocess
import time

import pytest
from botocore.exceptions import ClientError

from local import LONG, LocalCluster, UNKNOWN_ERRORS, status_of, wait_until

REFUSALS = ("ServiceUnavailable", "SlowDown")


def refused(what, call):
    """The call is answered 503 before its client gives up."""
    began = time.monotonic()
    with pytest.raises(ClientError) as error:
        call()
    took = time.monotonic() - began
    print(f"{what}: {status_of(error.value)} {error.value.response['Error']['Code']} after {took:.2f} s")
    assert status_of(error.value) == 503
    if what != "HEAD":
        assert error.value.response["Error"]["Code"] in REFUSALS


def test_the_minority_answers_503_and_resumes(cluster, bucket):
    client = cluster.client(1, timeout=20)
    for n in range(10):
        client.put_object(Bucket=bucket, Key=f"kept-{n}", Body=b"kept" * 2000)
    cluster.kill(2, 3)
    refused("PUT", lambda: client.put_object(Bucket=bucket, Key="new", Body=b"new"))
    refused("PUT of blocks", lambda: client.put_object(Bucket=bucket, Key="new-big", Body=b"b" * 50_000))
    refused("GET", lambda: client.get_object(Bucket=bucket, Key="kept-0"))
    refused("GET of an absent key", lambda: client.get_object(Bucket=bucket, Key="never"))
    refused("HEAD", lambda: client.head_object(Bucket=bucket, Key="kept-1"))
    refused("LIST", lambda: client.list_objects_v2(Bucket=bucket))
    refused("DELETE", lambda: client.delete_object(Bucket=bucket, Key="kept-9"))
    refused("conditional PUT", lambda: client.put_object(Bucket=bucket, Key="kept-2", Body=b"", IfNoneMatch="*"))
    began = time.monotonic()
    cluster.start(2)
    wait_until("writes go on", lambda: client.put_object(Bucket=bucket, Key="after", Body=b"after"))
    print(f"writes again {time.monotonic() - began:.1f} s after node 2 was started")
    for k in (1, 2):
        for n in range(9):
            got = wait_until("reads go on", lambda k=k, n=n: cluster.client(k).get_object(Bucket=bucket, Key=f"kept-{n}"))
            assert got["Body"].read() == b"kept" * 2000
    cluster.start(3)
    cluster.wait_healthy()
    assert cluster.client(3).get_object(Bucket=bucket, Key="after")["Body"].read() == b"after"


def test_a_node_with_another_secret_is_refused(cluster, bucket):
    """Both sides say why, in lines that do not flood the log, and the cluster stays as it was."""
    folder = os.path.join(cluster.dir, "stranger")
    for part in ("meta", "data"):
        os.makedirs(os.path.join(folder, part))
    with open(os.open(os.path.join(folder, "secret"), os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
        f.write("5a" * 32 + "\n")
    seeds = ", ".join(f'"127.0.0.1:{cluster.port(k, "gossip")}"' for k in cluster.nodes)
    with open(os.path.join(folder, "covey.toml"), "w") as f:
        f.write(f'name = "stranger"\nzone = "zone4"\ncapacity = "1GiB"\nmeta_dir = "{folder}/meta"\n'
                f'data_dirs = ["{folder}/data"]\nsecret_file = "{folder}/secret"\nseeds = [{seeds}]\n'
                f's3_listen = "127.0.0.1:{cluster.port(4)}"\ngossip_listen = "127.0.0.1:{cluster.port(4, "gossip")}"\n'
                f'rpc_listen = "127.0.0.1:{cluster.port(4, "rpc")}"\n')
    binary = os.environ.get("COVEY", os.path.join(os.path.dirname(__file__), "../../build/release/node/covey"))
    before = {k: len(cluster.log(k)) for k in cluster.nodes}
    stranger_log = os.path.join(folder, "log")
    with open(stranger_log, "wb") as log:
        process = subprocess.Popen([binary, "--config", os.path.join(folder, "covey.toml"), "serve"],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ours():
        return [line for k in cluster.nodes for line in cluster.log(k)[before[k]:].splitlines() if "secret" in line]

    def theirs():
        with open(stranger_log) as f:
            return [line for line in f.read().splitlines() if "secret" in line]

    try:
        wait_until("a node of the cluster says why", ours)
        wait_until("the stranger says why", theirs)
        time.sleep(3)
        print("\n".join(ours()[:3] + theirs()[:3]))
        assert len(ours()) <= 12 and len(theirs()) <= 12, "the log is flooded"
        shown = cluster.status(1)
        assert len(shown["nodes"]) == 3 and shown["healthy"]
        cluster.client(1).put_object(Bucket=bucket, Key="k", Body=b"v")
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("part, mebibytes, size", [("data", 288, 1_000_000)])  # a good third of it is the journal; metadata: test_full_metadata.py
def test_a_full_disk_refuses_writes_only(part, mebibytes, size, request):
    made = LocalCluster(f"full-{part}", settings=['reclaim_delay = "2s"'])
    request.module.running_cluster = made
    try:
        if not all(made.mount_small_disk(f"node{k}/{part}", mebibytes) for k in made.nodes):
            pytest.skip("a small file system cannot be mounted here")
        made.up()
        fill_up(made, size)
    finally:
        made.down()


def fill_up(made, size):
    client = made.client(1, timeout=60)
    client.create_bucket(Bucket="full")
    pids, kept, refusals = made.pids(), [], 0
    for n in range(100_000):
        key = f"{n:06}"
        try:
            client.put_object(Bucket="full", Key=key, Body=bytes([n % 251]) * size)
            kept.append(key)
            refusals = 0
        except ClientError as e:
            assert status_of(e) in (503, 507), f"after {len(kept)} objects: {e}"
            refusals += 1
            if refusals == 1:
                print(f"after {len(kept)} objects of {size}: {status_of(e)} {e}")
        if refusals == 5:
            break
    assert refusals == 5, "the disk never filled up"
    assert made.pids() == pids, "a node ended"
    for key in kept[:: max(1, len(kept) // 100)]:
        for k in made.nodes:
            assert made.client(k).get_object(Bucket="full", Key=key)["Body"].read() == bytes([int(key) % 251]) * size
    # Every other object, so that no segment is all garbage; then the rest.
    for gone in (kept[::2], kept[1::2]):
        for key in gone:
            client.delete_object(Bucket="full", Key=key)
        for k in made.nodes:
            shown = {e["Key"] for e in made.client(k).list_objects_v2(Bucket="full").get("Contents", [])}
            assert not shown & set(gone)
        wait_until("a small write is taken", lambda: client.put_object(Bucket="full", Key="again", Body=bytes(100)))
        began = time.monotonic()
        wait_until("large writes are taken again", lambda: client.put_object(Bucket="full", Key="large", Body=bytes(size)),
                   seconds=600, pause=1)
        print(f"large writes again {time.monotonic() - began:.0f} s after {len(gone)} deletions")
        for k in made.nodes:
            assert made.client(k).get_object(Bucket="full", Key="large")["Body"].read() == bytes(size)
    assert made.pids() == pids, "a node ended"
