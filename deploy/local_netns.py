"""The network of a local cluster whose nodes each have a network namespace of their own, and the cutting of its links.

Every node's `eth0` is a port of one bridge, which has a namespace of its own, so that no firewall of this machine meddles; one more
port of it is an interface of the root namespace, where clients are. A link is cut by giving the sender a wrong hardware address of the
other node: frames leave and no one takes them, without any error, as on a dead link. It needs nothing but iproute2, and each
direction is cut by itself. A link of a given speed is a token bucket at both ends of a node's cable.
"""
import fcntl
import hashlib
import os
import shutil
import subprocess

NOBODY = "02:00:00:00:de:ad"  # the hardware address that no port has
OUTSIDE = 254                 # the root namespace's address on each bridge
NETWORKS = [f"198.{second}.{third}" for second in (18, 19) for third in range(256)]  # RFC 2544: in no one's real network
LOCK = "/run/covey-netns.lock"


# Of a throttled link: what may leave at once (a segment as the kernel hands it over must fit), and how long what waits may wait,
# about what the buffers of a small switch hold.
BURST = "128kb"
QUEUE = "10ms"


class NetnsError(Exception):
    pass


def ip(*args, check=True):
    done = subprocess.run(["ip", *args], text=True, capture_output=True, check=False)
    if check and done.returncode != 0:
        raise NetnsError(f"ip {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


def tc(*args, check=True):
    done = subprocess.run(["tc", *args], text=True, capture_output=True, check=False)
    if check and done.returncode != 0:
        raise NetnsError(f"tc {' '.join(args)}: {done.stderr.strip()}")


def missing():
    """Why no namespace can be made here; empty when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root: run this with sudo"
    for tool, package in (("ip", "iproute2"), ("nsenter", "util-linux")):
        if not shutil.which(tool):
            return f"network namespaces need the command {tool}: apt-get install {package}"
    name = f"covey-try-{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("-n", name, "link", "add", "try", "type", "bridge")
        ip("-n", name, "link", "add", "try0", "type", "veth", "peer", "name", "try1")
    except NetnsError as e:
        return f"network namespaces cannot be made here ({e}): a container needs CAP_SYS_ADMIN and CAP_NET_ADMIN"
    finally:
        ip("netns", "del", name, check=False)
    return ""


class Netns:
    def __init__(self, directory, network):
        self.tag = hashlib.sha256(os.path.abspath(directory).encode()).hexdigest()[:8]
        self.network = network
        self.hub = f"covey-{self.tag}-hub"
        self.outside = f"cv{self.tag}"

    def address(self, k):
        return f"{self.network}.{k}"

    def name(self, k):
        return f"covey-{self.tag}-{k}"

    def entering(self, k):
        """The command that runs another one in node K's namespace, in the same process."""
        return ["nsenter", f"--net=/run/netns/{self.name(k)}"]

    def present(self):
        """The namespaces of this cluster that there are."""
        found = {line.split()[0] for line in ip("netns", "list").splitlines() if line}
        return {name for name in found if name.startswith(f"covey-{self.tag}-")}

    def make(self, nodes):
        """What is missing of the bridge and of the nodes' namespaces. Sets `network` where none was chosen."""
        there = self.present()
        if self.hub not in there:
            self.make_hub()
        for k in nodes:
            if self.name(k) not in there:
                self.make_node(k)

    def make_hub(self):
        ip("link", "del", self.outside, check=False)  # of a run that was cut short
        with open(LOCK, "w") as lock:
            # The address below is what keeps others from the network that is chosen here.
            fcntl.flock(lock, fcntl.LOCK_EX)
            taken = ip("-4", "-o", "address") + ip("-4", "route", "show", "table", "all")
            if not self.network:
                first = int(self.tag, 16) % len(NETWORKS)
                free = [n for n in NETWORKS[first:] + NETWORKS[:first] if f" {n}." not in f" {taken}"]
                if not free:
                    raise NetnsError("every network of 198.18.0.0/15 is in use: stop another cluster")
                self.network = free[0]
            elif f" {self.network}." in f" {taken}":
                raise NetnsError(f"the network {self.network}.0/24 of this cluster is in use: stop the other cluster first")
            ip("netns", "add", self.hub)
            ip("-n", self.hub, "link", "add", "bridge", "type", "bridge")
            ip("-n", self.hub, "link", "set", "bridge", "up")
            ip("link", "add", self.outside, "type", "veth", "peer", "name", "outside", "netns", self.hub)
            ip("-n", self.hub, "link", "set", "outside", "master", "bridge", "up")
            ip("address", "add", f"{self.network}.{OUTSIDE}/24", "dev", self.outside)
            ip("link", "set", self.outside, "up")

    def make_node(self, k):
        name = self.name(k)
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"node{k}", "netns", self.hub)
        ip("-n", self.hub, "link", "set", f"node{k}", "master", "bridge", "up")
        ip("-n", name, "address", "add", f"{self.address(k)}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")

    def remove(self):
        """Everything. The nodes have stopped: a process keeps its namespace alive."""
        ip("link", "del", self.outside, check=False)
        for name in self.present():
            ip("netns", "del", name)

    def throttle(self, nodes, mbit):
        """Each node's link carries MBIT million bits a second in each direction until heal()."""
        for namespace, device in self.ends(nodes):
            tc("-n", namespace, "qdisc", "replace", "dev", device, "root", "tbf", "rate", f"{mbit}mbit",
               "burst", BURST, "latency", QUEUE)

    def ends(self, nodes):
        """Who sends what each node sends, and what it receives."""
        return [end for k in nodes for end in ((self.name(k), "eth0"), (self.hub, f"node{k}"))]

    def cut(self, sender, receiver):
        """Packets from SENDER to RECEIVER are lost until heal()."""
        ip("-n", self.name(sender), "neigh", "replace", self.address(receiver), "lladdr", NOBODY, "dev", "eth0",
           "nud", "permanent")

    def heal(self, nodes):
        for k in nodes:
            ip("-n", self.name(k), "neigh", "flush", "dev", "eth0", "nud", "permanent")
        for namespace, device in self.ends(nodes):
            tc("-n", namespace, "qdisc", "del", "dev", device, "root", check=False)  # there may be none

    def cuts(self, nodes):
        """The pairs (sender, receiver) whose packets are lost."""
        number = {self.address(k): k for k in nodes}
        lost = []
        for k in nodes:
            for line in ip("-n", self.name(k), "neigh", "show", "dev", "eth0", "nud", "permanent").splitlines():
                lost.append((k, number[line.split()[0]]))
        return sorted(lost)
