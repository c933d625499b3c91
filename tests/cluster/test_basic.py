"""Three nodes are one store: what one node acknowledged, every other one serves at once, also after a restart."""
import concurrent.futures
import hashlib
import itertools
import os

import pytest
from botocore.exceptions import ClientError

from local import LONG, status_of
from process import set_lines

SIZES = [0, 1, 4096, 4097, 100_000, 3_000_000]


def body_of(name, size):
    seed = hashlib.sha256(name.encode()).digest()
    return (seed * (size // len(seed) + 1))[:size]


def keys_of(client, bucket):
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 7})
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def test_put_get_list_delete_through_different_nodes(cluster, bucket):
    clients = cluster.clients()
    for writer, size in itertools.product(range(3), SIZES):
        key = f"{writer}/{size}"
        clients[writer].put_object(Bucket=bucket, Key=key, Body=body_of(key, size))
        for reader in clients:
            assert reader.get_object(Bucket=bucket, Key=key)["Body"].read() == body_of(key, size)
    expected = sorted(f"{writer}/{size}" for writer in range(3) for size in SIZES)
    for client in clients:
        assert keys_of(client, bucket) == expected
    for number, key in enumerate(expected):
        clients[number % 3].delete_object(Bucket=bucket, Key=key)
        for reader in clients:
            with pytest.raises(ClientError) as refused:
                reader.head_object(Bucket=bucket, Key=key)
            assert status_of(refused.value) == 404
            assert key not in keys_of(reader, bucket)
    for client in clients:
        assert keys_of(client, bucket) == []


def test_overwrite_is_seen_by_the_next_read_of_any_node(cluster, bucket):
    clients = cluster.clients()

    def chain(key):
        for turn in range(20 * LONG):
            writer, reader = clients[turn % 3], clients[(turn + turn // 3 + 1) % 3]
            text = f"{key} {turn}".encode()
            etag = writer.put_object(Bucket=bucket, Key=key, Body=text)["ETag"]
            got = reader.get_object(Bucket=bucket, Key=key)
            assert got["Body"].read() == text
            assert got["ETag"] == etag
            assert reader.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(text)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(chain, [f"key-{n}" for n in range(8)]))
    for client in clients:
        assert keys_of(client, bucket) == [f"key-{n}" for n in range(8)]


def test_a_new_bucket_is_seen_by_all_nodes_at_once(cluster):
    clients = cluster.clients()
    for turn in range(9 * LONG):
        name = f"fresh-{turn}"
        clients[turn % 3].create_bucket(Bucket=name)
        for client in clients:
            client.head_bucket(Bucket=name)
            assert name in [entry["Name"] for entry in client.list_buckets()["Buckets"]]
            client.put_object(Bucket=name, Key="k", Body=b"v")
        clients[(turn + 1) % 3].delete_object(Bucket=name, Key="k")
        clients[(turn + 2) % 3].delete_bucket(Bucket=name)
        for client in clients:
            with pytest.raises(ClientError) as refused:
                client.head_bucket(Bucket=name)
            assert status_of(refused.value) == 404
            assert name not in [entry["Name"] for entry in client.list_buckets()["Buckets"]]


def test_a_bucket_with_objects_is_not_deleted(cluster, bucket):
    clients = cluster.clients()
    clients[0].put_object(Bucket=bucket, Key="a", Body=b"")
    for client in clients:
        with pytest.raises(ClientError) as refused:
            client.delete_bucket(Bucket=bucket)
        assert refused.value.response["Error"]["Code"] == "BucketNotEmpty"


def test_multipart_parts_through_different_nodes(cluster, bucket):
    clients = cluster.clients()
    parts = [body_of("one", 5 << 20), body_of("two", 5 << 20), body_of("three", 12345)]
    upload = clients[0].create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    done = []
    for number, part in enumerate(parts, 1):
        etag = clients[number % 3].upload_part(
            Bucket=bucket, Key="big", UploadId=upload, PartNumber=number, Body=part)["ETag"]
        done.append({"PartNumber": number, "ETag": etag})
    assert keys_of(clients[1], bucket) == []
    clients[2].complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": done})
    whole = b"".join(parts)
    for client in clients:
        assert client.get_object(Bucket=bucket, Key="big")["Body"].read() == whole
        middle = client.get_object(Bucket=bucket, Key="big", Range="bytes=5242870-5242889")["Body"].read()
        assert middle == whole[5242870:5242890]


def test_nodes_find_each_other_again_without_seeds(cluster, bucket):
    """They remember whom they knew: otherwise the one without seeds waits until somebody calls it."""
    configs = {k: os.path.join(cluster.dir, f"node{k}", "covey.toml") for k in cluster.nodes}
    before = {k: open(config).read() for k, config in configs.items()}
    cluster.tool("down")
    try:
        for config in configs.values():
            set_lines(config, seeds="[]")
        cluster.up()
        cluster.wait_healthy()
        for k in cluster.nodes:
            cluster.client(k).put_object(Bucket=bucket, Key=f"{k}", Body=b"")
    finally:
        for k, config in configs.items():
            with open(config, "w") as f:
                f.write(before[k])


def test_restart_keeps_everything(cluster, bucket):
    clients = cluster.clients()
    for number, size in enumerate(SIZES * 3):
        clients[number % 3].put_object(Bucket=bucket, Key=f"{number}", Body=body_of(f"{number}", size))
    clients[0].delete_object(Bucket=bucket, Key="0")
    cluster.tool("down")
    cluster.up()
    clients = cluster.clients()
    for client in clients:
        assert keys_of(client, bucket) == sorted(f"{number}" for number in range(1, len(SIZES) * 3))
        for number, size in list(enumerate(SIZES * 3))[1:]:
            assert client.get_object(Bucket=bucket, Key=f"{number}")["Body"].read() == body_of(f"{number}", size)
