"""memory_cap: a node that is asked for more than it holds paces its clients; it does not grow, and good requests go on."""
import concurrent.futures
import http.client
import os
import resource
import shutil
import socket
import threading
import time
from collections import Counter

import boto3
import botocore.config
from botocore.exceptions import ClientError

from local import LONG, UNKNOWN_ERRORS, LocalCluster, status_of, wait_until
from process import OwnNode

CAP_MIB = 160
IDLE, UPLOADS, PART_BYTES = 2000, 64, 16 << 20


def anonymous_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:")) / 1024


class Watch(threading.Thread):
    """The most anonymous memory that a process was seen with."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.ending = pid, 0.0, threading.Event()

    def run(self):
        while not self.ending.wait(0.02):
            self.peak = max(self.peak, anonymous_mib(self.pid))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join()


def good_request(client, served):
    """A small write and read; may be told to slow down, must be served soon."""
    def once():
        client.put_object(Bucket="busy", Key="good", Body=b"good")
        assert client.get_object(Bucket="busy", Key="good")["Body"].read() == b"good"
        return True
    wait_until("a good request is served", once)
    served.append(time.monotonic())


def test_memory_stays_below_the_cap(tmp_path):
    with OwnNode(tmp_path, memory_cap=f'"{CAP_MIB}MiB"') as node:
        node.start()
        key = node.new_key("someone")
        client = node.client(key)
        client.create_bucket(Bucket="busy")
        print(f"idle: {anonymous_mib(node.process.pid):.0f} MiB")
        with Watch(node.process.pid) as watch:
            crowd = []
            for n in range(IDLE):
                s = socket.create_connection(("127.0.0.1", node.port("s3")), timeout=60)
                s.setblocking(False)
                if n % 2:
                    s.send(b"PUT /busy/x HTTP/1.1\r\nHost: x\r\nX-Drip: ")
                crowd.append(s)
            served = []
            good_request(client, served)
            print(f"{IDLE} connections, half of them dripping: {anonymous_mib(node.process.pid):.0f} MiB")
            ending, outcomes = threading.Event(), Counter()

            def drip():
                while not ending.wait(0.5):
                    for s in crowd[1::2]:
                        try:
                            s.send(b"x")
                        except OSError:
                            pass  # closed by the node: its right

            def upload(n):
                mine = node.client(key)
                body = os.urandom(PART_BYTES)
                for turn in range(2 * LONG):
                    try:
                        made = mine.create_multipart_upload(Bucket="busy", Key=f"big-{n}")
                        part = mine.upload_part(Bucket="busy", Key=f"big-{n}", UploadId=made["UploadId"], PartNumber=1, Body=body)
                        mine.complete_multipart_upload(
                            Bucket="busy", Key=f"big-{n}", UploadId=made["UploadId"],
                            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
                        outcomes["done"] += 1
                    except ClientError as e:
                        outcomes[f"{status_of(e)} {e.response['Error']['Code']}"] += 1
                        time.sleep(0.2)
                    except UNKNOWN_ERRORS as e:
                        outcomes[type(e).__name__] += 1

            def good():
                while not ending.wait(0.5):
                    good_request(client, served)

            threads = [threading.Thread(target=drip), threading.Thread(target=good)]
            for thread in threads:
                thread.start()
            with concurrent.futures.ThreadPoolExecutor(UPLOADS) as pool:
                list(pool.map(upload, range(UPLOADS)))
            ending.set()
            for thread in threads:
                thread.join()
            for s in crowd:
                s.close()
        print(f"{UPLOADS} uploads of {PART_BYTES >> 20} MiB at once: {dict(outcomes)}; peak {watch.peak:.0f} MiB of {CAP_MIB}; "
              f"{len(served)} good requests meanwhile")
        assert outcomes["done"] > 0
        assert not [name for name in outcomes if name[0] in "45" and not name.startswith("503")], outcomes
        if "memory_cap" not in os.environ.get("COVEY_SET", ""):
            assert watch.peak <= CAP_MIB, "it grew beyond the cap"
        good_request(client, served)
        assert node.stop() == 0


def open_crowd(node, size):
    """Connections that say nothing, or never come to the end of a head; half of them each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, size + 2000)), hard))
    crowd = []
    for n in range(size):
        s = socket.create_connection(("127.0.0.1", node.port("s3")), timeout=60)
        s.setblocking(False)
        if n % 2:
            s.send(b"PUT /busy/x HTTP/1.1\r\nHost: x\r\nX-Drip: ")
        crowd.append(s)
    return crowd


