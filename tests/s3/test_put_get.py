"""PutObject, GetObject, HeadObject, DeleteObject."""

import datetime

import pytest

from helpers import MIB, fails, md5, pattern, read

SIZES = [0, 1, 4095, 4096, 4097, 65536, MIB - 1, MIB, MIB + 1, 5 * MIB + 7]


@pytest.mark.parametrize("size", SIZES)
def test_round_trip(s3, other, bucket, size):
    data = pattern(size)
    put = s3.put_object(Bucket=bucket, Key="a", Body=data)
    assert put["ETag"] == f'"{md5(data)}"'
    got = other.get_object(Bucket=bucket, Key="a")
    assert got["Body"].read() == data
    assert (got["ContentLength"], got["ETag"], got["AcceptRanges"]) == (size, put["ETag"], "bytes")
    head = other.head_object(Bucket=bucket, Key="a")
    assert (head["ContentLength"], head["ETag"], head["LastModified"]) == (size, put["ETag"], got["LastModified"])
    assert abs(datetime.datetime.now(datetime.timezone.utc) - head["LastModified"]).total_seconds() < 900


def test_overwrite_and_delete(s3, other, bucket):
    for body in (b"one", pattern(2 * MIB), b"three"):
        s3.put_object(Bucket=bucket, Key="a", Body=body)
        assert read(other, bucket, "a") == body
    assert s3.delete_object(Bucket=bucket, Key="a")["ResponseMetadata"]["HTTPStatusCode"] == 204
    with fails("NoSuchKey", 404):
        other.get_object(Bucket=bucket, Key="a")
    with fails("404", 404):
        other.head_object(Bucket=bucket, Key="a")
    assert other.delete_object(Bucket=bucket, Key="a")["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_headers_come_back(s3, other, bucket):
    expires = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    headers = {"ContentType": "text/x-test; charset=utf-8", "CacheControl": "max-age=60",
               "ContentDisposition": 'attachment; filename="a b"', "ContentEncoding": "gzip",
               "ContentLanguage": "de", "WebsiteRedirectLocation": "/elsewhere"}
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Expires=expires, Metadata={"One": "1", "two-x": "a  b"}, **headers)
    for answer in (other.get_object(Bucket=bucket, Key="a"), other.head_object(Bucket=bucket, Key="a")):
        assert {name: answer[name] for name in headers} == headers
        assert answer["Metadata"]["one"] == "1"
        assert answer["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"


def test_default_content_type(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    assert s3.head_object(Bucket=bucket, Key="a")["ContentType"] == "binary/octet-stream"


def test_metadata_is_replaced(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Metadata={"a": "1"})
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Metadata={"b": "2"})
    assert s3.head_object(Bucket=bucket, Key="a")["Metadata"] == {"b": "2"}


def test_metadata_too_large(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Metadata={"a": "v" * 2000})
    with fails("MetadataTooLarge", 400):
        s3.put_object(Bucket=bucket, Key="a", Body=b"x", Metadata={"a": "v" * 2100})


def test_response_overrides(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    answer = s3.get_object(Bucket=bucket, Key="a", ResponseContentType="foo/bar", ResponseContentLanguage="en",
                           ResponseCacheControl="no-cache", ResponseContentDisposition="bla",
                           ResponseContentEncoding="aaa")
    assert [answer[name] for name in ("ContentType", "ContentLanguage", "CacheControl", "ContentDisposition",
                                      "ContentEncoding")] == ["foo/bar", "en", "no-cache", "bla", "aaa"]


def test_response_overrides_need_a_signature(wire, bucket):
    assert wire.plain("GET", f"/{bucket}/a", [("response-content-type", "a/b")]).status in (400, 403)


def test_key_and_its_prefix_are_both_objects(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"file")
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"below")
    s3.put_object(Bucket=bucket, Key="a/", Body=b"")
    assert (read(s3, bucket, "a"), read(s3, bucket, "a/b"), read(s3, bucket, "a/")) == (b"file", b"below", b"")


def test_put_without_length(wire, bucket):
    answer = wire.request("PUT", f"/{bucket}/a", body=b"", length="")
    assert (answer.status, answer.code) == (411, "MissingContentLength"), answer


def test_storage_class_and_acl(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"", StorageClass="STANDARD", ACL="private")
    with fails(("InvalidStorageClass", "InvalidArgument"), 400):
        s3.put_object(Bucket=bucket, Key="a", Body=b"", StorageClass="GOLD")


def test_null_version(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    assert read(s3, bucket, "a", VersionId="null") == b"x"
    with fails(("NoSuchVersion", "InvalidArgument")):
        s3.get_object(Bucket=bucket, Key="a", VersionId="0123456789abcdef0123456789abcdef")
    s3.delete_object(Bucket=bucket, Key="a", VersionId="null")
    with fails("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="a")


def test_object_tags(s3, other, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Tagging="k=v&other=a%20b")
    tags = other.get_object_tagging(Bucket=bucket, Key="a")["TagSet"]
    assert sorted((tag["Key"], tag["Value"]) for tag in tags) == [("k", "v"), ("other", "a b")]
    assert s3.get_object(Bucket=bucket, Key="a")["TagCount"] == 2
    s3.put_object_tagging(Bucket=bucket, Key="a", Tagging={"TagSet": [{"Key": "n", "Value": "1"}]})
    assert other.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == [{"Key": "n", "Value": "1"}]
    s3.delete_object_tagging(Bucket=bucket, Key="a")
    assert other.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == []


def test_two_puts_of_one_key_at_once(wire, s3, bucket):
    """A PUT inside another PUT of the same key finishes: no lock is held while a body arrives."""
    path = f"/{bucket}/a"
    headers, _ = wire.sign("PUT", path, payload="UNSIGNED-PAYLOAD")
    with wire.connect() as connection:
        connection.send(wire.head("PUT", path, (), headers + [("content-length", "10")]) + b"slow-")
        s3.put_object(Bucket=bucket, Key="a", Body=b"quick")
        assert read(s3, bucket, "a") == b"quick"
        connection.send(b"later")
        assert connection.answer().status == 200
    assert read(s3, bucket, "a") == b"slow-later"
