"""minio-go, by a small program (minio-go/main.go) that does one operation at a time."""
import itertools
import urllib.request

import pytest

from rig import BIG_BYTES, FILE_KEYS, run, sha256, tool

numbers = itertools.count(1)


@pytest.fixture
def minio_go(nodes, home):
    """Does one operation through the next node."""
    program = tool("minio-go-client")

    def call(*words, **options):
        return run([program, nodes.next().removeprefix("http://"), *words], nodes.environment(home), **options)

    return call


def test_everyday(minio_go, home):
    bucket = f"minio-go-{next(numbers)}"
    (home / "file").write_bytes(b"0123456789" * 3000)
    minio_go("make-bucket", bucket)
    for key in ("dir/a", "dir/b", "other"):
        minio_go("put", bucket, key, str(home / "file"))
    assert minio_go("list", bucket, "dir/").splitlines() == [b'"dir/a" 30000', b'"dir/b" 30000']
    assert minio_go("range", bucket, "dir/a", "15", "24") == b"5678901234"
    assert minio_go("read-at", bucket, "dir/a", "29995", "5") == b"56789"
    minio_go("copy", bucket, "dir/a", "copy")
    minio_go("get", bucket, "copy", str(home / "back"))
    assert (home / "back").read_bytes() == b"0123456789" * 3000
    with urllib.request.urlopen(minio_go("presign", bucket, "copy").decode().strip(), timeout=60) as reply:
        assert reply.read() == b"0123456789" * 3000
    minio_go("remove", bucket, "copy")
    minio_go("remove-all", bucket, "")
    assert minio_go("list", bucket, "") == b""
    minio_go("remove-bucket", bucket)


def test_big_file_in_parts(minio_go, bucket, big_file, home):
    minio_go("put", bucket, "big", str(big_file))
    size, etag = minio_go("stat", bucket, "big").decode().split()
    assert int(size) == BIG_BYTES and "-" in etag
    minio_go("compose", bucket, "big", "big", "twice")
    assert minio_go("stat", bucket, "twice").split()[0] == str(2 * BIG_BYTES).encode()
    assert minio_go("range", bucket, "twice", str(BIG_BYTES - 5), str(BIG_BYTES + 4)) == ends(big_file)
    minio_go("copy", bucket, "big", "copy")
    minio_go("get", bucket, "copy", str(home / "back"))
    assert sha256(home / "back") == sha256(big_file)


def ends(path):
    """The last five bytes and the first five."""
    with open(path, "rb") as f:
        first = f.read(5)
        f.seek(-5, 2)
        return f.read() + first


def test_stream_of_unknown_length(minio_go, bucket):
    data = bytes(range(256)) * 50_000
    minio_go("put-stream", bucket, "stream", input=data)
    assert minio_go("range", bucket, "stream", "0", str(len(data) - 1)) == data


def test_odd_keys(minio_go, bucket, home):
    for key in FILE_KEYS:
        minio_go("put-stream", bucket, key, input=key.encode())
        minio_go("get", bucket, key, str(home / "back"))
        assert (home / "back").read_bytes() == key.encode()
        (home / "back").unlink()
    assert len(minio_go("list", bucket, "").splitlines()) == len(FILE_KEYS)
    minio_go("remove-all", bucket, "")
    assert minio_go("list", bucket, "") == b""
