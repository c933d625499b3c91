"""All nodes are killed at once under load, as by a power cut: what was acknowledged is there after the restart."""
import time

from load import Load
from local import LONG

ROUNDS = 3 * LONG


def test_kill_all_at_once_under_load(cluster, bucket):
    loads = []
    for turn in range(ROUNDS):
        with Load(cluster, bucket, writers=8, prefix=f"round{turn}", pause=0) as load:
            for k in cluster.nodes:
                load.wait_for(40 + 13 * (turn % 5), k)
            cluster.kill_all()
        began = time.monotonic()
        cluster.up()
        print(f"round {turn + 1}: serving again after {time.monotonic() - began:.1f} s")
        load.check()
        loads.append(load)
    for load in loads:
        load.check()
