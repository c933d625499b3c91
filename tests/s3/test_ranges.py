"""Range requests (RFC 9110, 14) as GetObject answers them."""

import pytest

from helpers import MIB, fails, pattern

SMALL, LARGE = 1000, 3 * MIB + 5


@pytest.fixture(scope="module", params=[SMALL, LARGE])
def stored(request, clients):
    import uuid
    name = f"t-{uuid.uuid4().hex[:20]}"
    clients[0].create_bucket(Bucket=name)
    data = pattern(request.param)
    clients[0].put_object(Bucket=name, Key="a", Body=data)
    yield name, data
    clients[0].delete_object(Bucket=name, Key="a")
    clients[0].delete_bucket(Bucket=name)


def ranges(size):
    whole = [(0, 0), (0, 9), (5, size - 1), (size - 1, size - 1), (0, size - 1), (size // 2, size // 2 + 99)]
    if size > MIB:
        whole += [(MIB - 1, MIB), (MIB - 3, 2 * MIB + 3), (65535, 65536), (2 * MIB, 2 * MIB)]
    return whole


def test_first_to_last(s3, stored):
    bucket, data = stored
    for first, last in ranges(len(data)):
        got = s3.get_object(Bucket=bucket, Key="a", Range=f"bytes={first}-{last}")
        assert got["Body"].read() == data[first:last + 1], (first, last)
        assert got["ContentRange"] == f"bytes {first}-{last}/{len(data)}"
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206


@pytest.mark.parametrize("text, cut", [("bytes=990-", slice(990, None)), ("bytes=-7", slice(-7, None)),
                                       ("bytes=-99999999", slice(0, None)), ("bytes=5-99999999", slice(5, None))])
def test_open_ends(s3, stored, text, cut):
    bucket, data = stored
    got = s3.get_object(Bucket=bucket, Key="a", Range=text)
    assert (got["ResponseMetadata"]["HTTPStatusCode"], got["Body"].read()) == (206, data[cut])


@pytest.mark.parametrize("text", ["bytes=99999999-", "bytes=99999999-100000000", "bytes=-0"])
def test_unsatisfiable(s3, stored, text):
    with fails("InvalidRange", 416):
        s3.get_object(Bucket=stored[0], Key="a", Range=text)


@pytest.mark.parametrize("text", ["bytes=9-5", "bytes=a-b", "lines=1-2", "bytes=", "5-9", "bytes=1-2,4-5"])
def test_ignored(s3, stored, text):
    bucket, data = stored
    got = s3.get_object(Bucket=bucket, Key="a", Range=text)
    assert (got["ResponseMetadata"]["HTTPStatusCode"], got["ContentLength"]) == (200, len(data))
    got["Body"].read()


def test_head(s3, stored):
    bucket, data = stored
    head = s3.head_object(Bucket=bucket, Key="a", Range="bytes=1-10")
    assert (head["ResponseMetadata"]["HTTPStatusCode"], head["ContentLength"]) == (206, 10)


def test_empty_object(s3, bucket):
    s3.put_object(Bucket=bucket, Key="e", Body=b"")
    with fails("InvalidRange", 416):
        s3.get_object(Bucket=bucket, Key="e", Range="bytes=0-0")


def test_part_number_of_a_single_put(s3, stored):
    bucket, data = stored
    got = s3.get_object(Bucket=bucket, Key="a", PartNumber=1)
    assert got["Body"].read() == data
    with fails(("InvalidPart", "InvalidPartNumber", "InvalidRange", "416"), 416):
        s3.get_object(Bucket=bucket, Key="a", PartNumber=2)
