"""Conditional requests: reads, and writes that must be linearizable through every node."""

import concurrent.futures
import datetime

import pytest
from botocore.exceptions import ClientError

from helpers import MIB, fails, md5, pattern, read

HOUR = datetime.timedelta(hours=1)
WRONG = '"00000000000000000000000000000000"'


@pytest.fixture
def stored(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"one")["ETag"]
    return bucket, etag, s3.head_object(Bucket=bucket, Key="a")["LastModified"]


@pytest.mark.parametrize("call", ["get_object", "head_object"])
def test_reads(other, stored, call):
    bucket, etag, modified = stored

    def ask(**conditions):
        return getattr(other, call)(Bucket=bucket, Key="a", **conditions)["ETag"]

    failed = "PreconditionFailed" if call == "get_object" else "412"
    for good in ({"IfMatch": etag}, {"IfMatch": "*"}, {"IfMatch": f"{WRONG}, {etag}"}, {"IfNoneMatch": WRONG},
                 {"IfModifiedSince": modified - HOUR}, {"IfUnmodifiedSince": modified},
                 {"IfMatch": etag, "IfUnmodifiedSince": modified - HOUR}):
        assert ask(**good) == etag, good
    for bad in ({"IfMatch": WRONG}, {"IfUnmodifiedSince": modified - HOUR}):
        with fails(failed, 412):
            ask(**bad)
    for same in ({"IfNoneMatch": etag}, {"IfNoneMatch": "*"}, {"IfModifiedSince": modified},
                 {"IfNoneMatch": etag, "IfModifiedSince": modified - HOUR}):
        with pytest.raises(ClientError) as error:
            ask(**same)
        answer = error.value.response["ResponseMetadata"]
        assert answer["HTTPStatusCode"] == 304, same
        assert answer["HTTPHeaders"]["etag"] == etag


def test_put_if_none_match(s3, other, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"1", IfNoneMatch="*")
    with fails("PreconditionFailed", 412):
        other.put_object(Bucket=bucket, Key="a", Body=b"2", IfNoneMatch="*")
    assert read(s3, bucket, "a") == b"1"
    s3.delete_object(Bucket=bucket, Key="a")
    other.put_object(Bucket=bucket, Key="a", Body=b"3", IfNoneMatch="*")


def test_put_if_match(s3, other, stored):
    bucket, etag, _ = stored
    with fails("PreconditionFailed", 412):
        other.put_object(Bucket=bucket, Key="a", Body=b"2", IfMatch=WRONG)
    new = other.put_object(Bucket=bucket, Key="a", Body=b"2", IfMatch=etag)["ETag"]
    assert new == f'"{md5(b"2")}"'
    with fails("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="a", Body=b"3", IfMatch=etag)
    with fails("NoSuchKey", 404):
        s3.put_object(Bucket=bucket, Key="missing", Body=b"3", IfMatch=etag)


def test_delete_if_match(s3, other, stored):
    bucket, etag, _ = stored
    with fails("PreconditionFailed", 412):
        other.delete_object(Bucket=bucket, Key="a", IfMatch=WRONG)
    assert read(s3, bucket, "a") == b"one"
    other.delete_object(Bucket=bucket, Key="a", IfMatch=etag)
    with fails("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="a")


def test_delete_objects_with_etag(s3, stored):
    bucket, etag, _ = stored
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a", "ETag": WRONG}]})
    assert answer["Errors"][0]["Code"] == "PreconditionFailed"
    assert s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a", "ETag": etag}]})["Deleted"]


def test_complete_if_none_match(s3, other, stored):
    bucket, etag, _ = stored
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="a", UploadId=upload, PartNumber=1, Body=b"p")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    with fails("PreconditionFailed", 412):
        other.complete_multipart_upload(Bucket=bucket, Key="a", UploadId=upload, MultipartUpload=parts, IfNoneMatch="*")
    other.complete_multipart_upload(Bucket=bucket, Key="a", UploadId=upload, MultipartUpload=parts, IfMatch=etag)
    assert read(s3, bucket, "a") == b"p"


def test_copy_source_conditions(s3, stored):
    bucket, etag, modified = stored
    source = {"Bucket": bucket, "Key": "a"}
    s3.copy_object(Bucket=bucket, Key="b", CopySource=source, CopySourceIfMatch=etag)
    s3.copy_object(Bucket=bucket, Key="b", CopySource=source, CopySourceIfNoneMatch=WRONG)
    for bad in ({"CopySourceIfMatch": WRONG}, {"CopySourceIfNoneMatch": etag},
                {"CopySourceIfModifiedSince": modified + HOUR}, {"CopySourceIfUnmodifiedSince": modified - HOUR}):
        with fails("PreconditionFailed", 412):
            s3.copy_object(Bucket=bucket, Key="b", CopySource=source, **bad)


def outcomes(clients, count, call):
    """How often each status came back when `count` calls ran at once, through all nodes."""
    def one(index):
        try:
            call(clients[index % len(clients)], index)
            return 200
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"]
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.parametrize("size", [10, 2 * MIB])
def test_one_creator_wins(clients, bucket, size):
    for turn in range(5):
        key = f"race-{turn}"
        bodies = [pattern(size, seed) for seed in range(8)]
        result = outcomes(clients, 8, lambda client, i: client.put_object(Bucket=bucket, Key=key, Body=bodies[i],
                                                                          IfNoneMatch="*"))
        assert result.count(200) == 1, result
        assert set(result) <= {200, 412, 409}, result
        assert read(clients[0], bucket, key) == bodies[result.index(200)]


def test_counter_by_if_match(clients, bucket):
    clients[0].put_object(Bucket=bucket, Key="n", Body=b"0")
    done = 0
    for _ in range(5):
        def add(client, _):
            got = client.get_object(Bucket=bucket, Key="n")
            value = int(got["Body"].read())
            client.put_object(Bucket=bucket, Key="n", Body=str(value + 1).encode(), IfMatch=got["ETag"])
        result = outcomes(clients, 6, add)
        assert set(result) <= {200, 412, 409}, result
        done += result.count(200)
    assert int(read(clients[-1], bucket, "n")) == done > 0


def test_one_deleter_wins(clients, bucket):
    etag = clients[0].put_object(Bucket=bucket, Key="a", Body=b"x")["ETag"]
    result = outcomes(clients, 6, lambda client, _: client.delete_object(Bucket=bucket, Key="a", IfMatch=etag))
    assert result.count(200) == 1, result
    assert set(result) <= {200, 404, 409, 412}, result
