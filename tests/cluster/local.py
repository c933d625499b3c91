"""A Covey cluster for one test file, started through deploy/local-cluster in a folder of its own."""
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import botocore.config
import botocore.exceptions

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(TREE, "deploy"))
import local_netns  # noqa: E402
import local_process  # noqa: E402

LONG = max(1, int(os.environ.get("COVEY_LONG", "1")))  # multiplies the rounds
PORTS = range(int(os.environ.get("COVEY_PORTS", "26000")), 30000)
SETTLES_WITHIN_S = 120  # nothing takes this long: a bound that ends a test that would wait for ever
UNKNOWN_ERRORS = (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError)


def take_ports(within=PORTS):
    """A base port whose neighbours, in the pattern of deploy/local-cluster, are free, and the lock that keeps other
    runs of these tests away from it until it is closed."""
    for base in [first + step for first in within[::400] for step in range(0, 100, 10)]:
        lock = open(os.path.join(tempfile.gettempdir(), f"covey-ports-{base}.lock"), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        ports = [base + k for k in range(8)] + [base + hundred + k for hundred in (100, 200, 300) for k in range(1, 9)]
        if all(port_is_free(port) for port in ports):
            return base, lock
        lock.close()
    raise RuntimeError(f"no free ports in {within}")


def port_is_free(port):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as s:
            if kind == socket.SOCK_STREAM:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def wait_until(what, check, seconds=SETTLES_WITHIN_S, pause=0.1):
    """Returns check()'s first true value. A failure to reach a node counts as not yet."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            value = check()
            if value:
                return value
            last = value
        except (botocore.exceptions.ClientError, *UNKNOWN_ERRORS) as e:
            last = e
        time.sleep(pause)
    raise AssertionError(f"waited {seconds} s in vain: {what}; last: {last!r}")


def running(request, made):
    """The rest of a fixture: yields the cluster while it runs; a failure of its tests shows its logs (conftest.py)."""
    request.module.running_cluster = made
    try:
        yield made.up()
    finally:
        made.down()


def status_of(error):
    """The HTTP status of a ClientError."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


class LocalCluster:
    def __init__(self, name, nodes=3, zones=None, settings=(), ports=PORTS, netns=False):
        """With `netns` each node has a network namespace of its own, so that links can be cut (nemesis.py)."""
        self.dir = tempfile.mkdtemp(prefix=f"covey-{name}-")
        self.base, self.ports_lock = (3900, None) if netns else take_ports(ports)
        self.netns = netns
        self.network = ""
        self.nodes = range(1, nodes + 1)
        self.zones = zones or nodes
        self.settings = settings
        self.env = {}
        self.mounts = []
        self.keep = False  # the folder, after down()

    def tool(self, command, *args):
        done = subprocess.run(
            [sys.executable, os.path.join(TREE, "deploy", "local-cluster"), command, *args, "--dir", self.dir],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        if done.returncode != 0:
            raise AssertionError(f"local-cluster {command} failed: {done.stdout}\n{self.log_tail()}")
        return done.stdout

    def up(self):
        options = ["--nodes", str(len(self.nodes)), "--zones", str(self.zones), "--s3-port", str(self.base)]
        options += ["--netns"] if self.netns else []
        for line in self.settings:
            options += ["--set", line]
        self.tool("up", *options)
        with open(os.path.join(self.dir, "cluster.env")) as f:
            self.env = dict(line.rstrip("\n").split("=", 1) for line in f)
        with open(os.path.join(self.dir, "cluster.json")) as f:
            self.network = json.load(f).get("network", "")
        return self

    @property
    def links(self):
        """What cuts and heals the links between nodes. REQUIRES: netns, up."""
        return local_netns.Netns(self.dir, self.network)

    def down(self):
        """Stops whatever runs of it, whatever state it is in, and removes it. A node that does not stop is a failure."""
        trouble = None
        try:
            if os.path.exists(os.path.join(self.dir, "cluster.json")):
                self.tool("down")
        except (AssertionError, subprocess.TimeoutExpired) as e:
            trouble = e
        self.kill_all()
        for mount in self.mounts:
            subprocess.run(["umount", "-l", mount], check=False)
        if self.ports_lock:
            self.ports_lock.close()
        if not self.keep and not os.environ.get("COVEY_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)
        if trouble:
            raise trouble

    def mount_small_disk(self, path, mebibytes):
        """A file system of that size on PATH, inside the cluster's folder. False where that is not allowed."""
        where = os.path.join(self.dir, path)
        os.makedirs(where, exist_ok=True)
        if os.geteuid() != 0 or not shutil.which("mount"):
            return False
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=700", "covey-test", where],
                              capture_output=True, check=False)
        if done.returncode == 0:
            self.mounts.append(where)
        return done.returncode == 0

    def pid(self, k):
        node = os.path.join(self.dir, f"node{k}")
        return local_process.running(os.path.join(node, "pid"), os.path.join(node, "covey.toml"))

    def pids(self):
        return [self.pid(k) for k in self.nodes]

    def kill(self, *which):
        """SIGKILL to all of these at once; returns when they are gone."""
        for k in which:
            if pid := self.pid(k):
                os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 60
        while any(self.pid(k) for k in which) and time.monotonic() < end:
            time.sleep(0.01)

    def kill_all(self):
        self.kill(*self.nodes)

    def start(self, k, wait=True):
        """Without `wait` it may not serve yet."""
        self.tool("start", str(k), *([] if wait else ["--no-wait"]))

    def start_together(self, which, wait=True):
        """One alone would wait for the others."""
        with ThreadPoolExecutor(max(1, len(which))) as pool:
            list(pool.map(lambda k: self.start(k, wait), which))

    def add(self, zone=""):
        """One more node: it serves, and joins by itself."""
        self.tool("add", *(["--zone", zone] if zone else []))
        self.nodes = range(1, len(self.nodes) + 2)

    def wipe(self, k):
        """Kills node K and removes its data, metadata and identity."""
        self.tool("wipe", str(k))

    def heal(self):
        """Every node runs, hears every other one and says that the cluster is healthy."""
        if self.network:
            self.links.heal(self.nodes)
        for k in self.nodes:
            if not self.pid(k):
                if len([p for p in self.pids() if p]) == 0:
                    self.up()
                else:
                    self.start(k)
            self.resume(k)
        self.wait_healthy()

    def pause(self, k):
        """The node hangs: SIGSTOP."""
        if pid := self.pid(k):
            os.kill(pid, signal.SIGSTOP)

    def resume(self, k):
        if pid := self.pid(k):
            os.kill(pid, signal.SIGCONT)

    def covey(self, k, *args, stdin="", timeout=60):
        binary = os.environ.get("COVEY", os.path.join(TREE, "build", "release", "node", "covey"))
        return subprocess.run([binary, "--config", os.path.join(self.dir, f"node{k}", "covey.toml"), *args], text=True,
                              input=stdin, capture_output=True, timeout=timeout)

    def status(self, k):
        try:
            return json.loads(self.covey(k, "status", "--json").stdout)
        except ValueError:
            return {}

    def metrics(self, k):
        """The node's numbers by name, with labels as in 'level{of="..."}', through the socket of its admin API."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(os.path.join(self.dir, f"node{k}", "meta", "admin.sock"))
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
        return {name: float(value) for name, value in re.findall(r"^covey_(\S+) (\S+)$", text, re.MULTILINE)}

    def levels(self, k):
        """What the node holds in memory beside each limit: {name: (used, limit)}."""
        numbers = self.metrics(k)
        return {name[5:]: (used, numbers["level_limit" + name[5:]]) for name, used in numbers.items() if name.startswith("level{")}

    def wait_healthy(self):
        for k in self.nodes:
            wait_until(f"node {k} says that the cluster is healthy", lambda k=k: self.status(k).get("healthy"))

    def endpoint(self, k):
        return f"http://{self.host(k)}:{self.port(k)}"

    def host(self, k):
        return f"{self.network}.{k}" if self.netns else "127.0.0.1"

    def port(self, k, what="s3"):
        if self.netns:
            return self.base + {"s3": 0, "gossip": 1, "rpc": 2, "admin": 3}[what]
        return self.base + {"s3": k - 1, "gossip": 100 + k, "rpc": 200 + k, "admin": 300 + k}[what]

    def client(self, k, timeout=20, connections=80, **config):
        """A boto3 client of node K that tries once."""
        return self.client_of(self.env["AWS_ACCESS_KEY_ID"], self.env["AWS_SECRET_ACCESS_KEY"], k, timeout, connections,
                              **config)

    def client_of(self, access_key, secret_key, k, timeout=20, connections=80, **config):
        """Likewise, of another user."""
        return boto3.client(
            "s3", endpoint_url=self.endpoint(k), aws_access_key_id=access_key, aws_secret_access_key=secret_key,
            region_name=self.env["AWS_REGION"],
            config=botocore.config.Config(
                retries={"total_max_attempts": 1}, connect_timeout=timeout, read_timeout=timeout,
                max_pool_connections=connections, s3={"addressing_style": "path"}, **config))

    def clients(self, **kw):
        return [self.client(k, **kw) for k in self.nodes]

    def log(self, k):
        try:
            with open(os.path.join(self.dir, f"node{k}", "log"), errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def log_tail(self, lines=25):
        return "\n".join(f"--- node {k}\n" + "\n".join(self.log(k).splitlines()[-lines:]) for k in self.nodes)
