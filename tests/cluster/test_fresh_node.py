"""A node that is new, wiped, back after a long time or taken out answers nothing from tables that it has not brought up to
date: neither "no such access key" nor "no such bucket", and no key that was removed meanwhile."""
import collections
import threading

import pytest
from botocore.exceptions import ClientError

from local import UNKNOWN_ERRORS, LocalCluster, status_of, wait_until


@pytest.fixture
def started(request):
    """Starts a cluster of a test of its own and removes it."""
    made = []

    def start(nodes, name):
        made.append(LocalCluster(name, nodes=nodes))
        request.module.running_cluster = made[-1]
        return made[-1].up()

    yield start
    for cluster in made:
        cluster.down()


class Hammer:
    """Reads and writes through one node, by several users, each in a bucket of its own, until it is left."""

    def __init__(self, cluster, node, users):
        self.answers, self.wrong = collections.Counter(), []
        self.stopping = threading.Event()
        self.threads = []
        for name, (access_key, secret_key) in users.items():
            client = lambda k: cluster.client_of(access_key, secret_key, k, timeout=5)  # noqa: E731, B023
            bucket = f"of-{name}"
            wait_until("a bucket can be made", lambda: client(1).create_bucket(Bucket=bucket))
            client(1).put_object(Bucket=bucket, Key="there", Body=b"body")
            through = client(node)
            calls = {"GET": lambda c=through, b=bucket: c.get_object(Bucket=b, Key="there")["Body"].read(),
                     "HEAD": lambda c=through, b=bucket: c.head_object(Bucket=b, Key="there"),
                     "PUT": lambda c=through, b=bucket: c.put_object(Bucket=b, Key="more", Body=b"more"),
                     "HEAD bucket": lambda c=through, b=bucket: c.head_bucket(Bucket=b),
                     "LIST buckets": lambda c=through: c.list_buckets()}
            self.threads += [threading.Thread(target=self.strike, args=(f"{name} {what}", call), daemon=True)
                             for what, call in calls.items()]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def strike(self, what, call):
        while not self.stopping.is_set():
            try:
                call()
                self.answers["success"] += 1
                continue
            except ClientError as e:
                self.answers[status_of(e)] += 1
                if status_of(e) != 503:
                    self.wrong.append(f"{what}: {status_of(e)} {e}")
            except UNKNOWN_ERRORS as e:
                self.answers[type(e).__name__] += 1
            self.stopping.wait(0.001)

    def check(self):
        print(dict(self.answers))
        assert not self.wrong, f"{len(self.wrong)} false answers, the first: " + "\n".join(self.wrong[:5])
        assert self.answers["success"] > 0


def both(cluster):
    return {"main": (cluster.env["AWS_ACCESS_KEY_ID"], cluster.env["AWS_SECRET_ACCESS_KEY"]),
            "alt": (cluster.env["COVEY_ALT_ACCESS_KEY_ID"], cluster.env["COVEY_ALT_SECRET_ACCESS_KEY"])}


def wait_member(cluster, name, other_than=None):
    wait_until(f"{name} is a member", seconds=300, check=lambda: any(
        n["name"] == name and n["member"] and n["id"] != other_than for n in cluster.status(1)["nodes"]))
    wait_until("nothing moves", seconds=300, check=lambda: not cluster.status(1)["layout"]["changing"])


def add_key(cluster, through, name):
    access_key, secret = f"CVTEST{name.upper()}", f"secret-of-{name}"
    done = cluster.covey(through, "key", "import", "--access-key", access_key, "--secret-key-stdin", "--name", name,
                         stdin=secret)
    assert done.returncode == 0, done.stdout + done.stderr
    return access_key, secret


def test_a_wiped_node_knows_every_user_before_it_answers(started):
    cluster = started(3, "fresh-wiped")
    for turn in range(3):
        old = {n["name"]: n["id"] for n in cluster.status(1)["nodes"]}["node3"]
        cluster.wipe(3)
        with Hammer(cluster, 3, both(cluster)) as hammer:
            cluster.start(3)
            wait_member(cluster, "node3", other_than=old)
        hammer.check()


def test_an_added_node_knows_every_user_before_it_answers(started):
    cluster = started(1, "fresh-added")
    for k in (2, 3):
        with Hammer(cluster, k, both(cluster)) as hammer:
            cluster.add()
            wait_member(cluster, f"node{k}")
        hammer.check()


def test_a_node_that_was_away_knows_what_changed_before_it_answers(started):
    cluster = started(3, "fresh-back")
    removed = add_key(cluster, 1, "removed")
    client = cluster.client_of(*removed, 1)
    wait_until("a bucket can be made", lambda: client.create_bucket(Bucket="of-removed"))
    cluster.client_of(*removed, 3).head_bucket(Bucket="of-removed")
    cluster.kill(3)
    done = cluster.covey(1, "key", "delete", removed[0])
    assert done.returncode == 0, done.stdout + done.stderr
    users = {**both(cluster), "later": add_key(cluster, 2, "later")}
    stale = cluster.client_of(*removed, 3, timeout=5)
    seen = collections.Counter()
    with Hammer(cluster, 3, users) as hammer:
        striker = Hammer.__new__(Hammer)
        striker.answers, striker.wrong, striker.stopping = seen, [], hammer.stopping
        thread = threading.Thread(target=striker.strike, args=("removed", lambda: stale.list_buckets()), daemon=True)
        thread.start()
        hammer.threads.append(thread)
        cluster.start(3)
        wait_until("the removed key is refused", lambda: seen[403] > 20)
        cluster.wait_healthy()
    hammer.check()
    assert seen["success"] == 0, f"a removed key was taken: {dict(seen)}"


def test_a_node_without_the_others_denies_nobody(started):
    cluster = started(3, "fresh-alone")
    users = both(cluster)
    cluster.kill_all()
    cluster.tool("start", "3", "--no-wait")
    for name, (access_key, secret) in {**users, "nobody": ("CVNOBODYKNOWSTHIS", "secret-of-nobody")}.items():
        client = cluster.client_of(access_key, secret, 3, timeout=20)

        def answer(client=client):
            try:
                return client.list_buckets() and 200
            except ClientError as e:
                return status_of(e)
        assert wait_until("it answers", answer) == 503, name
    cluster.heal()
    stranger = cluster.client_of("CVNOBODYKNOWSTHIS", "secret-of-nobody", 3)
    with pytest.raises(ClientError) as refused:
        stranger.list_buckets()
    assert refused.value.response["Error"]["Code"] == "InvalidAccessKeyId"


def test_a_removed_node_learns_of_keys(started):
    cluster = started(4, "fresh-removed")
    done = cluster.covey(1, "node", "remove", "node4", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until("nothing moves", seconds=300, check=lambda: not cluster.status(1)["layout"]["changing"])
    later = add_key(cluster, 1, "later")
    with Hammer(cluster, 4, {"later": later, **both(cluster)}) as hammer:
        wait_until("it answers", lambda: hammer.answers["success"] > 50)
    hammer.check()
    done = cluster.covey(1, "key", "delete", later[0])
    assert done.returncode == 0, done.stdout + done.stderr
    client = cluster.client_of(*later, 4)

    def refused():
        try:
            return not client.list_buckets()
        except ClientError as e:
            return status_of(e) == 403
    wait_until("the removed key is refused", refused)
