"""Histories of real nodes are linearizable. Clients on all of five nodes, and a nemesis that cuts, isolates, pauses and kills at random: the recorded history of every key
is that of a register. COVEY_LONG=N makes N runs of a minute, COVEY_SEED repeats the steps of a run (not their interleaving)."""
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from history import Clients, quantiles
from local import LONG, LocalCluster, local_netns, running, wait_until
from nemesis import Nemesis

SECONDS = 25 if LONG == 1 else 60
runs = pytest.mark.parametrize("run", range(LONG))


def seed_of_run():
    seed = int(os.environ.get("COVEY_SEED") or random.randrange(1 << 32))
    print(f"COVEY_SEED={seed}")
    return seed


def tell_refusals(clients, nemesis):
    """How long clients waited for a 503; nothing is asserted of it, for the machine may be slow."""
    refused = clients.refused([1, 2, 3, 4, 5], pauses=nemesis.pauses)
    print(f"503: {quantiles([op.ended - op.sent for op in refused])}; the slowest:")
    for op in refused[-3:]:
        print(f"  {op.ended - op.sent:.2f} s  {op}, ended {op.ended:.2f}")


@runs
def test_a_random_history_is_linearizable(five, run):
    five.heal()
    seed = seed_of_run()
    bucket = f"history-{run}"
    wait_until("a bucket can be made", lambda: five.client(1).create_bucket(Bucket=bucket))
    clients = Clients(five, bucket, seed)
    nemesis = Nemesis(five, seed, clients.now)
    try:
        nemesis.run(SECONDS)
        clients.stop()
        five.heal()
        clients.final_reads(five.nodes)
    finally:
        clients.stop()
        print(nemesis.told())
    tell_refusals(clients, nemesis)
    clients.judge(nemesis.story)


@pytest.fixture
def three(request):  # grows and shrinks, so each test has its own
    if trouble := local_netns.missing():
        pytest.skip(trouble)
    yield from running(request, LocalCluster("history-layout", nodes=3, netns=True))


def members(cluster, through):
    """Their numbers, and whether the layout is changing; None when the node does not tell."""
    shown = cluster.status(through)
    if not shown.get("nodes"):
        return None
    return (sorted(int(n["name"].removeprefix("node")) for n in shown["nodes"] if n["role"] == "member"),
            shown["layout"]["changing"])


def wait_members(cluster, numbers, through):
    """Until these are the members, nothing moves any more, and THROUGH says so."""
    wait_until(f"the members are {numbers}", lambda: members(cluster, through) == (numbers, False), seconds=400, pause=0.3)


def remove(cluster, k, through):
    """By command; again where that failed because a link was dead."""
    def removed():
        done = cluster.covey(through, "node", "remove", f"node{k}", timeout=400)
        told.append((done.stdout + done.stderr)[-300:])
        shown = members(cluster, through)
        return shown and k not in shown[0]
    told = []
    wait_until(f"node {k} is removed", removed, seconds=400, pause=1)
    print("\n".join(told))


def may_be_unplugged(cluster, k):
    """Every copy is made: the others have all that the node has."""
    told = []

    def may():
        told.append(cluster.covey(1, "node", "check", f"node{k}"))
        return told[-1].returncode == 0
    try:
        wait_until(f"node {k} may be unplugged", may)
    except AssertionError as e:
        raise AssertionError(f"{e}: {told[-1].stdout}{told[-1].stderr}\n{cluster.covey(1, 'status').stdout}") from e


@runs
def test_the_layout_changes_meanwhile(three, run):
    """From three nodes to five; one is drained, one dies and is removed; all the time links part and nodes hang."""
    seed = seed_of_run()
    wait_until("a bucket can be made", lambda: three.client(1).create_bucket(Bucket="history"))
    clients = Clients(three, "history", seed)
    nemesis = Nemesis(three, seed, clients.now, long=(0.5, 3.0), quiet=(2.0, 4.0))
    enough = threading.Event()
    pool = ThreadPoolExecutor(1)
    breaking = pool.submit(nemesis.run, enough=enough.is_set)
    try:
        for k, zone in ((4, "zone1"), (5, "zone2")):
            three.add(zone)
            clients.add_node(k)
            nemesis.nodes.append(k)
            nemesis.say(f"node {k} joins")
        wait_members(three, [1, 2, 3, 4, 5], through=1)
        nemesis.say("five members")
        remove(three, 5, through=1)
        wait_members(three, [1, 2, 3, 4], through=2)
        nemesis.say("node 5 is drained")
        nemesis.nodes.remove(4)
        three.kill(4)
        nemesis.say("node 4 is dead for ever")
        remove(three, 4, through=1)
        wait_members(three, [1, 2, 3], through=3)
        nemesis.say("node 4 is removed")
    finally:
        enough.set()
        pool.shutdown()
        clients.stop()
        print(nemesis.told())
    breaking.result()  # what went wrong there
    three.nodes = range(1, 4)
    three.heal()
    clients.final_reads([1, 2, 3, 5])
    tell_refusals(clients, nemesis)
    clients.judge(nemesis.story)
    for k in (1, 2, 3):
        may_be_unplugged(three, k)
