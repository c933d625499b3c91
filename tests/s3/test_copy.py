"""CopyObject."""

import pytest

from helpers import MIB, fails, pattern, read


@pytest.mark.parametrize("size", [0, 10, MIB + 3, 6 * MIB])
def test_copy(s3, other, new_bucket, size):
    one, two = new_bucket(), new_bucket()
    data = pattern(size)
    put = s3.put_object(Bucket=one, Key="a b/ü+%", Body=data, ContentType="a/b", Metadata={"m": "1"})
    answer = other.copy_object(Bucket=two, Key="c", CopySource={"Bucket": one, "Key": "a b/ü+%"})
    assert answer["CopyObjectResult"]["ETag"] == put["ETag"]
    s3.delete_object(Bucket=one, Key="a b/ü+%")
    got = s3.get_object(Bucket=two, Key="c")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (data, "a/b", {"m": "1"})


def test_replace_metadata(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", ContentType="a/b", Metadata={"m": "1"})
    s3.copy_object(Bucket=bucket, Key="a", CopySource={"Bucket": bucket, "Key": "a"}, MetadataDirective="REPLACE",
                   ContentType="c/d", Metadata={"n": "2"})
    head = s3.head_object(Bucket=bucket, Key="a")
    assert (head["ContentType"], head["Metadata"]) == ("c/d", {"n": "2"})
    assert read(s3, bucket, "a") == b"x"


def test_onto_itself(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    with fails("InvalidRequest", 400):
        s3.copy_object(Bucket=bucket, Key="a", CopySource={"Bucket": bucket, "Key": "a"})


def test_missing_source(s3, bucket):
    with fails("NoSuchKey", 404):
        s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    with fails("NoSuchBucket", 404):
        s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket + "x", "Key": "a"})


def test_source_of_another_user(s3, alt, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    with fails("AccessDenied", 403):
        alt.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})


def test_forms_of_the_source(wire, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    for source, status in ((f"/{bucket}/a", 200), (f"{bucket}/a", 200), (f"{bucket}%2Fa", 200), (f"{bucket}", 400),
                           ("", 400), (f"{bucket}/a?versionId=null", 200)):
        answer = wire.request("PUT", f"/{bucket}/b", headers=[("x-amz-copy-source", source)])
        assert answer.status == status, (source, answer)


def test_tags_follow(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Tagging="k=v")
    s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    s3.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "a"}, TaggingDirective="REPLACE",
                   Tagging="n=1")
    assert s3.get_object_tagging(Bucket=bucket, Key="b")["TagSet"] == [{"Key": "k", "Value": "v"}]
    assert s3.get_object_tagging(Bucket=bucket, Key="c")["TagSet"] == [{"Key": "n", "Value": "1"}]


def test_copy_survives_overwritten_source(s3, other, bucket):
    data = pattern(3 * MIB)
    s3.put_object(Bucket=bucket, Key="a", Body=data)
    s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    s3.put_object(Bucket=bucket, Key="a", Body=b"new")
    assert read(other, bucket, "b") == data
