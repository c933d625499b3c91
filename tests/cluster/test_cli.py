"""The command line, as people and scripts use it: what it prints, what it changes, and its exit codes."""
import json
import os
import stat
import subprocess
import time

import boto3
import pytest
from botocore.exceptions import ClientError

from local import LocalCluster, status_of, wait_until
from process import BINARY, OwnNode, covey, set_lines

DONE, REFUSED, USAGE, NO_NODE = 0, 1, 2, 3


def expect(done, code, *texts):
    said = done.stdout + done.stderr
    assert done.returncode == code, f"{done.args}: {done.returncode}, {said}"
    for text in texts:
        assert text in said, f"{done.args}: no {text!r} in {said}"
    return done


def parsed(done):
    expect(done, DONE)
    return json.loads(done.stdout)


def make_key(cluster, name, *options):
    made = parsed(cluster.covey(1, "key", "create", "--name", name, "--json", *options))
    return made


def client_of(cluster, key, k=1):
    return boto3.client("s3", endpoint_url=cluster.endpoint(k), aws_access_key_id=key["access_key"],
                        aws_secret_access_key=key["secret_key"], region_name="us-east-1",
                        config=boto3.session.Config(retries={"total_max_attempts": 1}))


def denied(call, code="AccessDenied"):
    with pytest.raises(ClientError) as error:
        call()
    assert error.value.response["Error"]["Code"] in (code, "403"), error.value
    assert status_of(error.value) == 403


def test_version_and_help():
    expect(covey("version"), DONE, "covey ")
    expect(covey("--help"), DONE, "Examples:", "Exit codes:", "status", "bucket")
    expect(covey("key", "create", "--help"), DONE, "Example:", "--name")
    for wrong in [(), ("no-such",), ("key",), ("key", "create"), ("bucket", "create", "b"), ("status", "--no-such"),
                  ("join",), ("node", "remove"), ("key", "import", "--name", "x")]:
        expect(covey(*wrong), USAGE)


def test_init_writes_settings_and_a_secret_once(tmp_path):
    expect(covey("init", "--dir", tmp_path / "a", "--name", "a1", "--zone", "attic"), DONE, "serve")
    config = (tmp_path / "a" / "covey.toml").read_text()
    assert 'name = "a1"' in config and 'zone = "attic"' in config and config.count("#") > 20
    assert stat.S_IMODE(os.stat(tmp_path / "a" / "secret").st_mode) == 0o600
    secret = (tmp_path / "a" / "secret").read_text()
    expect(covey("init", "--dir", tmp_path / "a"), REFUSED, "exists already")
    assert (tmp_path / "a" / "secret").read_text() == secret
    expect(covey("init", "--dir", tmp_path / "b", "--name", "not a name"), USAGE, "covey.toml:", "`name` must be")


@pytest.mark.parametrize("line, said", [
    ('zoen = "a"', ["unknown setting `zoen`", "did you mean `zone`?"]),
    ('frobnicate = 1', ["unknown setting `frobnicate`", "allowed are", "meta_dir", "memory_cap"]),
    ('capacity = "much"', ["`capacity` must be a size of at least"]),
    ("capacity = -5", ["`capacity` must be"]),
    ('memory_cap = "1MiB"', ["`memory_cap` must be a size of at least 64MiB"]),
    ('log_level = "loud"', ['`log_level` must be "debug", "info"']),
    ('gossip_profile = "space"', ['`gossip_profile` must be "lan", "wan" or "edge"']),
    ('s3_listen = "localhost"', ["`s3_listen` must be"]),
    ('rpc_listen = "1.2.3.4:99999"', ["`rpc_listen` must be"]),
    ('seeds = "192.0.2.1:3901"', ["`seeds` must be a list"]),
    ("data_dirs = []", ["`data_dirs` must be a list of 1 to 16"]),
    ("auto_layout = 1", ["`auto_layout` must be true or false"]),
    ('upload_expiry = "1s"', ["`upload_expiry` must be a time of at least an hour"]),
    ('zone = "a" b', []),
    ("zone = ", []),
    ('tls_key = "k.pem"', ["`tls_certificate` and `tls_key` go together"]),
])
def test_a_wrong_setting_is_named_with_file_line_and_what_is_allowed(tmp_path, line, said):
    config = tmp_path / "covey.toml"
    config.write_text('# a comment\nname = "n"\n\n' + line + "\n")
    where = f"{config}:" if "tls_key" in line else f"{config}:4: "
    for command in (["serve"], ["status"]):
        done = expect(covey("--config", config, *command), USAGE, where, *said)
        assert "terminate" not in done.stderr
    both = tmp_path / "both.toml"
    both.write_text('zone = 1\nname = 2\n')
    expect(covey("--config", both, "serve"), USAGE, f"{both}:1: `zone`", f"{both}:2: `name`")