class Crowd(threading.Thread):
    """So many idle and dripping connections; one that the node closes is made anew."""

    def __init__(self, node, size):
        super().__init__(daemon=True)
        self.node, self.ending, self.crowd, self.again = node, threading.Event(), open_crowd(node, size), 0

    def run(self):
        while not self.ending.wait(1):
            for n, s in enumerate(self.crowd):
                if self.ending.is_set():
                    return
                try:
                    if n % 2:
                        s.send(b"x")
                    if s.recv(1024) == b"":
                        raise ConnectionError
                except BlockingIOError:
                    pass
                except OSError:
                    s.close()
                    self.crowd[n], self.again = open_crowd(self.node, 2)[n % 2], self.again + 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join()
        for s in self.crowd:
            s.close()


def times_of(client, count):
    """Sorted times of good requests, a small write and a read each; a 503 is tried again and counts in full."""
    times = []
    for _ in range(count):
        began = time.monotonic()
        good_request(client, [])
        times.append(time.monotonic() - began)
    return sorted(times)


def test_slow_clients_do_not_slow_down_good_ones(tmp_path):
    """10,000 connections with COVEY_LONG=5. Times are printed: how busy the machine is decides them."""
    size, count = min(10_000, 2000 * LONG), 300 * LONG
    with OwnNode(tmp_path) as node:
        node.start()
        client = node.client(node.new_key("someone"))
        client.create_bucket(Bucket="busy")
        times_of(client, 50)
        alone = times_of(client, count)
        idle = anonymous_mib(node.process.pid)
        with Watch(node.process.pid) as watch, Crowd(node, size) as crowd:
            among = times_of(client, count)
        for name, times in (("alone", alone), (f"among {size} slow ones", among)):
            print(f"{name}: p50 {times[len(times) // 2] * 1000:.1f} ms, p99 {times[len(times) * 99 // 100] * 1000:.1f} ms")
        print(f"anonymous memory: {idle:.0f} MiB before, peak {watch.peak:.0f} MiB of 256; {crowd.again} were closed by the node")
        assert watch.peak <= 256, "it grew beyond the cap"
        assert node.stop() == 0


UPLOAD_BYTES = (64 << 20) if LONG == 1 else (1 << 30)
AT_ONCE = 16 if LONG == 1 else 64
BREAK_OFF_BYTES = UPLOAD_BYTES // 4  # where the disk is not that large most uploads of the long form end here
WHOLE_ONE_IN = 8  # there
DISK_FACTOR = 1.1


def piece_of(n):
    """What upload N consists of. A disk may compress it; a node does not."""
    return n.to_bytes(4, "big") * 1024 * 64


