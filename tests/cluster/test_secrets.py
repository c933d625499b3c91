"""The cluster's secret is rotated while everything goes on; who has only the old one is out; invitations end."""
import os
import random
import shutil
import socket
import ssl
import stat
import threading
import time

import boto3
import botocore.config
import pytest

from local import LONG, LocalCluster, running, wait_until
from process import OwnNode, covey, set_lines


@pytest.fixture(scope="module")
def file_cluster(request):
    """Its joiners run on ports of their own."""
    yield from running(request, LocalCluster("secrets"))


def secret_file(cluster, k):
    return os.path.join(cluster.dir, f"node{k}", "cluster.secret")


def secret(cluster, k):
    with open(secret_file(cluster, k)) as f:
        return f.read()


def settled(cluster, k, not_this=None):
    """Node K holds one secret, and not this one."""
    text = secret(cluster, k)
    return len(text.split()) == 1 and text != not_this


def wait_rotated(cluster, before):
    for k in cluster.nodes:
        wait_until(f"node {k} has only the new secret", lambda k=k: settled(cluster, k, before))
    secrets = {secret(cluster, k) for k in cluster.nodes}
    assert len(secrets) == 1, "the nodes have different secrets"
    assert all(stat.S_IMODE(os.stat(secret_file(cluster, k)).st_mode) == 0o600 for k in cluster.nodes)
    cluster.wait_healthy()
    return secrets.pop()


class Work:
    """Clients that write and read all the time and, as SDKs do, try again; a request that fails even so is kept."""

    def __init__(self, cluster, bucket, clients=6):
        self.bucket, self.done, self.failed, self.ending = bucket, 0, [], threading.Event()
        self.written = {}
        options = botocore.config.Config(retries={"mode": "standard", "total_max_attempts": 8}, connect_timeout=20, read_timeout=20,
                                         s3={"addressing_style": "path"})
        self.clients = [boto3.client(
            "s3", endpoint_url=cluster.endpoint(1 + n % len(cluster.nodes)), config=options,
            aws_access_key_id=cluster.env["AWS_ACCESS_KEY_ID"], region_name=cluster.env["AWS_REGION"],
            aws_secret_access_key=cluster.env["AWS_SECRET_ACCESS_KEY"]) for n in range(clients)]

    def work(self, n):
        rng, client = random.Random(n), self.clients[n]
        turn = 0
        while not self.ending.is_set():
            turn += 1
            key, body = f"{n}/{turn}", rng.randbytes(rng.choice([10, 3000, 200_000]))
            try:
                client.put_object(Bucket=self.bucket, Key=key, Body=body)
                self.written[key] = body
                back = rng.choice([k for k in list(self.written) if k.startswith(f"{n}/")])
                assert client.get_object(Bucket=self.bucket, Key=back)["Body"].read() == self.written[back]
                self.done += 1
            except Exception as e:  # pylint: disable=broad-except
                self.failed.append(f"{key}: {e!r}")

    def __enter__(self):
        self.threads = [threading.Thread(target=self.work, args=(n,), daemon=True) for n in range(len(self.clients))]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def wait_for(self, more):
        target = self.done + more
        wait_until(f"{more} more requests; failed: {self.failed[:3]}", lambda: self.failed or self.done >= target)


def joiner_with(folder, name, text, cluster):
    """A node that a thief of that secret sets up."""
    node = OwnNode(folder, made=("init",), name=name, seeds=f'["127.0.0.1:{cluster.port(1, "gossip")}"]', zone='"nowhere"')
    with open(os.path.join(node.dir, "secret"), "w") as f:
        f.write(text)
    return node


def test_rotation_under_load(cluster, bucket, tmp_path):
    for turn in range(LONG):
        before = secret(cluster, 1)
        with Work(cluster, bucket) as work:
            work.wait_for(50)
            began = time.monotonic()
            done = cluster.covey(1 + turn % 3, "secret", "rotate", timeout=120)
            took = time.monotonic() - began
            assert done.returncode == 0, done.stdout + done.stderr
            after = wait_rotated(cluster, before)
            work.wait_for(50)
        print(f"rotated in {took:.1f} s; {work.done} requests under way, {len(work.failed)} failed after retries")
        assert work.failed == [], work.failed[:5]
        for k in cluster.nodes:
            for text in (before, after):
                assert text.split()[0] not in cluster.log(k) + done.stdout + done.stderr
    # A key made before the first rotation is sealed anew: it works after a restart of all nodes.
    cluster.kill_all()
    cluster.heal()
    client = cluster.client(2)
    wait_until("the key works", lambda: client.list_objects_v2(Bucket=bucket)["KeyCount"])

    with joiner_with(tmp_path / "thief", "thief", before, cluster) as thief:
        thief.launch()
        wait_until("the old secret is refused", lambda: "refused gossip" in cluster.log(1))
        time.sleep(2)
        assert "thief" not in [node["name"] for k in cluster.nodes for node in cluster.status(k)["nodes"]]
        assert secret(cluster, 1).split()[0] not in open(os.path.join(thief.dir, "secret")).read()


