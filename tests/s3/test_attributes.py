"""GetObjectAttributes."""

import pytest

from helpers import MIB, crc32, fails, pattern

ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]


def test_single_put(s3, other, bucket):
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"hello", ChecksumAlgorithm="CRC32")
    answer = other.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=ALL)
    assert (answer["ETag"], answer["ObjectSize"], answer["StorageClass"]) == (put["ETag"].strip('"'), 5, "STANDARD")
    assert answer["Checksum"]["ChecksumCRC32"] == crc32(b"hello")
    assert answer["Checksum"]["ChecksumType"] == "FULL_OBJECT"
    assert "ObjectParts" not in answer and answer["LastModified"]


def test_only_what_was_asked(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"hello")
    answer = s3.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=["ObjectSize"])
    assert answer["ObjectSize"] == 5 and "ETag" not in answer and "StorageClass" not in answer


def test_parts(s3, other, bucket):
    bodies = [pattern(5 * MIB), b"middle" * 1024 * 1024, b"end"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", ChecksumAlgorithm="SHA256")["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        part = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=number, Body=body,
                              ChecksumAlgorithm="SHA256")
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]})
    s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={"Parts": parts})
    answer = other.get_object_attributes(Bucket=bucket, Key="m", ObjectAttributes=ALL, MaxParts=2)
    found = answer["ObjectParts"]
    assert (found["TotalPartsCount"], found["IsTruncated"], found["NextPartNumberMarker"]) == (3, True, 2)
    assert [(part["PartNumber"], part["Size"], part["ChecksumSHA256"]) for part in found["Parts"]] == [
        (number, len(body), parts[number - 1]["ChecksumSHA256"]) for number, body in enumerate(bodies[:2], 1)]
    rest = other.get_object_attributes(Bucket=bucket, Key="m", ObjectAttributes=ALL, PartNumberMarker=2)["ObjectParts"]
    assert [part["PartNumber"] for part in rest["Parts"]] == [3] and not rest["IsTruncated"]
    assert answer["Checksum"]["ChecksumType"] == "COMPOSITE"


def test_errors(s3, wire, bucket):
    with fails("NoSuchKey", 404):
        s3.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=ALL)
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    for headers in ([], [("x-amz-object-attributes", "Colour")]):
        answer = wire.request("GET", f"/{bucket}/a", [("attributes", "")], headers)
        assert (answer.status, answer.code) in ((400, "InvalidArgument"), (400, "InvalidRequest")), answer