def test_no_settings_and_no_node(tmp_path):
    expect(covey("--config", tmp_path / "none.toml", "status"), USAGE, "cannot read", "covey init")
    expect(covey("init", "--dir", tmp_path, "--name", "x"), DONE)
    for command in (["status"], ["key", "list"], ["bucket", "list"], ["invite"], ["layout", "show"], ["node", "list"]):
        expect(covey("--config", tmp_path / "covey.toml", *command), NO_NODE, "no node answers", "covey serve")


def test_status_says_what_is_wrong_and_what_to_do(cluster):
    expect(cluster.covey(1, "status"), DONE, "healthy: any one of 3 nodes may fail", "node1 *", "zone2", "alive",
           "256 partitions")
    shown = parsed(cluster.covey(2, "status", "--json"))
    assert shown["healthy"] and shown["copies_to_repair"] == 0 and shown["region"] == "us-east-1"
    assert shown["layout"]["copies"] == 3 and not shown["layout"]["changing"]
    assert {node["name"]: node["zone"] for node in shown["nodes"]} == {f"node{k}": f"zone{k}" for k in cluster.nodes}
    assert [node["name"] for node in shown["nodes"] if node["self"]] == ["node2"]
    assert all(node["capacity_bytes"] and node["free_bytes"] and node["address"] and node["version"] and node["member"]
               for node in shown["nodes"])
    cluster.kill(3)
    wait_until("status sees the loss", lambda: cluster.covey(1, "status").returncode == REFUSED)
    expect(cluster.covey(1, "status"), REFUSED, "degraded: 1 of 3 nodes down", "node node3 (zone zone3", "next:",
           "systemctl restart covey", "covey node remove node3")
    assert not json.loads(cluster.covey(1, "status", "--json").stdout)["healthy"]
    expect(cluster.covey(3, "status"), NO_NODE, "no node answers")
    cluster.heal()


def test_status_watch_shows_it_again_and_again(cluster):
    watch = subprocess.Popen([BINARY, "--config", os.path.join(cluster.dir, "node1", "covey.toml"), "status", "--watch"],
                             stdout=subprocess.PIPE, text=True)
    try:
        seen = 0
        while seen < 3:
            line = watch.stdout.readline()
            assert line, "it ended"
            seen += "healthy: any one of 3 nodes may fail" in line
    finally:
        watch.terminate()
        watch.wait()


def test_lists_of_nodes_and_layout(cluster):
    expect(cluster.covey(1, "node", "list"), DONE, "node1", "node2", "node3", "ADDRESS")
    assert {node["name"] for node in parsed(cluster.covey(3, "node", "list", "--json"))} == {"node1", "node2", "node3"}
    expect(cluster.covey(1, "layout", "show"), DONE, "node1", "zone3")
    shown = parsed(cluster.covey(2, "layout", "show", "--json"))["current"]
    assert shown["partitions"] == 256 and [member["partitions"] for member in shown["members"]] == [256] * 3
    assert sum(member["first_in"] for member in shown["members"]) == 256


def test_keys(cluster):
    text = expect(cluster.covey(1, "key", "create", "--name", "by hand"), DONE, "access key", "not shown again").stdout
    fields = dict(line.split(None, 2)[1:] for line in text.splitlines()[:2])
    access, secret = text.split()[2], text.split()[5]
    assert fields["key"] == secret or access.startswith("CV")
    for k in cluster.nodes:
        for shown in (cluster.covey(k, "key", "list"), cluster.covey(k, "key", "list", "--json"),
                      cluster.covey(k, "key", "show", access), cluster.covey(k, "key", "show", access, "--json")):
            expect(shown, DONE, access, "by hand")
            assert secret not in shown.stdout
    key = {"access_key": access, "secret_key": secret}
    client_of(cluster, key, 2).create_bucket(Bucket="by-hand")
    # A second key of the same user owns what the first one made.
    user = parsed(cluster.covey(1, "key", "show", access, "--json"))["user_id"]
    second = make_key(cluster, "by hand", "--user-id", user)
    assert second["access_key"] != access and second["user_id"] == user
    client_of(cluster, second, 3).put_object(Bucket="by-hand", Key="k", Body=b"v")
    expect(cluster.covey(3, "key", "delete", access), DONE, access)
    for k in cluster.nodes:
        wait_until("the deleted key is refused", lambda k=k: refused_key(cluster, key, k))
    client_of(cluster, second).head_object(Bucket="by-hand", Key="k")
    expect(cluster.covey(1, "key", "delete", access), REFUSED, "there is no key")
    expect(cluster.covey(1, "key", "show", "CVNONE"), REFUSED, "there is no key")
    expect(cluster.covey(1, "key", "show", "a/b"), USAGE, "not a valid name")
    assert access not in cluster.covey(2, "key", "list").stdout


