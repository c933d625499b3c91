"""s3cmd, as its configuration file has it after host_base, host_bucket and the keys."""
import itertools

import pytest

from rig import BIG_BYTES, FILE_KEYS, check_odd_files, keys, make_odd_files, run, sha256, tool

numbers = itertools.count(1)


@pytest.fixture
def s3cmd(nodes, home):
    """Runs one command through the next node."""
    program = tool("s3cmd")

    def call(*words, **options):
        host = nodes.next().removeprefix("http://")
        (home / ".s3cfg").write_text(
            f"[default]\naccess_key = {nodes.access}\nsecret_key = {nodes.secret}\nhost_base = {host}\n"
            f"host_bucket = {host}\nuse_https = False\n")
        return run([program, "--no-progress", *words], nodes.environment(home), **options)

    return call


def test_everyday(s3cmd, home):
    url = f"s3://s3cmd-{next(numbers)}"
    (home / "tree" / "sub dir").mkdir(parents=True)
    for number in range(4):
        (home / "tree" / "sub dir" / f"file {number}").write_bytes(b"0123456789" * 1000 * number)
    s3cmd("mb", url)
    assert url.encode() in s3cmd("ls")
    s3cmd("sync", f"{home}/tree/", f"{url}/tree/")
    listed = s3cmd("ls", "--recursive", url).decode().splitlines()
    assert [line.split(maxsplit=3)[2:] for line in listed] == [
        [str(10000 * n), f"{url}/tree/sub dir/file {n}"] for n in range(4)]
    assert b"upload" not in s3cmd("sync", f"{home}/tree/", f"{url}/tree/")
    # A download that goes on where it was cut off reads a range.
    (home / "part").write_bytes(b"0123456789" * 1500)
    s3cmd("get", "--continue", f"{url}/tree/sub dir/file 3", str(home / "part"))
    assert (home / "part").read_bytes() == b"0123456789" * 3000
    s3cmd("cp", f"{url}/tree/sub dir/file 3", f"{url}/copy")
    s3cmd("mv", f"{url}/copy", f"{url}/moved")
    s3cmd("get", f"{url}/moved", str(home / "moved"))
    assert (home / "moved").read_bytes() == b"0123456789" * 3000
    assert b"30000" in s3cmd("info", f"{url}/moved")
    s3cmd("modify", "--add-header", "x-amz-meta-colour:red", f"{url}/moved")
    assert b"red" in s3cmd("info", f"{url}/moved")
    s3cmd("setacl", "--acl-public", f"{url}/moved")
    s3cmd("del", f"{url}/moved")
    s3cmd("del", "--recursive", "--force", url)
    assert s3cmd("ls", "--recursive", url) == b""
    s3cmd("rb", url)


def test_big_file_in_parts(s3cmd, nodes, bucket, big_file, home):
    s3cmd("put", str(big_file), f"s3://{bucket}/big")
    head = nodes.boto3().head_object(Bucket=bucket, Key="big")
    assert head["ContentLength"] == BIG_BYTES and "-" in head["ETag"]
    s3cmd("cp", f"s3://{bucket}/big", f"s3://{bucket}/copy")
    s3cmd("get", f"s3://{bucket}/copy", str(home / "back"))
    assert sha256(home / "back") == sha256(big_file)


def test_odd_file_names(s3cmd, nodes, bucket, home):
    make_odd_files(home / "tree")
    s3cmd("sync", f"{home}/tree/", f"s3://{bucket}/")
    assert keys(nodes.boto3(), bucket) == sorted(FILE_KEYS, key=str.encode)
    s3cmd("sync", f"s3://{bucket}/", f"{home}/back/")
    check_odd_files(home / "back")
    s3cmd("del", "--recursive", "--force", f"s3://{bucket}/")
    assert keys(nodes.boto3(), bucket) == []


def test_signed_url(s3cmd, bucket, home):
    import urllib.request

    (home / "file").write_bytes(b"signed")
    s3cmd("put", str(home / "file"), f"s3://{bucket}/file")
    url = s3cmd("signurl", f"s3://{bucket}/file", "+600").decode().strip()
    with urllib.request.urlopen(url, timeout=60) as reply:
        assert reply.read() == b"signed"
