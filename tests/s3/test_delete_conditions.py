"""DeleteObject with x-amz-if-match-size and x-amz-if-match-last-modified-time."""

import datetime

import pytest

from helpers import read


def test_not_met(s3, other, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"hello")
    modified = s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    for condition in ({"IfMatchSize": 4}, {"IfMatchSize": 0},
                      {"IfMatchLastModifiedTime": modified - datetime.timedelta(seconds=2)},
                      {"IfMatchLastModifiedTime": datetime.datetime(1970, 1, 1)},
                      {"IfMatchSize": 5, "IfMatchLastModifiedTime": modified - datetime.timedelta(days=1)},
                      {"IfMatch": '"0"', "IfMatchSize": 5}):
        with pytest.raises(other.exceptions.ClientError) as error:
            other.delete_object(Bucket=bucket, Key="a", **condition)
        assert error.value.response["Error"]["Code"] == "PreconditionFailed", condition
        assert read(s3, bucket, "a") == b"hello"


def test_met(s3, other, bucket):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"hello")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    other.delete_object(Bucket=bucket, Key="a", IfMatch=etag, IfMatchSize=5, IfMatchLastModifiedTime=modified)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    other.delete_object(Bucket=bucket, Key="empty", IfMatchSize=0)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