def refused_key(cluster, key, k):
    try:
        client_of(cluster, key, k).list_buckets()
        return False
    except ClientError as e:
        return e.response["Error"]["Code"] == "InvalidAccessKeyId"


def test_imported_keys(cluster):
    secret = "s/+cret" * 5
    done = cluster.covey(1, "key", "import", "--access-key", "AKIAOLDOLDOLDOLDOLD1", "--secret-key-stdin", "--name",
                         "old", stdin=secret + "\n")
    expect(done, DONE, "AKIAOLDOLDOLDOLDOLD1")
    assert secret not in done.stdout + done.stderr
    key = {"access_key": "AKIAOLDOLDOLDOLDOLD1", "secret_key": secret}
    wait_until("the key is known everywhere", lambda: all(not refused_key(cluster, key, k) for k in cluster.nodes))
    client_of(cluster, key, 2).list_buckets()
    again = cluster.covey(2, "key", "import", "--access-key", "AKIAOLDOLDOLDOLDOLD1", "--secret-key-stdin", "--name",
                          "other", stdin="another-secret\n")
    expect(again, REFUSED, "exists")
    client_of(cluster, key, 3).list_buckets()
    expect(cluster.covey(1, "key", "import", "--access-key", "AKIAX", "--secret-key-stdin", "--name", "x"), USAGE,
           "standard input")
    expect(cluster.covey(1, "key", "import", "--access-key", "bad/key", "--secret-key-stdin", "--name", "x",
                         stdin="abcdefgh\n"), REFUSED, "access key")


def test_a_key_that_may_not_create_buckets(cluster):
    key = make_key(cluster, "limited", "--no-create-buckets")
    assert key["create_buckets"] is False
    denied(lambda: client_of(cluster, key).create_bucket(Bucket="limited"))
    expect(cluster.covey(1, "bucket", "create", "limited", "--key", key["access_key"]), DONE, "limited")
    client_of(cluster, key, 2).put_object(Bucket="limited", Key="k", Body=b"")