def test_a_member_that_is_away_is_waited_for(cluster, bucket):
    before = secret(cluster, 1)
    cluster.kill(3)
    wait_until("node 3 is known to be down", lambda: not cluster.status(1).get("healthy"))
    with Work(cluster, bucket, clients=2) as work:  # through nodes 1 and 2
        done = cluster.covey(2, "secret", "rotate")
        assert done.returncode == 1 and "waiting for node3" in done.stdout and "--force" in done.stderr, done
        wait_until("status tells", lambda: [
            text for text in cluster.status(1)["problems"] if "secret rotation: waiting for node3" in text])
        refused = cluster.covey(1, "invite")
        assert refused.returncode == 1 and "being rotated" in refused.stderr
        cluster.kill(1)  # what it knows of the rotation is on its disk
        cluster.start(1)
        work.wait_for(20)
        assert not settled(cluster, 1) and not settled(cluster, 2) and settled(cluster, 3)
        cluster.start(3)
        wait_rotated(cluster, before)
    assert [text for text in work.failed if text.startswith("1/")] == [], work.failed[:5]  # through node 2
    assert cluster.covey(3, "secret", "status").returncode == 0


def test_kills_while_it_is_rotated(cluster, bucket):
    rng = random.Random(4)
    for turn in range(3 * LONG):
        before = secret(cluster, 1)
        by, victims = rng.choice(cluster.nodes), rng.sample(list(cluster.nodes), rng.choice([1, 1, 2, 3]))
        assert cluster.covey(by, "secret", "rotate", "--no-wait").returncode == 0
        time.sleep(rng.random() * 1.5)
        cluster.kill(*victims)
        held = [len(secret(cluster, k).split()) for k in cluster.nodes]
        for k in victims:
            cluster.start(k)
        wait_rotated(cluster, before)
        print(f"turn {turn}: nodes {victims} killed, words in the secret files {held}")
    client = cluster.client(1)
    client.put_object(Bucket=bucket, Key="after", Body=b"all that")
    assert client.get_object(Bucket=bucket, Key="after")["Body"].read() == b"all that"


