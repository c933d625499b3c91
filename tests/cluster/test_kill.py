"""Under steady writes every node is killed in turn, again and again: nothing acknowledged is lost or wrong."""
import time

from load import Load
from local import LONG, wait_until

ROUNDS = 2 * LONG  # each kills every node once


def test_kill_each_node_in_turn(cluster, bucket):
    with Load(cluster, bucket) as load:
        for k in cluster.nodes:
            load.wait_for(10, k)
        for turn in range(ROUNDS):
            for victim in cluster.nodes:
                others = [k for k in cluster.nodes if k != victim]
                cluster.kill(victim)
                killed_at = time.monotonic()
                for k in others:
                    load.wait_for(10, k)
                served_at = time.monotonic()
                cluster.start(victim)
                started_at = time.monotonic()
                load.wait_for(10, victim)
                gaps = [f"{load.longest_gap(k, killed_at, served_at):.1f} s" for k in others]
                print(f"round {turn + 1}, node {victim} killed: longest pause of writes through the others {gaps}, "
                      f"start took {started_at - served_at:.1f} s, "
                      f"then {time.monotonic() - started_at:.1f} s to its tenth write")
    cluster.wait_healthy()
    load.check()


def test_reads_go_on_without_a_node(cluster, bucket):
    clients = cluster.clients()
    bodies = {f"k{n}": bytes([n]) * (n * n * 977) for n in range(30)}
    for number, (key, body) in enumerate(bodies.items()):
        clients[number % 3].put_object(Bucket=bucket, Key=key, Body=body)
    for victim in cluster.nodes:
        cluster.kill(victim)
        began = time.monotonic()
        for k in cluster.nodes:
            if k == victim:
                continue
            for key, body in bodies.items():
                read = wait_until(f"{key} through node {k} without node {victim}",
                                  lambda k=k, key=key: [clients[k - 1].get_object(Bucket=bucket, Key=key)["Body"].read()])
                assert read == [body]
            listed = wait_until("a listing", lambda k=k: clients[k - 1].list_objects_v2(Bucket=bucket))
            assert [entry["Key"] for entry in listed["Contents"]] == sorted(bodies)
        print(f"node {victim} killed: all read through the others in {time.monotonic() - began:.1f} s")
        cluster.start(victim)
        cluster.wait_healthy()
