"""A node that was away brings itself up to date: afterwards it is as good as the others, so another one may go."""
import concurrent.futures

import botocore.exceptions
from local import LONG, status_of, wait_until

KEYS = 1500 * LONG
PART = 5 * 1024 * 1024


def read(client, bucket, key):
    """The body, or None if there is none."""
    try:
        return [client.get_object(Bucket=bucket, Key=key)["Body"].read()]
    except botocore.exceptions.ClientError as e:
        if status_of(e) == 404:
            return [None]
        raise


def write_history(clients, bucket, expected):
    """Thousands of puts, overwrites, deletes, and uploads in parts. EXPECTED becomes what must be read afterwards."""
    def put(n, turn):
        key = f"k{n:05}"
        body = f"{key} {turn} ".encode() * (1 + n % 90 if n % 40 else 9000)
        wait_until(f"{key} is written", lambda: clients[n % 2].put_object(Bucket=bucket, Key=key, Body=body))
        expected[key] = body

    def delete(n):
        key = f"k{n:05}"
        wait_until(f"{key} is deleted", lambda: clients[n % 2].delete_object(Bucket=bucket, Key=key))
        expected[key] = None

    def upload(n):
        client, key = clients[n % 2], f"parts{n}"
        bodies = [bytes([n]) * PART, b"the end of " + key.encode()]
        started = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        parts = [{"PartNumber": i + 1, "ETag": client.upload_part(
            Bucket=bucket, Key=key, UploadId=started, PartNumber=i + 1, Body=body)["ETag"]}
            for i, body in enumerate(bodies)]
        client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=started, MultipartUpload={"Parts": parts})
        expected[key] = b"".join(bodies)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: put(n, 1), range(KEYS)))
        list(pool.map(lambda n: put(n, 2), range(0, KEYS, 3)))
        list(pool.map(delete, range(0, KEYS, 5)))
        list(pool.map(lambda n: put(n, 3), range(0, KEYS, 25)))
        list(pool.map(upload, range(1, 5)))


def check(clients, bucket, expected):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        def same(item):
            n, (key, body) = item
            got = wait_until(f"{key} is read", lambda: read(clients[n % 2], bucket, key))
            assert got == [body], key
        list(pool.map(same, enumerate(expected.items())))
    live = sorted(key for key, body in expected.items() if body is not None)
    for client in clients:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        assert [entry["Key"] for page in pages for entry in page.get("Contents", [])] == live


def test_a_node_that_was_away_replaces_one_that_goes(cluster, bucket):
    clients = cluster.clients()
    expected = {}
    for n in range(0, 300):  # known to all three
        key, body = f"k{n:05}", b"before " * (1 + n % 30)
        clients[n % 3].put_object(Bucket=bucket, Key=key, Body=body)
        expected[key] = body
    cluster.kill(3)
    wait_until("writes go on", lambda: clients[0].put_object(Bucket=bucket, Key="first", Body=b"1"))
    expected["first"] = b"1"
    write_history(clients[:2], bucket, expected)
    # A key for S3 that was made while it was away.
    made = cluster.covey(1, "key", "create", "--name", "late", "--json")
    assert made.returncode == 0, made.stderr

    cluster.start(3)
    cluster.wait_healthy()
    numbers = cluster.metrics(3)
    assert numbers["partitions_behind"] == 0 and numbers["rows_behind"] == 0
    rows = [cluster.metrics(k)["sync_rows_pulled"] for k in cluster.nodes]
    print(f"rows pulled: {rows}, attachments {numbers['sync_attachments_pulled']:.0f}, "
          f"bytes {numbers['sync_bytes_pulled']:.0f}")
    assert rows[2] >= KEYS
    wait_until("node 3 knows the new key", lambda: "late" in cluster.covey(3, "key", "list").stdout)

    cluster.kill(1)
    check(clients[1:], bucket, expected)
    # What was written before and after is on two nodes that never saw it together.
    expected["last"] = b"2"
    wait_until("writes go on", lambda: clients[2].put_object(Bucket=bucket, Key="last", Body=b"2"))
    cluster.start(1)
    cluster.wait_healthy()
    cluster.kill(2)
    check([clients[0], clients[2]], bucket, expected)
    cluster.start(2)
