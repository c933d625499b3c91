"""The layout changes under load: the cluster grows, shrinks, drains nodes and replaces dead and wiped ones, and nodes
are killed while it does. Nothing acknowledged is lost, listings are exact, and every object has all its copies after."""
import time

import pytest

from load import Load
from local import LONG, LocalCluster, wait_until

BODIES = {f"kept/{n:03}": bytes([n]) * (100 + n * n * 40) for n in range(60 * LONG)}


@pytest.fixture
def grown(request):
    """Starts clusters of a test of its own size and removes them."""
    made = []

    def start(nodes, name):
        cluster = LocalCluster(name, nodes=nodes)
        request.module.running_cluster = cluster
        made.append(cluster)
        cluster.up()
        wait_until("a bucket can be made", lambda: cluster.client(1).create_bucket(Bucket="layout"))
        for key, body in BODIES.items():
            cluster.client(1).put_object(Bucket="layout", Key=key, Body=body)
        return cluster

    yield start
    for cluster in made:
        cluster.down()


def settled(cluster, names):
    """Every running node says that these are the members and that nothing moves any more."""
    for k in cluster.nodes:
        if not cluster.pid(k):
            continue
        shown = cluster.status(k)
        if shown.get("layout", {}).get("changing", True):
            return False
        if sorted(n["name"] for n in shown["nodes"] if n["role"] == "member") != sorted(names):
            return False
    return True


def wait_settled(cluster, *numbers):
    began = time.monotonic()
    names = [f"node{k}" for k in numbers]
    wait_until(f"the members are {names}", lambda: settled(cluster, names), seconds=300, pause=0.3)
    print(f"members {list(numbers)} after {time.monotonic() - began:.1f} s")


def everything_is_there(cluster, through):
    listed = [e["Key"] for page in cluster.client(through[0]).get_paginator("list_objects_v2").paginate(
        Bucket="layout", Prefix="kept/") for e in page.get("Contents", [])]
    assert listed == sorted(BODIES)
    for k in through:
        for key, body in BODIES.items():
            got = wait_until(f"{key} can be read through node {k}",
                             lambda k=k, key=key: cluster.client(k).get_object(Bucket="layout", Key=key)["Body"].read() or b"\0")
            assert got == (body or b"\0"), f"{key} differs through node {k}"


def any_one_may_fail(cluster, members):
    """Each node in its turn is killed, and the others still have everything."""
    for k in members:
        cluster.kill(k)
        everything_is_there(cluster, [n for n in members if n != k][:1])
        cluster.start(k)
        wait_until("the cluster is healthy", lambda: cluster.status(members[0]).get("healthy"))


def remove(cluster, through, *names):
    began = time.monotonic()
    done = cluster.covey(through, "node", "remove", *names, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"{' '.join(names)} removed after {time.monotonic() - began:.1f} s")


def test_grow_and_shrink_under_load(grown):
    cluster = grown(1, "layout-grow")
    with Load(cluster, "layout", writers=4, pause=0.05) as load:
        for members in ([1, 2], [1, 2, 3]):
            cluster.add()
            wait_settled(cluster, *members)
            load.wait_for(20, 1)
        load.clients = cluster.clients(timeout=30)
        cluster.add("zone1")
        cluster.add("zone2")
        # A node that holds data, and perhaps leads, dies on the way.
        wait_until("the layout changes", lambda: cluster.status(1).get("layout", {}).get("changing"), pause=0.02)
        cluster.kill(2)
        load.wait_for(10, 1)
        cluster.start(2)
        wait_settled(cluster, 1, 2, 3, 4, 5)
        load.wait_for(20, 2)
        assert cluster.covey(1, "layout", "plan", "--remove", "node5", "--remove", "node4").returncode == 0
        remove(cluster, 1, "node4", "node5")
        wait_settled(cluster, 1, 2, 3)
        load.wait_for(20, 1)
    load.check()
    everything_is_there(cluster, [1, 2, 3, 4])
    wait_until("the nodes that left hand over nothing any more",
               lambda: all(n["partitions_to_hand_over"] == 0 for n in cluster.status(1)["nodes"]), seconds=180)
    cluster.kill(4, 5)
    any_one_may_fail(cluster, [1, 2, 3])
    load.clients = [cluster.client(k) for k in (1, 2, 3)]
    load.check()


def test_a_wiped_node_takes_its_old_place(grown):
    cluster = grown(3, "layout-wipe")
    with Load(cluster, "layout", writers=4, pause=0.05) as load:
        load.wait_for(20, 1)
        old = {n["name"]: n["id"] for n in cluster.status(1)["nodes"]}["node3"]
        cluster.wipe(3)
        load.wait_for(10, 1)
        cluster.start(3)
        wait_until("another node holds its place",
                   lambda: any(n["name"] == "node3" and n["id"] != old and n["member"] for n in cluster.status(1)["nodes"]),
                   seconds=300)
        wait_settled(cluster, 1, 2, 3)
        load.wait_for(20, 3)
    load.check()
    any_one_may_fail(cluster, [1, 2, 3])


def test_a_dead_node_is_removed(grown):
    cluster = grown(4, "layout-dead")
    with Load(cluster, "layout", writers=4, pause=0.05) as load:
        load.wait_for(20, 1)
        wait_until("node 1 may be unplugged", lambda: cluster.covey(1, "node", "check", "node1").returncode == 0)
        cluster.kill(4)
        wait_until("node 4 is known to be dead",
                   lambda: any(n["name"] == "node4" and n["state"] == "dead" for n in cluster.status(1)["nodes"]))
        assert cluster.covey(2, "node", "check", "node1").returncode == 1
        remove(cluster, 2, "node4")
        wait_settled(cluster, 1, 2, 3)
        load.wait_for(20, 1)
        # It was not lost after all: it is told that it is out, and is taken in again only on command.
        cluster.start(4)
        wait_settled(cluster, 1, 2, 3)
        done = cluster.covey(3, "node", "add", "node4", timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        wait_settled(cluster, 1, 2, 3, 4)
    load.check()
    any_one_may_fail(cluster, [1, 2, 3, 4][:1 + LONG])
