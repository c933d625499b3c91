"""What every client test needs: endpoints that take turns, tools in a clean environment, data, and the nodes' memory."""
import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
LONG = int(os.environ.get("COVEY_LONG", "0"))
MIB = 1 << 20
BIG_BYTES = 100 * MIB  # what every client sends in parts
SAMPLE_EVERY_S = 0.05
MEMORY_CAP_BYTES = 256 * MIB  # anonymous memory of a node, whatever clients do
TOOL_TIMEOUT_S = 900  # nothing takes this long: a bound that ends what would wait for ever

# The keys that clients, proxies and stores get wrong, each for its own reason: file names that are odd ...
FILE_KEYS = ["with space", " lead", "trail ", "a+b", "100%", "a%20b", "a%2Fb", "ü/日本語/ключ", "\U0001f600", "?x=1&y", "#hash",
             "<x>\"'", "back\\slash", "[x]{y}|z^`", "*", "$(x)", "~-._!",
             "/".join(["d" * 203, "é" * 102, "f" * 203, "g" * 203, "h" * 207])]
# ... and keys that no file system can have.
OTHER_KEYS = ["a//b", "a/../b", "../up", "a/..", "x" * 1024, "é" * 512]
ODD_KEYS = FILE_KEYS + OTHER_KEYS
assert max(len(key.encode()) for key in FILE_KEYS) == max(len(key.encode()) for key in OTHER_KEYS) == 1024


def make_odd_files(folder):
    """A file for each of FILE_KEYS, its name as its content."""
    for key in FILE_KEYS:
        path = os.path.join(folder, key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(key)


def check_odd_files(folder):
    for key in FILE_KEYS:
        with open(os.path.join(folder, key)) as f:
            assert f.read() == key

def tool(name, *elsewhere):
    """The path of a program, or a skip that says which client is missing."""
    for path in [*elsewhere, os.path.join(os.path.dirname(sys.executable), name), shutil.which(name)]:
        if path and os.access(path, os.X_OK):
            return path
    pytest.skip(f"{name} is not installed on this machine (tests/clients/install says why)")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(4 * MIB):
            digest.update(piece)
    return digest.hexdigest()


class Nodes:
    """The cluster as its users see it: endpoints and keys."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.endpoints = [cluster.endpoint(k) for k in cluster.nodes]
        self.access, self.secret = cluster.env["AWS_ACCESS_KEY_ID"], cluster.env["AWS_SECRET_ACCESS_KEY"]
        self.region = cluster.env["AWS_REGION"]
        self._turn = itertools.count()

    def next(self):
        """The endpoint of the next node: whoever asks each time goes round the cluster."""
        return self.endpoints[next(self._turn) % len(self.endpoints)]

    def boto3(self, endpoint=None):
        """A boto3 client with nothing set but endpoint, keys and region."""
        import boto3

        return boto3.client("s3", endpoint_url=endpoint or self.next(), aws_access_key_id=self.access,
                            aws_secret_access_key=self.secret, region_name=self.region)

    def storage_options(self, endpoint=None):
        """For clients built on the Rust crate object_store: Polars, LanceDB."""
        return {"aws_access_key_id": self.access, "aws_secret_access_key": self.secret, "aws_region": self.region,
                "aws_endpoint": endpoint or self.next(), "aws_allow_http": "true"}

    def environment(self, home, **more):
        """Nothing of the caller's but PATH: proxies, CA bundles and profiles change what clients do."""
        return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(home), "AWS_ACCESS_KEY_ID": self.access,
                "AWS_SECRET_ACCESS_KEY": self.secret, "AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region,
                "AWS_EC2_METADATA_DISABLED": "true", **more}


def run(command, env, **options):
    """The standard output of a tool that must succeed."""
    done = subprocess.run(command, env=env, capture_output=True, timeout=TOOL_TIMEOUT_S, check=False, **options)
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}:\n{done.stdout[-4000:].decode(errors='replace')}\n"
        f"{done.stderr[-4000:].decode(errors='replace')}")
    return done.stdout


def keys(s3, bucket):
    """All keys of a bucket (up to 1,000), as boto3 sees them."""
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


class MemoryWatch:
    """Samples every node's anonymous memory for as long as it runs."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.peaks = {k: 0 for k in cluster.nodes}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._stop.wait(SAMPLE_EVERY_S):
            for k in self.cluster.nodes:
                self.peaks[k] = max(self.peaks[k], anonymous_bytes(self.cluster.pid(k)))

    def check(self):
        """No node had more than its cap since the last check; what they had is in the answer."""
        peaks, self.peaks = self.peaks, {k: 0 for k in self.cluster.nodes}
        shown = ", ".join(f"node {k} {peak / MIB:.0f} MiB" for k, peak in peaks.items())
        assert max(peaks.values()) <= MEMORY_CAP_BYTES, f"too much anonymous memory: {shown}"
        return shown

    def stop(self):
        self._stop.set()
        self._thread.join()


def anonymous_bytes(pid):
    try:
        with open(f"/proc/{pid}/status") as f:
            for line in f:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Stopwatch:
    def __init__(self):
        self.since = time.monotonic()

    def lap(self):
        now = time.monotonic()
        took, self.since = now - self.since, now
        return took
