"""What goes wrong in a cluster of namespaces: links are cut, nodes isolated, paused, killed; then all is healed; and again."""
import itertools
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor


class Nemesis:
    """Its steps are a function of the seed and of the nodes. `story` is what it did, with times of `clock`."""

    def __init__(self, cluster, seed, clock, long=(2.0, 7.0), quiet=(1.0, 4.0)):
        self.cluster, self.clock = cluster, clock
        self.rng = random.Random(f"{seed}/nemesis")
        self.long, self.quiet = long, quiet
        self.nodes = list(cluster.nodes)  # those that are broken and healed; a test may set others
        self.story = []
        self.paused = {}  # node -> since when
        self.pauses = []  # (node, begin, end)

    def say(self, what):
        self.story.append((round(self.clock(), 3), what))

    # ---- the single faults

    def cut(self, senders, receivers):
        """What these send to those is lost."""
        links = self.cluster.links
        for sender, receiver in itertools.product(senders, receivers):
            links.cut(sender, receiver)
        self.say(f"cut {senders} -> {receivers}")

    def part(self, some, others):
        links = self.cluster.links
        for a, b in itertools.product(some, others):
            links.cut(a, b)
            links.cut(b, a)
        self.say(f"part {some} | {others}")

    def isolate(self, k):
        self.part([k], [n for n in self.nodes if n != k])

    def pause(self, k):
        self.paused.setdefault(k, self.clock())
        self.cluster.pause(k)
        self.say(f"pause {k}")

    def kill(self, *which):
        self.cluster.kill(*which)
        self.say(f"kill {list(which)}")

    def heal_links(self):
        self.cluster.links.heal(self.nodes)
        self.say("heal links")

    def heal(self):
        self.heal_links()
        for k in self.nodes:
            self.cluster.resume(k)
            if k in self.paused:
                self.pauses.append((k, self.paused.pop(k), self.clock()))
        down = [k for k in self.nodes if not self.cluster.pid(k)]
        if down:  # together: one alone waits for the others
            with ThreadPoolExecutor(len(down)) as pool:
                list(pool.map(self.cluster.start, down))
            self.say(f"{down} run again")

    # ---- at random

    def fault(self):
        rng, nodes = self.rng, list(self.nodes)
        rng.shuffle(nodes)
        kind = rng.choice(["part", "part", "isolate", "one way", "bridge", "pause", "pause", "kill", "kill", "all at once"])
        if kind == "part":
            few = rng.randrange(1, len(nodes) // 2 + 1)
            self.part(nodes[:few], nodes[few:])
        elif kind == "isolate":
            self.isolate(nodes[0])
        elif kind == "one way":
            self.cut(nodes[:1], nodes[1:rng.randrange(2, len(nodes) + 1)])
        elif kind == "bridge":  # two halves that both still hear one node
            half = len(nodes) // 2
            self.part(nodes[1:half + 1], nodes[half + 1:])
        elif kind == "pause":
            for k in nodes[:rng.choice([1, 1, 2, 3])]:
                self.pause(k)
        elif kind == "kill":
            self.kill(*nodes[:rng.choice([1, 1, 2])])
        else:
            self.kill(*nodes)

    def run(self, seconds=math.inf, enough=lambda: False):
        """Breaks and heals for about that long, or until `enough`; ends healed."""
        end = self.clock() + seconds
        while self.clock() < end and not enough():
            time.sleep(self.rng.uniform(*self.quiet))
            self.fault()
            time.sleep(self.rng.uniform(*self.long))
            if self.rng.random() < 0.4:  # a second one on top of the first
                self.fault()
                time.sleep(self.rng.uniform(*self.long))
            self.heal()

    def told(self):
        return "\n".join(f"{at:8.2f}  {what}" for at, what in self.story)
