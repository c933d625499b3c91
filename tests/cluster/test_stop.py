"""SIGTERM: what is under way ends, nothing new begins, the process ends with status 0 within its limit; also under load."""
import os
import signal
import socket
import statistics
import time

import pytest
from botocore.exceptions import ClientError

from load import Load
from local import LONG, LocalCluster, wait_until
from process import OwnNode
from test_hostile import signed_for

ROUNDS = 3 * LONG
DRAINS_FOR_S = 10  # docs/operations.md


def refuses(node):
    try:
        with socket.create_connection(("127.0.0.1", node.port("s3")), timeout=5) as s:
            s.settimeout(5)
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return s.recv(100) == b""
    except OSError:
        return True


class Upload:
    """A PUT whose body comes when it is told to."""

    def __init__(self, node, key, path, body):
        self.body = body
        data = signed_for(key, node.port("s3"), "PUT", path, body)
        self.socket = socket.create_connection(("127.0.0.1", node.port("s3")), timeout=120)
        self.rest = data[len(data) - len(body) // 2:]
        self.socket.sendall(data[:len(data) - len(body) // 2])

    def finish(self):
        self.socket.sendall(self.rest)
        answer = self.socket.recv(65536)
        return int(answer.split(b" ", 2)[1]) if answer else 0


def test_an_upload_under_way_ends_and_is_kept(tmp_path):
    with OwnNode(tmp_path) as node:
        node.start()
        key = node.new_key("someone")
        node.client(key).create_bucket(Bucket="drained")
        idle = socket.create_connection(("127.0.0.1", node.port("s3")))
        body = bytes(range(256)) * 16_000
        upload = Upload(node, key, "/drained/k", body)
        time.sleep(0.5)
        node.signal(signal.SIGTERM)
        wait_until("new connections are refused", lambda: refuses(node))
        assert node.process.poll() is None, "it did not wait for the upload"
        assert upload.finish() == 200
        assert node.process.wait(60) == 0
        idle.close()
        node.start()
        assert node.client(key).get_object(Bucket="drained", Key="k")["Body"].read() == body
        assert node.stop() == 0


def test_an_upload_that_stalls_is_cut_off(tmp_path):
    with OwnNode(tmp_path) as node:
        node.start()
        key = node.new_key("someone")
        client = node.client(key)
        client.create_bucket(Bucket="drained")
        upload = Upload(node, key, "/drained/k", bytes(4_000_000))
        time.sleep(0.5)
        began = time.monotonic()
        assert node.stop() == 0
        print(f"stopped {time.monotonic() - began:.1f} s after SIGTERM")
        assert time.monotonic() - began >= DRAINS_FOR_S - 1
        try:
            assert upload.finish() != 200
        except OSError:
            pass
        node.start()
        with pytest.raises(ClientError):
            client.get_object(Bucket="drained", Key="k")
        assert node.stop() == 0


def test_sigterm_again_and_again_under_load(request):
    """Each node in turn; its clients go on through the others, nothing acknowledged is lost."""
    cluster = LocalCluster("stop")
    request.module.running_cluster = cluster
    stops, starts = [], []
    try:
        cluster.up()
        bucket = "stopped"
        wait_until("a bucket can be made", lambda: cluster.client(1).create_bucket(Bucket=bucket))
        with Load(cluster, bucket, writers=8) as load:
            for turn in range(ROUNDS):
                for k in cluster.nodes:
                    load.wait_for(5, k)
                    pid = cluster.pid(k)
                    began = time.monotonic()
                    os.kill(pid, signal.SIGTERM)
                    wait_until(f"node {k} ends", lambda k=k: not cluster.pid(k), pause=0.02)
                    stops.append(time.monotonic() - began)
                    assert cluster.log(k).rstrip().endswith("stopped"), cluster.log_tail()
                    began = time.monotonic()
                    cluster.start(k)
                    starts.append(time.monotonic() - began)
        for what, times in (("stop", stops), ("start", starts)):
            print(f"{len(times)} times {what}: median {statistics.median(times):.2f} s, longest {max(times):.2f} s")
        cluster.wait_healthy()
        load.check()
    finally:
        cluster.down()

