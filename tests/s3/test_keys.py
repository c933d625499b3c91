"""Keys are bytes: whatever decodes as UTF-8 round-trips through every operation."""

import pytest

from helpers import b64, fails, read

KEYS = ["a b", " lead", "trail ", "a+b", "a%20b", "a%2Fb", "100%", "ü", "日本語/ключ", "\U0001f600", "/", "//", "/a", "a//b",
        "a/", "..", ".", "a/..", "../a", "a/./b", "a/../b", "?x=1", "a?b", "#a", "a&b=c", "<x>\"'", "a\\b", "~-._", "a:b;c,d@e",
        "[x]{y}|z^`", "$(x)", "*", "(1)!", "a\tb", "x" * 1024, "é" * 512, "\x7f", "soap", "uploads", "delete"]


@pytest.mark.parametrize("key", KEYS)
def test_round_trip(s3, other, bucket, key):
    body = key.encode()
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    assert read(other, bucket, key) == body
    assert [item["Key"] for item in other.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    assert [item["Key"] for item in other.list_objects(Bucket=bucket, Prefix=key)["Contents"]] == [key]
    s3.copy_object(Bucket=bucket, Key="copy of it", CopySource={"Bucket": bucket, "Key": key})
    assert read(other, bucket, "copy of it") == body
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"part")
    assert other.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["Key"] == key
    s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload,
                                 MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert read(other, bucket, key) == b"part"
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}, {"Key": "copy of it"}]})
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_too_long(s3, bucket):
    for key in ("x" * 1025, "é" * 513):
        with fails("KeyTooLongError", 400):
            s3.put_object(Bucket=bucket, Key=key, Body=b"")


def test_not_utf8(wire, bucket):
    answer = wire.presigned("PUT", f"/{bucket}/a")
    assert answer.status == 200
    headers, _ = wire.sign("PUT", f"/{bucket}/%FF%FE")
    answer = wire.raw(wire.head("PUT", f"/{bucket}/%FF%FE", (), headers + [("content-length", "0")]))
    assert answer is not None and answer.status in (400, 403), answer


def test_dot_segments_are_no_way_out(wire, s3, new_bucket):
    one, two = new_bucket(), new_bucket()
    s3.put_object(Bucket=two, Key="secret", Body=b"s")
    answer = wire.request("GET", f"/{one}/../{two}/secret")
    assert (answer.status, answer.code) == (404, "NoSuchKey"), answer


def test_metadata_in_utf8(wire, s3, bucket):
    assert wire.request("PUT", f"/{bucket}/a", headers=[("x-amz-meta-b", b64("ü".encode()))], body=b"x").status == 200
    assert s3.head_object(Bucket=bucket, Key="a")["Metadata"] == {"b": b64("ü".encode())}


def test_control_characters(s3, other, bucket):
    """XML 1.0 cannot say them: clients ask for encoding-type=url, as boto3 does in listings."""
    s3.put_object(Bucket=bucket, Key="k\x01", Body=b"x")
    assert read(other, bucket, "k\x01") == b"x"
    assert [item["Key"] for item in other.list_objects_v2(Bucket=bucket)["Contents"]] == ["k\x01"]
