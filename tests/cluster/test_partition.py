"""Five nodes in three zones whose links are cut, both ways and one way, and nodes that hang: the side with a majority of the
copies serves on, the other one answers 503 and never a falsehood, and all agree when it is over. Meanwhile clients on every
node record what they do; that history must be linearizable."""
import itertools
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from history import Clients, quantiles
from local import LONG, wait_until
from nemesis import Nemesis
from plain import PlainClient

SECONDS = 7  # how long something is broken
PATIENCE_S = 60
numbers = itertools.count(1)


@pytest.fixture(params=range(LONG))
def scene(five):
    """Clients on all nodes, and what breaks the cluster; healed and judged afterwards."""
    five.heal()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    bucket = f"parted-{next(numbers)}"
    wait_until("a bucket can be made", lambda: five.client(1).create_bucket(Bucket=bucket))
    clients = Clients(five, bucket, seed)
    nemesis = Nemesis(five, seed, clients.now)
    try:
        wait_until("the clients are at work", lambda: len(clients.answered(five.nodes)) > 100)
        yield Scene(five, clients, nemesis, bucket)
    finally:
        clients.stop()
        five.heal()


class Scene:
    def __init__(self, cluster, clients, nemesis, bucket):
        self.cluster, self.clients, self.nemesis, self.bucket = cluster, clients, nemesis, bucket

    def serves(self, nodes, since):
        """Each of these nodes acknowledges writes; prints how long it did not. Nothing about speed is asserted."""
        for k in nodes:
            wait_until(f"writes go on through node {k}", lambda k=k: len(
                [t for t in self.clients.acknowledged([k]) if t > since + 1]) >= 5)
        until = self.clients.now()
        for k in nodes:
            print(f"node {k}: longest time without an acknowledged write {self.clients.longest_gap([k], since, until):.2f} s; "
                  f"503: {quantiles(self.clients.refusals([k], since, until))}")
        print(f"all of {list(nodes)}: longest time without one {self.clients.longest_gap(nodes, since, until):.2f} s")

    def judge(self):
        """Everything is healed, agrees, says healthy, and the whole history makes sense."""
        healed = self.clients.now()
        self.nemesis.heal()
        for k in self.cluster.nodes:
            wait_until(f"writes go on through node {k}", lambda k=k: [t for t in self.clients.acknowledged([k]) if t > healed])
        print("writes again through every node "
              f"{max(min(t for t in self.clients.acknowledged([k]) if t > healed) for k in self.cluster.nodes) - healed:.2f} s "
              "after healing")
        self.clients.stop()
        self.cluster.wait_healthy()
        self.clients.final_reads(self.cluster.nodes)
        print(f"healthy {self.clients.now() - healed:.1f} s after healing")
        self.clients.judge(self.nemesis.story)


def refusals_of(cluster, k, bucket):
    """Every kind of request to a node that cannot know: all must be answered 503, before the client gives up."""
    match = [("if-match", '"0123456789abcdef0123456789abcdef"')]
    requests = [
        ("PUT", "PUT", "new", b"new"), ("PUT of blocks", "PUT", "new-large", b"b" * 3_000_000),
        ("PUT if none", "PUT", "key-0", b"x", [("if-none-match", "*")]), ("PUT if match", "PUT", "key-1", b"x", match),
        ("GET", "GET", "key-0"), ("GET of an absent key", "GET", "never"), ("HEAD", "HEAD", "key-1"),
        ("DELETE", "DELETE", "key-2"), ("LIST", "GET", ""), ("DELETE of the bucket", "DELETE", "")]

    def ask(request):
        began = time.monotonic()
        reply = PlainClient(cluster, k, PATIENCE_S).request(request[1], bucket, *request[2:])
        return request[0], time.monotonic() - began, reply

    with ThreadPoolExecutor(len(requests)) as pool:
        told = list(pool.map(ask, requests))
    print(f"node {k}: " + ", ".join(f"{what} {took:.1f} s" for what, took, _ in told))
    for what, took, reply in told:
        assert reply.status == 503, f"node {k} says {reply} to {what} after {took:.1f} s"
    return max(took for _, took, _ in told)


def says(scene, k, summary):
    """covey status there; a node that is slow to answer may look cut off for a moment."""
    wait_until(f"node {k} says {summary}", lambda: scene.cluster.status(k).get("summary", "").startswith(summary))


def test_three_against_two(scene):
    """One zone of two nodes is cut off: it holds one copy of everything, the other side two."""
    since = scene.clients.now()
    scene.nemesis.part([1, 4], [2, 3, 5])
    time.sleep(3)
    # In parallel: each takes a while.
    slowest = [refusals_of(scene.cluster, k, scene.bucket) for k in (1, 4)]
    time.sleep(max(0, since + SECONDS - scene.clients.now()))
    for k in (1, 4):
        says(scene, k, "UNAVAILABLE")
    for k in (2, 3, 5):
        says(scene, k, "degraded: 2 of 5")
    for k in (1, 4):
        wrote = [op for op in scene.clients.ops if op.node == k and op.sent > since + 0.5 and op.kind != "GET" and op.outcome == "ok"]
        assert not wrote, f"node {k} acknowledged {wrote[0]}, but no majority can have it"
    scene.serves([2, 3, 5], since)
    print(f"the other side: longest wait for a 503 {max(slowest):.2f} s; of the clients "
          f"{quantiles(scene.clients.refusals([1, 4], since))}")
    scene.judge()


