"""Available buckets on real processes: a node that is alone takes writes, and what two sides wrote is merged."""
import json

import pytest
from botocore.exceptions import ClientError

from local import status_of, wait_until
from test_layout import wait_settled

BIG = bytes(range(251)) * 12_000  # three blocks


def make_available(client, name):
    def add(request, **_):
        request.headers["x-covey-consistency"] = "available"
    client.meta.events.register("before-sign.s3.CreateBucket", add)
    try:
        client.create_bucket(Bucket=name)
    finally:
        client.meta.events.unregister("before-sign.s3.CreateBucket", add)


@pytest.fixture
def box(cluster, bucket):
    name = f"available-{bucket}"
    wait_until("an available bucket can be made", lambda: make_available(cluster.client(1), name) or True)
    return name


def read(client, box, key, **options):
    return client.get_object(Bucket=box, Key=key, **options)["Body"].read()


def versions(client, box, key):
    found = client.list_object_versions(Bucket=box, Prefix=key)
    return [(v["VersionId"], v["IsLatest"]) for v in found.get("Versions", []) if v["Key"] == key]


def node(cluster, name):
    return next((one for one in cluster.status(1).get("nodes", []) if one["name"] == name and one["state"] == "alive"), {})


def alone(cluster, k):
    """Only node K runs, and it serves."""
    cluster.kill(*[other for other in cluster.nodes if other != k])


def test_one_of_three_serves_alone(cluster, box, bucket):
    everyone = cluster.clients()
    for n in range(6):
        everyone[n % 3].put_object(Bucket=box, Key=f"before-{n}", Body=BIG if n == 0 else b"before")
    alone(cluster, 1)
    client = cluster.client(1)
    with pytest.raises(ClientError) as refused:
        client.put_object(Bucket=bucket, Key="k", Body=b"")
    assert status_of(refused.value) == 503
    for n in range(20):
        client.put_object(Bucket=box, Key=f"alone-{n}", Body=f"alone {n}".encode())
    client.put_object(Bucket=box, Key="alone-big", Body=BIG)
    upload = client.create_multipart_upload(Bucket=box, Key="alone-parts")["UploadId"]
    etag = client.upload_part(Bucket=box, Key="alone-parts", UploadId=upload, PartNumber=1, Body=BIG)["ETag"]
    client.complete_multipart_upload(Bucket=box, Key="alone-parts", UploadId=upload,
                                     MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    client.delete_object(Bucket=box, Key="before-5")
    assert read(client, box, "before-0") == BIG and read(client, box, "alone-7") == b"alone 7"
    assert read(client, box, "alone-parts") == BIG
    expected = sorted([f"before-{n}" for n in range(5)] + [f"alone-{n}" for n in range(20)] + ["alone-big", "alone-parts"])
    assert [e["Key"] for e in client.list_objects_v2(Bucket=box)["Contents"]] == expected
    cluster.heal()
    for other in cluster.clients():
        wait_until("all agree", lambda other=other: [
            e["Key"] for e in other.list_objects_v2(Bucket=box).get("Contents", [])] == expected)
    # What one node took alone is soon where the others can serve it without that node.
    wait_until("copies are made", lambda: all(node["copies_owed"] == 0 for node in cluster.status(2)["nodes"]))
    cluster.kill(1)
    for k in (2, 3):
        other = cluster.client(k)
        wait_until("it is read without node 1", lambda other=other: read(other, box, "alone-3") == b"alone 3")
        assert read(other, box, "alone-big") == BIG and read(other, box, "alone-parts") == BIG


def test_both_sides_write_one_key(cluster, box):
    everyone = cluster.clients()
    everyone[0].put_object(Bucket=box, Key="k", Body=b"first")
    cluster.kill(1)
    theirs = wait_until("the majority takes a write", lambda: everyone[1].put_object(Bucket=box, Key="k", Body=b"theirs"))
    everyone[2].put_object(Bucket=box, Key="only-theirs", Body=BIG)
    cluster.kill(2, 3)
    cluster.start(1)
    ours = wait_until("the other side takes one", lambda: everyone[0].put_object(Bucket=box, Key="k", Body=b"ours"))
    assert read(everyone[0], box, "k") == b"ours"
    everyone[0].put_object(Bucket=box, Key="only-ours", Body=BIG)
    cluster.heal()
    want = [(ours["VersionId"], True), (theirs["VersionId"], False)]
    for client in everyone:
        wait_until("all agree on both versions", lambda client=client: versions(client, box, "k") == want)
        assert read(client, box, "k") == b"ours"
        assert read(client, box, "k", VersionId=theirs["VersionId"]) == b"theirs"
        wait_until("what one side wrote is everywhere", lambda client=client: read(client, box, "only-ours") == BIG)
        wait_until("and the other's", lambda client=client: read(client, box, "only-theirs") == BIG)

    def event():
        for k in cluster.nodes:
            shown = cluster.covey(k, "bucket", "conflicts", box, "--json")
            for one in json.loads(shown.stdout or "[]"):
                if one["key"] == "k" and one["version"] == theirs["VersionId"] and one["what"] == "lost":
                    return one
        return None

    assert wait_until("the loser is in the log", event)["winner"] == ours["VersionId"]
    # A write afterwards replaces what is current; the loser stays until it is removed by its version.
    last = everyone[1].put_object(Bucket=box, Key="k", Body=b"last")
    assert versions(everyone[2], box, "k") == [(last["VersionId"], True), (theirs["VersionId"], False)]
    everyone[2].delete_object(Bucket=box, Key="k", VersionId=theirs["VersionId"])
    assert versions(everyone[0], box, "k") == [(last["VersionId"], True)]


def test_a_wiped_node_gets_the_rows_back(cluster, box):
    everyone = cluster.clients()
    for n in range(30):
        everyone[n % 3].put_object(Bucket=box, Key=f"k-{n:02}", Body=BIG if n % 10 == 0 else f"{n}".encode())
    old = node(cluster, "node3")["id"]
    cluster.wipe(3)
    cluster.start(3)
    wait_until("another node holds its place",
               lambda: node(cluster, "node3").get("member") and node(cluster, "node3")["id"] != old, seconds=300)
    wait_settled(cluster, 1, 2, 3)
    cluster.wait_healthy()
    alone(cluster, 3)
    client = cluster.client(3)
    for n in range(30):
        body = BIG if n % 10 == 0 else f"{n}".encode()
        assert wait_until("it is read", lambda n=n: read(client, box, f"k-{n:02}")) == body
