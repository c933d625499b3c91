"""rclone with a remote of provider "Other", configured by its environment."""
import json

import pytest

from rig import BIG_BYTES, FILE_KEYS, OTHER_KEYS, check_odd_files, keys, make_odd_files, run, sha256, tool


@pytest.fixture
def rclone(nodes, home):
    """Runs one command through the next node; the remote is `covey:`."""
    program = tool("rclone")

    def call(*words, **options):
        env = nodes.environment(
            home, RCLONE_CONFIG=str(home / "rclone.conf"), RCLONE_CONFIG_COVEY_TYPE="s3",
            RCLONE_CONFIG_COVEY_PROVIDER="Other", RCLONE_CONFIG_COVEY_ACCESS_KEY_ID=nodes.access,
            RCLONE_CONFIG_COVEY_SECRET_ACCESS_KEY=nodes.secret, RCLONE_CONFIG_COVEY_ENDPOINT=nodes.next())
        (home / "rclone.conf").touch()
        return run([program, *words], env, **options)

    return call


def names(rclone, where):
    return sorted(item["Path"] for item in json.loads(rclone("lsjson", "-R", "--files-only", where)))


def test_everyday(rclone, home):
    for number in range(4):
        (home / "tree" / f"dir {number}").mkdir(parents=True)
        (home / "tree" / f"dir {number}" / "file").write_bytes(b"0123456789" * 1000 * number)
    rclone("mkdir", "covey:rclone-made")
    assert b"rclone-made" in rclone("lsd", "covey:")
    rclone("sync", str(home / "tree"), "covey:rclone-made/tree")
    rclone("check", "--download", str(home / "tree"), "covey:rclone-made/tree")
    assert names(rclone, "covey:rclone-made") == [f"tree/dir {n}/file" for n in range(4)]
    # The modification time is metadata: a file that did not change is not sent again.
    sent = rclone("sync", "--use-json-log", "-v", "--stats", "0", str(home / "tree"), "covey:rclone-made/tree")
    assert b"Copied" not in sent
    assert rclone("cat", "--offset", "15", "--count", "10", "covey:rclone-made/tree/dir 3/file") == b"5678901234"
    rclone("copyto", "covey:rclone-made/tree/dir 3/file", "covey:rclone-made/copy")
    rclone("moveto", "covey:rclone-made/copy", "covey:rclone-made/moved")
    assert rclone("cat", "covey:rclone-made/moved") == b"0123456789" * 3000
    rclone("deletefile", "covey:rclone-made/moved")
    rclone("purge", "covey:rclone-made")
    assert b"rclone-made" not in rclone("lsd", "covey:")


def test_big_file_in_parts(rclone, nodes, bucket, big_file, home):
    # The default sends a file of less than 200 MiB in one piece; this is what larger ones get.
    rclone("copyto", "--s3-upload-cutoff", "5M", str(big_file), f"covey:{bucket}/big")
    head = nodes.boto3().head_object(Bucket=bucket, Key="big")
    assert head["ContentLength"] == BIG_BYTES and "-" in head["ETag"]
    rclone("copyto", str(big_file), f"covey:{bucket}/one-piece")
    rclone("copyto", f"covey:{bucket}/big", f"covey:{bucket}/copy")
    for name in ("one-piece", "copy"):
        rclone("copyto", f"covey:{bucket}/{name}", str(home / name))
        assert sha256(home / name) == sha256(big_file)
        (home / name).unlink()


def test_stream_of_unknown_length(rclone, bucket):
    data = bytes(range(256)) * 50_000
    rclone("rcat", f"covey:{bucket}/stream", input=data)
    assert rclone("cat", f"covey:{bucket}/stream") == data


def test_odd_file_names(rclone, nodes, bucket, home):
    """There and back: a folder of files whose names are as odd as a file system allows."""
    make_odd_files(home / "tree")
    rclone("copy", str(home / "tree"), f"covey:{bucket}")
    assert keys(nodes.boto3(), bucket) == sorted(FILE_KEYS, key=str.encode)
    rclone("check", "--download", str(home / "tree"), f"covey:{bucket}")
    rclone("copy", f"covey:{bucket}", str(home / "back"))
    check_odd_files(home / "back")
    rclone("delete", f"covey:{bucket}")
    assert keys(nodes.boto3(), bucket) == []


def test_keys_that_are_no_file_names(rclone, nodes, bucket):
    """rclone shows them all. By itself it asks for none with `//` and `..`: it cleans such paths before it sends them."""
    for key in OTHER_KEYS:
        nodes.boto3().put_object(Bucket=bucket, Key=key, Body=key.encode())
    shown = {key: key.replace("..", "\uff0e\uff0e") for key in OTHER_KEYS}
    assert names(rclone, f"covey:{bucket}") == sorted(shown.values())
    for key in OTHER_KEYS:
        if ".." not in key and "//" not in key:
            assert rclone("cat", f"covey:{bucket}/{key}") == key.encode()
    # What it says itself comes back as it was: its own names for them are keys like any other.
    rclone("rcat", f"covey:{bucket}/up/\uff0e\uff0e/x", input=b"dots")
    assert rclone("cat", f"covey:{bucket}/up/\uff0e\uff0e/x") == b"dots"


def test_a_and_below_a(rclone, nodes, bucket):
    rclone("rcat", f"covey:{bucket}/a", input=b"1")
    rclone("rcat", f"covey:{bucket}/a/b", input=b"2")
    assert keys(nodes.boto3(), bucket) == ["a", "a/b"]
    assert names(rclone, f"covey:{bucket}") == ["a", "a/b"]
    assert rclone("cat", f"covey:{bucket}/a") == b"1"
    rclone("deletefile", f"covey:{bucket}/a")
    assert rclone("cat", f"covey:{bucket}/a/b") == b"2"