def test_buckets_and_grants(cluster):
    owner, guest = make_key(cluster, "owner"), make_key(cluster, "guest")
    expect(cluster.covey(1, "bucket", "create", "granted", "--key", owner["access_key"]), DONE, "granted: strong, owner owner")
    expect(cluster.covey(2, "bucket", "create", "granted", "--key", owner["access_key"]), REFUSED)
    expect(cluster.covey(1, "bucket", "create", "other", "--key", "CVNONE"), REFUSED, "covey key list")
    expect(cluster.covey(1, "bucket", "create", "Bad_Name", "--key", owner["access_key"]), REFUSED, "name")
    expect(cluster.covey(1, "bucket", "create", "ab", "--key", owner["access_key"]), REFUSED, "3 to 63")
    expect(cluster.covey(1, "bucket", "create", "a/b", "--key", owner["access_key"]), USAGE, "not a valid name")
    mine, theirs = client_of(cluster, owner), client_of(cluster, guest, 2)
    mine.put_object(Bucket="granted", Key="k", Body=b"v")

    def may(read, write, own):
        for call, allowed in [
            (lambda: theirs.get_object(Bucket="granted", Key="k"), read or own),
            (lambda: theirs.head_object(Bucket="granted", Key="k"), read or own),
            (lambda: theirs.list_objects_v2(Bucket="granted"), read or own),
            (lambda: theirs.head_bucket(Bucket="granted"), read or own),
            (lambda: theirs.put_object(Bucket="granted", Key="w", Body=b""), write or own),
            (lambda: theirs.delete_object(Bucket="granted", Key="w"), write or own),
            (lambda: theirs.copy_object(Bucket="granted", Key="c", CopySource="granted/k"), (read and write) or own),
            (lambda: theirs.put_bucket_acl(Bucket="granted", ACL="private"), own),
        ]:
            if allowed:
                call()
            else:
                denied(call)

    def allow(*flags):
        expect(cluster.covey(3, "bucket", "allow", "granted", "--key", guest["access_key"], *flags), DONE)
        wanted = {flag: f"--{flag}" in flags for flag in ("read", "write", "owner")}
        grants = parsed(cluster.covey(1, "bucket", "show", "granted", "--json"))["grants"]
        shown = [g for g in grants if g["user_id"] == guest["user_id"]]
        assert [{flag: g[flag] for flag in wanted} for g in shown] == ([wanted] if flags else [])
        # A node that has the bucket in its cache learns of it soon.
        wait_until("the grant is known", lambda: knows(wanted))

    def knows(wanted):
        try:
            theirs.put_object(Bucket="granted", Key="w", Body=b"")
            return wanted["write"] or wanted["owner"]
        except ClientError:
            return not (wanted["write"] or wanted["owner"])

    may(False, False, False)
    allow("--read")
    wait_until("the grant is known", lambda: theirs.get_object(Bucket="granted", Key="k"))
    may(True, False, False)
    expect(cluster.covey(1, "bucket", "show", "granted"), DONE, "guest", "may read")
    allow("--write")
    wait_until("reading ended", lambda: cannot_read(theirs))
    may(False, True, False)
    allow("--read", "--write")
    wait_until("the grant is known", lambda: theirs.get_object(Bucket="granted", Key="k"))
    may(True, True, False)
    allow("--owner")
    may(False, False, True)
    allow()
    wait_until("reading ended", lambda: cannot_read(theirs))
    may(False, False, False)
    expect(cluster.covey(1, "bucket", "allow", "granted", "--key", "CVNONE", "--read"), REFUSED, "covey key list")
    expect(cluster.covey(1, "bucket", "allow", "no-such-bucket", "--key", guest["access_key"], "--read"), REFUSED,
           "no-such-bucket")

    assert "granted" in cluster.covey(2, "bucket", "list").stdout
    assert "granted" in [b["name"] for b in parsed(cluster.covey(3, "bucket", "list", "--json"))]
    expect(cluster.covey(1, "bucket", "show", "no-such-bucket"), REFUSED, "no-such-bucket")
    expect(cluster.covey(1, "bucket", "delete", "granted"), REFUSED, "bucket granted: ", "empty")
    for key in ("k", "w", "c"):
        mine.delete_object(Bucket="granted", Key=key)
    expect(cluster.covey(1, "bucket", "delete", "granted"), DONE, "deleted granted")
    expect(cluster.covey(2, "bucket", "delete", "granted"), REFUSED)
    assert "granted" not in cluster.covey(2, "bucket", "list").stdout


def cannot_read(client):
    try:
        client.get_object(Bucket="granted", Key="k")
        return False
    except ClientError:
        return True


def healthy_with(node, members):
    shown = json.loads(node.covey("status", "--json").stdout)
    return shown["healthy"] and sum(n["member"] for n in shown["nodes"]) == members


def test_from_one_node_to_three_and_back(tmp_path):
    """init, invite, join; then remove, while the cluster is empty."""
    with OwnNode(tmp_path / "1", name="first", zone='"z1"') as first:
        first.start()
        expect(first.covey("status"), DONE, "healthy: one node", "covey invite")
        token = parsed(first.covey("invite", "--json"))["token"]
        expect(first.covey("invite"), DONE, "covey join covey2-", "keep it to yourself", "within 1h")
        for wrong in (token[:-4], token + "AAAA", "covey1-", "covey2-", token.replace("covey2-", ""), "x" * 10_000):
            expect(covey("join", wrong, "--dir", tmp_path / "no"), USAGE, "covey invite")
        assert not (tmp_path / "no").exists()
        with OwnNode(tmp_path / "2", made=("join", token), name="second", zone='"z2"') as second, \
                OwnNode(tmp_path / "3", made=("join", token), name="third", zone='"z3"') as third:
            assert stat.S_IMODE(os.stat(tmp_path / "2" / "secret").st_mode) == 0o600
            second.start()
            wait_until("two nodes form a cluster", lambda: healthy_with(first, 2))
            expect(first.covey("status"), DONE, "healthy", "1 more node")
            third.start()
            wait_until("three nodes form a cluster", lambda: healthy_with(third, 3))
            expect(second.covey("node", "remove", "nobody"), REFUSED, "covey node list")
            assert third.stop() == 0
            expect(first.covey("node", "remove", "third"), DONE, "third was removed")
            wait_until("two members are left", lambda: healthy_with(first, 2))
            second.signal(9)
            second.process.wait()
            expect(first.covey("node", "remove", "first"), REFUSED)