def test_one_node_is_cut_off(scene):
    since = scene.clients.now()
    scene.nemesis.isolate(3)  # the only one of its zone, so it holds a copy of everything
    time.sleep(SECONDS)
    scene.serves([1, 2, 4, 5], since)
    print(f"node 3: 503 {quantiles(scene.clients.refusals([3], since))}")
    scene.judge()


def test_slow_links(scene):
    """Every node's link carries 20 million bits a second: bodies take their time, and nobody is thought dead for it."""
    mbit, bodies = 20, {f"large-{n}": random.randbytes(4 << 20) for n in range(4)}
    scene.cluster.tool("throttle", str(mbit))
    client = scene.cluster.client(1, timeout=PATIENCE_S)
    began = time.monotonic()
    with ThreadPoolExecutor(len(bodies)) as pool:
        list(pool.map(lambda key: client.put_object(Bucket=scene.bucket, Key=key, Body=bodies[key]), bodies))
    took = time.monotonic() - began
    total = sum(map(len, bodies.values()))
    assert took > total * 8 / (mbit * 1e6), f"{total >> 20} MiB came over a link of {mbit} Mbit/s in {took:.1f} s"
    print(f"{total >> 20} MiB in {len(bodies)} bodies at once stored in {took:.1f} s")
    for k in scene.cluster.nodes:
        reader = scene.cluster.client(k, timeout=PATIENCE_S)
        assert reader.get_object(Bucket=scene.bucket, Key="large-0")["Body"].read() == bodies["large-0"]
    scene.serves(scene.cluster.nodes, scene.clients.now())
    assert all(node["state"] == "alive" for node in scene.cluster.status(2)["nodes"])
    scene.judge()


@pytest.mark.parametrize("senders, receivers", [([1], [2]), ([3], [1, 2, 4, 5]), ([1, 2, 4, 5], [3])],
                         ids=["one-link", "node-is-not-heard", "node-hears-nothing"])
def test_one_way(scene, senders, receivers):
    since = scene.clients.now()
    scene.nemesis.cut(senders, receivers)
    time.sleep(SECONDS)
    scene.serves([1, 2, 4, 5], since)
    if 3 not in senders + receivers:
        scene.serves([3], since)
    scene.judge()


def test_a_node_hangs(scene):
    since = scene.clients.now()
    scene.nemesis.pause(2)
    time.sleep(max(SECONDS, 10))
    scene.serves([1, 3, 4, 5], since)
    scene.judge()


PROBE = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=4)
    print("reached")
except TimeoutError:
    print("silence")
"""


def test_what_the_tool_cuts_is_silent(five):
    """deploy/local-cluster cut, isolate, heal and status; a packet over a dead link meets silence, not a refusal."""
    five.heal()

    def probe(sender, receiver):
        done = subprocess.run([*five.links.entering(sender), sys.executable, "-c", PROBE, five.host(receiver),
                               str(five.port(receiver))], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip() or done.stderr

    five.tool("cut", "1", "2", "--one-way")
    five.tool("isolate", "5")
    shown = five.tool("status")
    lost = [(1, 2)] + [pair for k in (1, 2, 3, 4) for pair in ((k, 5), (5, k))]
    assert sorted(lost) == five.links.cuts(five.nodes)
    for sender, receiver in lost:
        assert f"what node {sender} sends to node {receiver} is lost" in shown
    with ThreadPoolExecutor(4) as pool:
        # No connection is made over a link of which one direction is dead.
        found = list(pool.map(lambda pair: probe(*pair), [(1, 2), (2, 1), (5, 3), (3, 4)]))
    assert found == ["silence", "silence", "silence", "reached"]
    assert PlainClient(five, 5, PATIENCE_S).request("GET", "nothing", "key").status in (404, 503)  # from outside it is reached
    five.tool("heal")
    assert five.links.cuts(five.nodes) == []
    assert probe(1, 2) == "reached" and probe(5, 1) == "reached"


def test_killed_and_cut(scene):
    """A node is gone, a link is dead one way: every copy is still on a majority that can talk."""
    since = scene.clients.now()
    scene.nemesis.kill(4)
    scene.nemesis.cut([1], [2])
    time.sleep(SECONDS)
    scene.serves([2, 3, 5], since)
    scene.nemesis.heal_links()
    scene.nemesis.pause(5)
    scene.cluster.start(4)
    time.sleep(2)
    scene.judge()
