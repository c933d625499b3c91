"""What goes wrong in a cluster of namespaces: links are cut, nodes isolated, paused, killed; then all is healed; and again."""
import collections
import itertools
import math
import random
import time


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
        if down := [k for k in self.nodes if not self.cluster.pid(k)]:
            self.cluster.start_together(down)
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


class Killer:
    """Rounds of SIGKILLs, of one node, two or all at once, at random moments, also of nodes that have just been started."""

    AGAIN = 0.6  # how likely another one follows before the nodes that were started serve
    AGAIN_MAX = 5
    DOWN_S = (0.0, 0.8)  # mostly: too short for gossip to notice
    LONG_DOWN_S, LONG_DOWN = (2.0, 6.0), 0.1
    RECOVERY_S = 1.2  # a start takes about as long

    def __init__(self, cluster, seed, clock):
        self.cluster, self.clock = cluster, clock
        self.rng = random.Random(f"{seed}/killer")
        self.story = []
        self.counts = collections.Counter()
        self.down = []

    @property
    def kills(self):
        """Processes that were killed."""
        return sum(n * times for n, times in self.counts.items() if isinstance(n, int))

    def round(self):
        """Ends with all nodes serving."""
        rng = self.rng
        self.kill()
        for _ in range(self.AGAIN_MAX):
            if rng.random() > self.AGAIN:
                break
            time.sleep(rng.uniform(*self.DOWN_S))
            started = self.start(wait=False)
            time.sleep(rng.uniform(0, self.RECOVERY_S))
            self.kill(just_started=started)
        time.sleep(rng.uniform(*(self.LONG_DOWN_S if rng.random() < self.LONG_DOWN else self.DOWN_S)))
        self.start(wait=True)
        self.story.append((round(self.clock(), 3), "all serve"))

    def kill(self, just_started=()):
        nodes = list(self.cluster.nodes)
        which = self.rng.sample(nodes, self.rng.choices(range(1, len(nodes) + 1), [4, 2, 2][:len(nodes)])[0])
        self.check_alive()
        self.cluster.kill(*which)
        self.down = which
        self.counts[len(which)] += 1
        self.counts["recovering"] += len(set(which) & set(just_started))
        self.story.append((round(self.clock(), 3), f"kill {sorted(which)}"))

    def start(self, wait):
        self.check_alive()
        started, self.down = self.down, []
        # Those that were started before may not serve yet.
        self.cluster.start_together(self.cluster.nodes if wait else started, wait)
        return started

    def check_alive(self):
        died = [k for k in self.cluster.nodes if k not in self.down and not self.cluster.pid(k)]
        assert not died, f"nodes {died} ended by themselves"

    def told(self):
        together = ", ".join(f"{times} x {n} at once" for n, times in sorted(
            (n, times) for n, times in self.counts.items() if isinstance(n, int)))
        return f"{self.kills} SIGKILLs ({together}), {self.counts['recovering']} of them within {self.RECOVERY_S} s of a start"