def test_two_at_the_same_time_become_one(cluster):
    before = secret(cluster, 1)
    both = [threading.Thread(target=cluster.covey, args=(k, "secret", "rotate", "--no-wait")) for k in (1, 2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    wait_rotated(cluster, before)


def test_force_goes_on_without_a_member_that_gets_the_secret_by_hand(cluster):
    before = secret(cluster, 1)
    cluster.kill(3)
    wait_until("node 3 is known to be down",
               lambda: all(node["state"] == "dead" for node in cluster.status(1)["nodes"] if node["name"] == "node3"))
    done = cluster.covey(1, "secret", "rotate", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    for k in (1, 2):
        wait_until(f"node {k} has the new one", lambda k=k: settled(cluster, k, before))
    cluster.start(3)  # serves nothing yet: it has the old one
    wait_until("its log says what to do", lambda: "needs a copy of the new" in cluster.log(3) or "needs a copy of the new" in cluster.log(1))
    assert not cluster.status(1)["healthy"]
    cluster.kill(3)
    shutil.copy(secret_file(cluster, 1), secret_file(cluster, 3))
    cluster.start(3)
    wait_rotated(cluster, before)


def test_a_member_that_was_told_before_it_went_needs_no_hand(cluster):
    """Staged, then down while the others finish by force: it learns from gossip that the new one is in use."""
    before = secret(cluster, 1)
    cluster.kill(2)
    wait_until("node 2 is known to be down",
               lambda: all(node["state"] == "dead" for node in cluster.status(1)["nodes"] if node["name"] == "node2"))
    assert cluster.covey(1, "secret", "rotate", "--no-wait").returncode == 0
    wait_until("node 3 is told", lambda: not settled(cluster, 3))
    cluster.kill(3)
    cluster.start(2)
    wait_until("node 2 is told", lambda: not settled(cluster, 2))
    wait_until("node 3 is known to be down",
               lambda: all(node["state"] == "dead" for node in cluster.status(1)["nodes"] if node["name"] == "node3"))
    assert cluster.covey(1, "secret", "rotate", "--force", timeout=120).returncode == 0
    cluster.start(3)
    wait_rotated(cluster, before)


def test_invitations(cluster, tmp_path):
    def invite(*options):
        done = cluster.covey(1, "invite", *options, "--json")
        assert done.returncode == 0, done.stderr
        return done.stdout.split('"token":"')[1].split('"')[0]

    def join(token, name):
        return covey("join", token, "--dir", tmp_path / name, "--name", name)

    def refused(token, name, *texts):
        done = join(token, name)
        assert done.returncode != 0 and not os.path.exists(tmp_path / name / "secret"), done
        assert all(text in done.stderr for text in texts), done.stderr

    good, short = invite(), invite("--expires", "1s")
    assert secret(cluster, 1).split()[0] not in good
    for wrong in ("0s", "soon", "90d"):
        assert cluster.covey(1, "invite", "--expires", wrong).returncode in (1, 2)
    refused(good[:-9] + "AAAAAAAAA", "tampered", "copy the token")
    time.sleep(2.1)
    refused(short, "expired", "has expired", "covey invite")
    done = join(good, "welcome")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "welcome" / "secret") as f:
        assert f.read() == secret(cluster, 1)
    before = secret(cluster, 1)
    assert cluster.covey(1, "secret", "rotate", timeout=120).returncode == 0
    wait_rotated(cluster, before)
    refused(good, "late", "rotated since", "covey invite")
    assert join(invite(), "fresh").returncode == 0
    cluster.wait_healthy()


def test_a_new_node_joins_after_it(tmp_path):
    with OwnNode(tmp_path / "1", name="first", zone='"z1"') as first:
        first.start()
        key = first.new_key("someone")
        done = first.covey("secret", "rotate")
        assert done.returncode == 0, done.stderr  # alone: at once
        token = first.covey("invite").stdout.split("covey join ")[1].split()[0]
        with OwnNode(tmp_path / "2", made=("join", token), name="second", zone='"z2"') as second:
            second.start()
            wait_until("both are members", lambda: first.covey("status").stdout.count("alive") == 2
                       and "no data yet" not in first.covey("status").stdout)
            second.client(key).create_bucket(Bucket="there")
            assert first.client(key).list_buckets()["Buckets"][0]["Name"] == "there"


def answers(port, data, wrap=False):
    """What the rpc port says to that, b"" when it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        try:
            s = plain
            if wrap:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                context.set_alpn_protocols(["h2"])
                s = context.wrap_socket(plain)
            s.sendall(data)
            return s.recv(4096)
        except (ssl.SSLError, ConnectionError) as e:
            return b"" if not isinstance(e, socket.timeout) else b"timeout"


HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def test_nobody_speaks_plain_or_without_a_certificate(cluster):
    port = cluster.port(1, "rpc")
    for n in range(20 * LONG):
        said = answers(port, HTTP2)
        assert b"\0\0\0\4" not in said and not said.startswith(b"HTTP"), said  # at most a TLS alert
        assert len(said) == 0 or said[0] == 21, said
        assert answers(port, HTTP2, wrap=True) == b"", "a client without a certificate was let in"
    cluster.wait_healthy()


def test_captured_gossip_is_refused(cluster):
    """Every datagram between the nodes, sent again: at once, and after the secret was rotated."""
    try:
        sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    except (PermissionError, AttributeError):
        pytest.skip("capturing takes root")
    ports = {cluster.port(k, "gossip"): k for k in cluster.nodes}
    captured = []
    with sniffer:
        sniffer.bind(("lo", 0))
        sniffer.settimeout(30)
        while len(captured) < 40:
            packet = sniffer.recv(65536)
            header = (packet[0] & 15) * 4
            to = int.from_bytes(packet[header + 2:header + 4], "big")
            if packet[9] == 17 and to in ports and packet[header + 8:] not in [data for _, data in captured]:
                captured.append((to, packet[header + 8:]))

    def replay():
        before = {k: cluster.metrics(k)["gossip_refused_datagrams"] for k in cluster.nodes}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for to, data in captured:
                udp.sendto(data, ("127.0.0.1", to))
                time.sleep(0.01)
        wait_until("all are refused", lambda: sum(
            cluster.metrics(k)["gossip_refused_datagrams"] - before[k] for k in cluster.nodes) >= len(captured))

    replay()
    before = secret(cluster, 1)
    assert cluster.covey(1, "secret", "rotate", timeout=120).returncode == 0
    wait_rotated(cluster, before)
    replay()
    cluster.wait_healthy()
