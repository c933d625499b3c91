"""memory_cap: a node that is asked for more than it holds says SlowDown; it does not grow, and good requests go on."""
import concurrent.futures
import os
import socket
import threading
import time
from collections import Counter

from botocore.exceptions import ClientError

from local import LONG, UNKNOWN_ERRORS, status_of, wait_until
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