def stream(url, port, piece, size, break_off):
    """PUTs `size` bytes to a presigned URL; or so many, and hangs up. What came of it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    sent = 0
    try:
        connection.putrequest("PUT", url.split(f":{port}", 1)[1])
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        while sent < (break_off or size):
            connection.send(piece)
            sent += len(piece)
        if break_off:
            return "broken off"
        return str(connection.getresponse().status)
    except OSError:
        try:
            return str(connection.getresponse().status)  # it answered before it had read all
        except (OSError, http.client.HTTPException):
            return "closed"
    finally:
        connection.close()


def test_many_large_uploads_at_the_default_cap(tmp_path):
    """64 uploads of 1 GiB at once among 10,000 connections with COVEY_LONG=5. Without 71 GiB of space only one in eight goes on
    to its end; pytest --basetemp says where."""
    fits = shutil.disk_usage(tmp_path).free >= DISK_FACTOR * AT_ONCE * UPLOAD_BYTES
    whole = [n for n in range(AT_ONCE) if fits or n % WHOLE_ONE_IN == 0]
    with OwnNode(tmp_path) as node:
        node.start()
        client = node.client(node.new_key("someone"))
        client.create_bucket(Bucket="busy")
        outcomes, ended = Counter(), threading.Event()

        def upload(n):
            turns = 0
            while turns < 100:
                turns += 1
                url = client.generate_presigned_url("put_object", Params={"Bucket": "busy", "Key": f"large-{n}"})
                outcome = stream(url, node.port("s3"), piece_of(n), UPLOAD_BYTES, 0 if n in whole else BREAK_OFF_BYTES)
                outcomes[outcome] += 1
                if outcome in ("200", "broken off"):
                    return
                time.sleep(1)

        def good():
            while not ended.wait(0.5):
                good_request(client, served)

        served = []
        with Watch(node.process.pid) as watch, Crowd(node, min(10_000, 2000 * LONG)):
            other = threading.Thread(target=good)
            other.start()
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(upload, range(AT_ONCE)))
            ended.set()
            other.join()
        print(f"{AT_ONCE} uploads of {UPLOAD_BYTES >> 20} MiB: {dict(outcomes)}; peak {watch.peak:.0f} MiB of 256; "
              f"{len(served)} good requests meanwhile")
        assert outcomes["200"] == len(whole)
        assert set(outcomes) <= {"200", "broken off", "503", "closed"}, outcomes
        assert watch.peak <= 256, "it grew beyond the cap"
        for n in whole:
            body = client.get_object(Bucket="busy", Key=f"large-{n}")["Body"]
            pieces = sum(1 for piece in iter(lambda: body.read(len(piece_of(n))), b"") if piece == piece_of(n))
            assert pieces * len(piece_of(n)) == UPLOAD_BYTES
        good_request(client, served)
        assert node.stop() == 0
    shutil.rmtree(tmp_path)  # pytest would keep up to 64 GiB of it


CAP_MIB_DEFAULT = 256
PARALLEL, PART_MIB = 64, 8
PARTS = 1 if LONG == 1 else min(25, 5 * LONG)


def sdk_client(cluster, k):
    """As boto3 comes: it tries five times."""
    config = botocore.config.Config(max_pool_connections=PARALLEL, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=cluster.endpoint(k), region_name=cluster.env["AWS_REGION"], config=config,
                        aws_access_key_id=cluster.env["AWS_ACCESS_KEY_ID"],
                        aws_secret_access_key=cluster.env["AWS_SECRET_ACCESS_KEY"])


def upload_in_parts(client, bucket, key, body):
    made = client.create_multipart_upload(Bucket=bucket, Key=key)
    parts = [{"PartNumber": n, "ETag": client.upload_part(Bucket=bucket, Key=key, UploadId=made["UploadId"], PartNumber=n,
                                                          Body=body)["ETag"]} for n in range(1, PARTS + 1)]
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=made["UploadId"], MultipartUpload={"Parts": parts})


def stored_right(client, bucket, key, body):
    """The whole object, read in pieces and compared."""
    stream, at = client.get_object(Bucket=bucket, Key=key)["Body"], 0
    for piece in stream.iter_chunks(1 << 20):
        begin = at % len(body)
        expected = (body[begin:] + body[:begin])[:len(piece)]
        if piece != expected:
            return False
        at += len(piece)
    return at == PARTS * len(body)


def test_sixty_four_multipart_uploads_on_three_nodes():
    """All are stored, at the default cap. With COVEY_LONG=5: 64 of 200 MiB at once, among 10,000 connections."""
    cluster = LocalCluster("memory")
    try:
        cluster.up()
        clients = {k: sdk_client(cluster, k) for k in cluster.nodes}
        clients[1].create_bucket(Bucket="many")
        body = os.urandom(PART_MIB << 20)
        watches = {k: Watch(cluster.pid(k)) for k in cluster.nodes}
        crowds = [Crowd(NodeOf(cluster, k), min(10_000, 2000 * LONG) // 3) for k in cluster.nodes] if LONG > 1 else []
        levels = LevelWatch(cluster)
        for helper in [*watches.values(), *crowds, levels]:
            helper.__enter__()
        try:
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
                done = [pool.submit(upload_in_parts, clients[n % 3 + 1], "many", f"m-{n}", body) for n in range(PARALLEL)]
                failures = Counter(repr(f.exception()) for f in done if f.exception())
            took = time.monotonic() - began
            with concurrent.futures.ThreadPoolExecutor(8) as pool:  # through another node
                good = list(pool.map(lambda n: stored_right(clients[(n + 1) % 3 + 1], "many", f"m-{n}", body), range(PARALLEL)))
            for k in cluster.nodes:
                wait_until(f"node {k} gives back what it held for bodies", lambda k=k: not any(
                    used for name, (used, _) in cluster.levels(k).items() if name.startswith('{of="memory_')))
        finally:
            for helper in [*watches.values(), *crowds, levels]:
                helper.__exit__()
        assert not levels.above, levels.above
        assert levels.most['{of="memory_copies_bytes"}'] > 0
        peaks = {k: round(watch.peak) for k, watch in watches.items()}
        print(f"{PARALLEL} multipart uploads of {PARTS * PART_MIB} MiB at once in {took:.0f} s, "
              f"{sum(len(crowd.crowd) for crowd in crowds)} slow connections: peaks {peaks} MiB of {CAP_MIB_DEFAULT}, "
              f"{len(failures)} failed")
        assert not failures, failures
        assert all(good)
        assert max(peaks.values()) <= CAP_MIB_DEFAULT, "a node grew beyond the cap"
    finally:
        cluster.down()


class LevelWatch:
    """What the nodes say that they hold, four times a second: the most of each, and what was above its limit."""

    def __init__(self, cluster):
        self.cluster, self.most, self.above, self.ending = cluster, Counter(), [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ending.wait(0.25):
            for k in self.cluster.nodes:
                for name, (used, limit) in self.cluster.levels(k).items():
                    self.most[name] = max(self.most[name], used)
                    if used > limit:
                        self.above.append((k, name, used, limit))

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()


class NodeOf:
    """A node of a cluster, as Crowd takes it."""

    def __init__(self, cluster, k):
        self.cluster, self.k = cluster, k

    def port(self, what):
        return self.cluster.port(self.k, what)
