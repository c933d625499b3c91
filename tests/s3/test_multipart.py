"""Multipart uploads."""

import hashlib

import pytest

from helpers import MIB, fails, pattern, read

PART = 5 * MIB


def start(s3, bucket, key="m", **options):
    return s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]


def send(s3, bucket, upload, bodies, key="m", **options):
    parts = []
    for number, body in bodies:
        answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body, **options)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    return parts


def finish(s3, bucket, upload, parts, key="m", **options):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts},
                                        **options)


def test_uneven_parts(s3, other, bucket):
    upload = start(s3, bucket, ContentType="a/b", Metadata={"m": "1"})
    bodies = [(1, pattern(PART + 3, 1)), (4, pattern(PART, 2)), (9, pattern(11, 3))]
    parts = send(other, bucket, upload, bodies)
    answer = finish(s3, bucket, upload, parts)
    md5s = b"".join(hashlib.md5(body).digest() for _, body in bodies)
    assert answer["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-3"'
    whole = b"".join(body for _, body in bodies)
    got = other.get_object(Bucket=bucket, Key="m")
    assert got["Body"].read() == whole
    assert (got["ETag"], got["ContentType"], got["Metadata"]) == (answer["ETag"], "a/b", {"m": "1"})
    assert read(s3, bucket, "m", Range=f"bytes={PART}-{PART + 9}") == whole[PART:PART + 10]
    second = other.get_object(Bucket=bucket, Key="m", PartNumber=2)
    assert (second["Body"].read(), second["PartsCount"]) == (bodies[1][1], 3)
    again = finish(other, bucket, upload, parts)
    assert again["ETag"] == answer["ETag"], "the same Complete again gets the same answer"


def test_part_sent_twice(s3, other, bucket):
    upload = start(s3, bucket)
    old = send(s3, bucket, upload, [(1, b"old")])
    new = send(other, bucket, upload, [(1, b"new")])
    with fails("InvalidPart", 400):
        finish(s3, bucket, upload, old)
    finish(s3, bucket, upload, new)
    assert read(other, bucket, "m") == b"new"


def test_wrong_completions(s3, bucket):
    upload = start(s3, bucket)
    parts = send(s3, bucket, upload, [(1, b"small"), (2, b"last")])
    with fails("EntityTooSmall", 400):
        finish(s3, bucket, upload, parts)
    with fails("InvalidPartOrder", 400):
        finish(s3, bucket, upload, parts[::-1])
    with fails("InvalidPart", 400):
        finish(s3, bucket, upload, [{"PartNumber": 7, "ETag": parts[0]["ETag"]}])
    with fails("InvalidPart", 400):
        finish(s3, bucket, upload, [{"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}])
    with fails("MalformedXML", 400):
        finish(s3, bucket, upload, [])
    finish(s3, bucket, upload, parts[:1])
    assert read(s3, bucket, "m") == b"small"


def test_unknown_upload(s3, bucket):
    for upload in ("x", "0" * 32):
        with fails("NoSuchUpload", 404):
            s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x")
        with fails("NoSuchUpload", 404):
            s3.list_parts(Bucket=bucket, Key="m", UploadId=upload)
        with fails("NoSuchUpload", 404):
            s3.abort_multipart_upload(Bucket=bucket, Key="m", UploadId=upload)
        with fails("NoSuchUpload", 404):
            finish(s3, bucket, upload, [{"PartNumber": 1, "ETag": "x"}])


def test_abort(s3, other, bucket):
    upload = start(s3, bucket)
    parts = send(s3, bucket, upload, [(1, pattern(2 * MIB))])
    other.abort_multipart_upload(Bucket=bucket, Key="m", UploadId=upload)
    with fails("NoSuchUpload", 404):
        finish(s3, bucket, upload, parts)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    with fails("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="m")


@pytest.mark.parametrize("number", [0, 10001, -1])
def test_part_number_range(s3, bucket, number):
    upload = start(s3, bucket)
    with fails("InvalidArgument", 400):
        s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=number, Body=b"x")


def test_list_parts(s3, other, bucket):
    upload = start(s3, bucket)
    send(s3, bucket, upload, [(n, b"x" * n) for n in (1, 2, 5, 9)])
    answer = other.list_parts(Bucket=bucket, Key="m", UploadId=upload)
    assert [(part["PartNumber"], part["Size"]) for part in answer["Parts"]] == [(1, 1), (2, 2), (5, 5), (9, 9)]
    assert answer["Initiator"]["ID"] == answer["Owner"]["ID"] == s3.list_buckets()["Owner"]["ID"]
    page = other.list_parts(Bucket=bucket, Key="m", UploadId=upload, MaxParts=2)
    assert (page["IsTruncated"], page["NextPartNumberMarker"]) == (True, 2)
    page = other.list_parts(Bucket=bucket, Key="m", UploadId=upload, MaxParts=2, PartNumberMarker=2)
    assert [part["PartNumber"] for part in page["Parts"]] == [5, 9] and not page["IsTruncated"]


def test_list_uploads(s3, other, bucket):
    keys = ["a/1", "a/2", "b", "b", "c/x/y"]
    uploads = {start(s3, bucket, key): key for key in keys}
    answer = other.list_multipart_uploads(Bucket=bucket)
    assert [item["Key"] for item in answer["Uploads"]] == keys
    assert {item["UploadId"]: item["Key"] for item in answer["Uploads"]} == uploads
    folded = other.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [item["Prefix"] for item in folded["CommonPrefixes"]] == ["a/", "c/"]
    assert [item["Key"] for item in folded["Uploads"]] == ["b", "b"]
    assert [item["Key"] for item in other.list_multipart_uploads(Bucket=bucket, Prefix="a/")["Uploads"]] == keys[:2]
    seen, options = [], {}
    while True:
        page = other.list_multipart_uploads(Bucket=bucket, MaxUploads=2, **options)
        seen += [item["UploadId"] for item in page.get("Uploads", [])]
        if not page["IsTruncated"]:
            break
        options = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert seen == [item["UploadId"] for item in answer["Uploads"]]


def test_part_copy(s3, other, bucket):
    data = pattern(PART + 2 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=data)
    upload = start(s3, bucket)
    source = {"Bucket": bucket, "Key": "source"}
    parts = []
    for number, (first, last) in enumerate([(0, PART - 1), (MIB - 1, MIB + 5)], 1):
        answer = other.upload_part_copy(Bucket=bucket, Key="m", UploadId=upload, PartNumber=number, CopySource=source,
                                        CopySourceRange=f"bytes={first}-{last}")
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    finish(s3, bucket, upload, parts)
    s3.delete_object(Bucket=bucket, Key="source")
    assert read(other, bucket, "m") == data[:PART] + data[MIB - 1:MIB + 6]


@pytest.mark.parametrize("text", ["bytes=0-99", "bytes=5-", "0-1", "bytes=3-1"])
def test_part_copy_bad_range(s3, bucket, text):
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    upload = start(s3, bucket)
    with fails(("InvalidArgument", "InvalidRange")):
        s3.upload_part_copy(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, CopySourceRange=text,
                            CopySource={"Bucket": bucket, "Key": "source"})


def test_upload_hides_until_complete(s3, other, bucket):
    upload = start(s3, bucket)
    parts = send(s3, bucket, upload, [(1, b"x")])
    assert other.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    finish(other, bucket, upload, parts)
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["m"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums(s3, other, bucket, algorithm):
    if algorithm in ("CRC32C", "CRC64NVME"):
        pytest.importorskip("awscrt")
    full = algorithm == "CRC64NVME"
    created = s3.create_multipart_upload(Bucket=bucket, Key="m", ChecksumAlgorithm=algorithm)
    assert created["ChecksumAlgorithm"] == algorithm
    assert created["ChecksumType"] == ("FULL_OBJECT" if full else "COMPOSITE")
    upload, parts = created["UploadId"], []
    for number, body in ((1, pattern(PART, 1)), (2, b"end")):
        answer = other.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=number, Body=body,
                                   ChecksumAlgorithm=algorithm)
        name = f"Checksum{algorithm}"
        parts.append({"PartNumber": number, "ETag": answer["ETag"], name: answer[name]})
    done = finish(s3, bucket, upload, parts)
    assert done["ChecksumType"] == created["ChecksumType"]
    assert done[name].endswith("-2") != full
    head = other.head_object(Bucket=bucket, Key="m", ChecksumMode="ENABLED")
    assert head[name] == done[name]
    wanted = other.get_object_attributes(Bucket=bucket, Key="m", ObjectAttributes=["Checksum", "ObjectParts"])
    assert wanted["ObjectParts"]["TotalPartsCount"] == 2


def test_full_object_crc32(s3, bucket):
    from helpers import crc32
    bodies = [pattern(PART, 1), b"end"]
    upload = start(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    parts = send(s3, bucket, upload, list(enumerate(bodies, 1)), ChecksumAlgorithm="CRC32")
    with fails(("BadDigest", "InvalidRequest"), 400):
        finish(s3, bucket, upload, parts, ChecksumCRC32=crc32(b"other"), ChecksumType="FULL_OBJECT")
    done = finish(s3, bucket, upload, parts, ChecksumCRC32=crc32(b"".join(bodies)), ChecksumType="FULL_OBJECT")
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (crc32(b"".join(bodies)), "FULL_OBJECT")
