"""The aws command line, version 1 (from PyPI) and version 2 (Debian's)."""
import itertools
import json
import os
import subprocess
import urllib.request

import pytest

from rig import (BIG_BYTES, FILE_KEYS, OTHER_KEYS, TOOL_TIMEOUT_S, check_odd_files, keys, make_odd_files, run, sha256,
                 tool)

numbers = itertools.count(1)


def major_version(path):
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False)
    return (shown.stdout + shown.stderr).partition("aws-cli/")[2][:1]


@pytest.fixture(scope="module", params=["1", "2"])
def program(request):
    places = {"1": [], "2": ["/usr/bin/aws", "/usr/local/bin/aws"]}[request.param]
    for path in [*places, tool("aws")]:
        if os.access(path, os.X_OK) and major_version(path) == request.param:
            return path
    pytest.skip(f"aws CLI version {request.param} is not installed on this machine")


@pytest.fixture
def aws(nodes, home, program):
    """Runs one command through the next node."""
    env = nodes.environment(home)

    def call(*words, **options):
        return run([program, "--endpoint-url", nodes.next(), *words], env, **options)

    return call


def test_everyday(aws, home):
    name = f"aws-cli-{next(numbers)}"
    (home / "tree" / "sub dir").mkdir(parents=True)
    for number in range(4):
        (home / "tree" / "sub dir" / f"file {number}.txt").write_bytes(b"0123456789" * 1000 * number)
    (home / "tree" / "top").write_bytes(b"top")
    aws("s3", "mb", f"s3://{name}")
    aws("s3", "sync", str(home / "tree"), f"s3://{name}/tree")
    listed = aws("s3", "ls", "--recursive", f"s3://{name}/").decode().splitlines()
    assert [line.split(maxsplit=2)[2] for line in listed] == [
        "0 tree/sub dir/file 0.txt", "10000 tree/sub dir/file 1.txt", "20000 tree/sub dir/file 2.txt",
        "30000 tree/sub dir/file 3.txt", "3 tree/top"]
    assert b"PRE sub dir/" in aws("s3", "ls", f"s3://{name}/tree/")
    # Nothing changed: a second sync through another node moves nothing.
    assert aws("s3", "sync", str(home / "tree"), f"s3://{name}/tree") == b""
    aws("s3", "sync", f"s3://{name}/tree", str(home / "back"))
    assert (home / "back" / "sub dir" / "file 3.txt").read_bytes() == b"0123456789" * 3000

    aws("s3api", "get-object", "--bucket", name, "--key", "tree/sub dir/file 3.txt", "--range", "bytes=15-24",
        str(home / "range"))
    assert (home / "range").read_bytes() == b"5678901234"
    aws("s3", "cp", f"s3://{name}/tree/top", f"s3://{name}/copy")
    aws("s3", "mv", f"s3://{name}/copy", f"s3://{name}/moved")
    aws("s3", "rm", f"s3://{name}/moved")
    assert json.loads(aws("s3api", "list-objects-v2", "--bucket", name, "--prefix", "moved") or b"{}").get(
        "Contents") is None
    aws("s3", "rb", "--force", f"s3://{name}")
    assert name.encode() not in aws("s3", "ls")


def test_presigned_url(aws, bucket):
    """In us-east-1 the aws CLI signs it by Signature Version 2 by default."""
    aws("s3", "cp", "-", f"s3://{bucket}/file", input=b"presigned")
    with urllib.request.urlopen(aws("s3", "presign", f"s3://{bucket}/file").decode().strip(), timeout=60) as reply:
        assert reply.read() == b"presigned"


def test_big_file_in_parts(aws, bucket, big_file, home):
    aws("s3", "cp", "--no-progress", str(big_file), f"s3://{bucket}/big")
    head = json.loads(aws("s3api", "head-object", "--bucket", bucket, "--key", "big"))
    assert head["ContentLength"] == BIG_BYTES and "-" in head["ETag"]
    aws("s3", "cp", "--no-progress", f"s3://{bucket}/big", f"s3://{bucket}/copy")
    aws("s3", "cp", "--no-progress", f"s3://{bucket}/copy", str(home / "back"))
    assert sha256(home / "back") == sha256(big_file)


def test_streams(aws, bucket):
    data = bytes(range(256)) * 50_000
    aws("s3", "cp", "-", f"s3://{bucket}/stream", input=data)
    assert aws("s3", "cp", f"s3://{bucket}/stream", "-") == data


def test_odd_file_names(aws, nodes, bucket, home):
    make_odd_files(home / "tree")
    aws("s3", "sync", str(home / "tree"), f"s3://{bucket}")
    assert keys(nodes.boto3(), bucket) == sorted(FILE_KEYS, key=str.encode)
    listed = json.loads(aws("s3api", "list-objects-v2", "--bucket", bucket))["Contents"]
    assert [item["Key"] for item in listed] == sorted(FILE_KEYS, key=str.encode)
    aws("s3", "sync", f"s3://{bucket}", str(home / "back"))
    check_odd_files(home / "back")
    aws("s3", "rm", "--recursive", f"s3://{bucket}/")
    assert keys(nodes.boto3(), bucket) == []


@pytest.mark.parametrize("key", OTHER_KEYS)
def test_key_that_is_no_file_name(aws, nodes, bucket, key):
    aws("s3", "cp", "-", f"s3://{bucket}/{key}", input=key.encode())
    assert keys(nodes.boto3(), bucket) == [key]
    assert aws("s3", "cp", f"s3://{bucket}/{key}", "-") == key.encode()


def test_a_and_below_a(aws, bucket):
    aws("s3", "cp", "-", f"s3://{bucket}/a", input=b"1")
    aws("s3", "cp", "-", f"s3://{bucket}/a/b", input=b"2")
    assert aws("s3", "cp", f"s3://{bucket}/a", "-") == b"1"
    assert aws("s3", "cp", f"s3://{bucket}/a/b", "-") == b"2"
    assert b"PRE a/" in aws("s3", "ls", f"s3://{bucket}/")
